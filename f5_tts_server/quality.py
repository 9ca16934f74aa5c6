"""Named qualities of speech: how many steps the flow takes, on which time grid, with how much guidance.

For released models (and fine-tunes of them) `fast` is the pruned grid of seven steps that is published as comparable to 32
(arXiv 2505.19931), `draft` the shortest such grid, `balanced` the longest, `best` the official 32 even steps; all with sway
sampling and the official guidance. Guidance makes each step two passes. The embedded voice recommends four steps of one
pass, and more of either makes it worse, so that its `balanced` and `best` are the same; see its model card.
"""

from __future__ import annotations

from typing import Literal, get_args

from f5_tts_server.inference_types import SamplingDefaults

Quality = Literal["draft", "fast", "balanced", "best"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)

_RELEASED: dict[Quality, int] = {"draft": 5, "fast": 7, "balanced": 16, "best": 32}
_EMBEDDED: dict[Quality, int] = {"draft": 2, "fast": 3, "balanced": 4, "best": 4}


def sampling_of(quality: Quality, model: SamplingDefaults) -> SamplingDefaults:
    """What a quality means for a model that recommends ``model``; one of fewer steps than any grid keeps its guidance."""
    if model.nfe < min(_RELEASED.values()):
        return SamplingDefaults(nfe=_EMBEDDED[quality], cfg_strength=model.cfg_strength, sway=True)
    return SamplingDefaults(nfe=_RELEASED[quality], cfg_strength=2.0, sway=True)
