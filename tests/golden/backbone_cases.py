"""The architectures and sampler settings on which ours is compared with the official code.

Small versions of what released and community checkpoints use: one case for each option of the official classes.
"""

from __future__ import annotations

from dataclasses import replace

from f5_tts_server.f5.config import BackboneConfig

SEED = 20_261_122
VOCAB = 40
TIMES = (0.0, 0.37, 0.9)
# (steps, guidance, sway)
SAMPLER = ((7, 2.0, -1.0), (16, 1.3, None), (9, 0.0, -1.0), (32, 2.0, -1.0))
FRAMES, REF_FRAMES, TOKENS = 37, 13, 19

_DIT = BackboneConfig(
    backbone="DiT",
    dim=64,
    depth=3,
    heads=2,
    dim_head=32,
    ff_mult=2,
    text_dim=24,
    conv_layers=2,
    text_mask_padding=True,
    text_num_embeds=VOCAB,
)
_UNETT = BackboneConfig(
    backbone="UNetT",
    dim=64,
    depth=4,
    heads=2,
    dim_head=32,
    ff_mult=4,
    text_dim=100,
    conv_layers=0,
    text_mask_padding=False,
    pe_attn_head=1,
    text_num_embeds=VOCAB,
)
CASES: dict[str, BackboneConfig] = {
    "dit_v1": _DIT,
    "dit_v0": replace(_DIT, text_mask_padding=False, pe_attn_head=1),
    "dit_no_conv": replace(_DIT, conv_layers=0),
    "dit_no_conv_unmasked": replace(_DIT, conv_layers=0, text_mask_padding=False),
    "dit_qk_norm": replace(_DIT, qk_norm="rms_norm"),
    "dit_long_skip": replace(_DIT, long_skip_connection=True),
    "dit_average_upsampling": replace(_DIT, text_embedding_average_upsampling=True),
    "dit_ff4_pe1": replace(_DIT, ff_mult=4, pe_attn_head=1),
    "unett_concat": _UNETT,
    "unett_add": replace(_UNETT, skip_connect_type="add"),
    "unett_none": replace(_UNETT, skip_connect_type="none"),
    "unett_conv_masked": replace(_UNETT, conv_layers=2, text_dim=24, text_mask_padding=True, pe_attn_head=None),
    "unett_conv_unmasked_qk_norm": replace(_UNETT, conv_layers=2, text_dim=24, qk_norm="rms_norm"),
}
