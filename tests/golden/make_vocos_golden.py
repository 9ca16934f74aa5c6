"""Makes vocos.npz from the official package: run with `vocos==0.1.0` and `torch==2.13.0` installed.

python tests/golden/make_vocos_golden.py

Two small models, every weight drawn (the official initialisation leaves biases zero and scales at one, which would
hide a loader that drops them): "center" with the real window of 1024/256, "same" with one of 64/16. Stored for each:
its official state dict (`NAME/state/KEY`), the mel it was given [b, n, mel] and the samples it returned [b, samples].
"""

from pathlib import Path

import numpy as np
import torch
from vocos.feature_extractors import MelSpectrogramFeatures
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone
from vocos.pretrained import Vocos

SEED = 20261122
MODELS = {
    "center": {"mels": 100, "dim": 12, "inner": 20, "layers": 3, "n_fft": 1024, "hop": 256, "frames": 19},
    "same": {"mels": 10, "dim": 16, "inner": 40, "layers": 2, "n_fft": 64, "hop": 16, "frames": 23},
}


def draw(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draws every parameter; norms' scales around one so that signals keep their size."""
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            values = 1 + 0.3 * values
        elif parameter.ndim > 1:
            values = values / parameter[0].numel() ** 0.5
        else:
            values = 0.3 * values
        parameter.data.copy_(values)
    # Some log magnitudes beyond log(100), so that the head's clip is seen.
    model.head.out.bias.data[: model.head.out.bias.numel() // 2 : 7] += 4.5


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    generator = torch.Generator().manual_seed(SEED)
    for name, size in MODELS.items():
        model = Vocos(
            MelSpectrogramFeatures(n_fft=size["n_fft"], hop_length=size["hop"], n_mels=size["mels"], padding=name),
            VocosBackbone(size["mels"], size["dim"], size["inner"], size["layers"]),
            ISTFTHead(size["dim"], size["n_fft"], size["hop"], padding=name),
        ).eval()
        draw(model, generator)
        mel = torch.randn((2, size["mels"], size["frames"]), generator=generator) * 2 - 3
        samples = model.decode(mel)
        arrays[f"{name}/mel"] = mel.transpose(1, 2).contiguous().numpy()
        arrays[f"{name}/samples"] = samples.numpy()
        for key, value in model.state_dict().items():
            arrays[f"{name}/state/{key}"] = value.numpy()
    np.savez_compressed(Path(__file__).with_name("vocos.npz"), **arrays)


if __name__ == "__main__":
    main()
