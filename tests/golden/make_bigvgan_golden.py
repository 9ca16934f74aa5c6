"""Makes bigvgan.npz and bigvgan_shapes.json from the official package: run with `bigvgan==2.4.1` and torch installed.

python -m tests.golden.make_bigvgan_golden

Small models with every weight drawn (`random_weights`), weight norm's two halves separately. Stored for each: the mel it
was given [b, n, mel] and the samples it returned [b, samples], in float32 and in float64; of one the weights too, as a
`.pt` with the key `generator`. The shapes of the official keys are stored for these and, of parameters alone, for the
released size.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from bigvgan import BigVGAN as Official
from bigvgan.env import AttrDict

from f5_tts_server.f5.bigvgan import BigVGANConfig
from tests.golden.bigvgan_cases import CASES, CHECKPOINT_CASE, FRAMES, SEED, draw_all

HERE = Path(__file__).parent


def build(config: BigVGANConfig) -> Official:
    return Official(AttrDict(asdict(config))).eval()


@torch.inference_mode()
def main() -> None:
    rng = np.random.default_rng(SEED)
    arrays, shapes = {}, {}
    for name, config in CASES.items():
        model = build(config)
        shapes[name] = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        parameters = {key: tuple(value.shape) for key, value in model.named_parameters()}
        weights = {key: torch.from_numpy(value) for key, value in draw_all(parameters).items()}
        assert not model.load_state_dict(weights, strict=False).unexpected_keys
        mel = rng.standard_normal((2, FRAMES, config.num_mels)).astype(np.float32)
        arrays[f"{name}/mel"] = mel
        given = torch.from_numpy(mel).transpose(1, 2)
        if name == CHECKPOINT_CASE:  # as its makers' training writes it
            torch.save({"generator": model.state_dict()}, HERE / "bigvgan_generator.pt")
        arrays[f"{name}/samples"] = model(given)[:, 0].numpy()
        arrays[f"{name}/samples64"] = model.double()(given.double())[:, 0].numpy()
    with torch.device("meta"):
        released = build(BigVGANConfig())
    shapes["released"] = {key: tuple(value.shape) for key, value in released.named_parameters()}
    np.savez_compressed(HERE / "bigvgan.npz", **arrays)
    (HERE / "bigvgan_shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
