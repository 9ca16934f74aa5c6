"""Writes tests/golden/backbones.npz and backbone_shapes.json: what the official code computes for `backbone_cases`.

Run from the root in the environment of `make parity`: `python -m tests.golden.make_backbone_golden`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tests.golden import official
from tests.golden.backbone_cases import CASES, FRAMES, REF_FRAMES, SAMPLER, SEED, TIMES, TOKENS, VOCAB

HERE = Path(__file__).parent


@torch.inference_mode()
def main() -> None:
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((1, FRAMES, 100)).astype(np.float32)
    ref = rng.standard_normal((1, REF_FRAMES, 100)).astype(np.float32)
    tokens = rng.integers(0, VOCAB, (1, TOKENS))
    cond = np.zeros_like(x)
    cond[:, :REF_FRAMES] = ref
    arrays = {"x": x, "ref": ref, "tokens": tokens.astype(np.int32), "noise": official.noise(SEED, FRAMES)}
    shapes = {}
    for name, config in CASES.items():
        model, shapes[name] = official.build(config, SEED)
        for time in TIMES:
            for null in (False, True):
                arrays[f"{name}/velocity/{time}/{'null' if null else 'cond'}"] = model.transformer(
                    x=torch.from_numpy(x),
                    cond=torch.from_numpy(cond),
                    text=torch.from_numpy(tokens),
                    time=torch.tensor(time),
                    drop_audio_cond=null,
                    drop_text=null,
                ).numpy()
        for nfe, cfg, sway in SAMPLER:
            sampled, _ = model.sample(
                torch.from_numpy(ref),
                torch.from_numpy(tokens),
                FRAMES,
                steps=nfe,
                cfg_strength=cfg,
                sway_sampling_coef=sway,
                seed=SEED,
            )
            arrays[f"{name}/sample/{nfe}/{cfg}/{sway}"] = sampled.numpy()
    model, _ = official.build(CASES["dit_v1"], SEED)
    model.odeint_kwargs = {"method": "midpoint"}
    options = {"steps": 6, "cfg_strength": 2.0, "sway_sampling_coef": -1.0, "seed": SEED, "use_epss": False}
    arrays["midpoint"] = model.sample(torch.from_numpy(ref), torch.from_numpy(tokens), FRAMES, **options)[0].numpy()
    np.savez_compressed(HERE / "backbones.npz", **arrays)
    (HERE / "backbone_shapes.json").write_text(json.dumps(shapes, indent=1) + "\n")


if __name__ == "__main__":
    main()
