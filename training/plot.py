"""Pictures for the model card: `python -m training.plot --flow RUN --vocoder RUN`.

Learning curves, and what the voice makes of a held-out sentence beside what the teacher does.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phonemes import phonemes
from f5_tts_server.f5.audio import mel
from training.evaluate import Bench
from training.shards import MEL, level
from training.teachers import Hibari

CURVES = {"flow": ("loss",), "vocoder": ("distance", "pitch")}
"""Run → what its log has that is drawn."""


def curves(runs: dict[str, Path], out: Path) -> None:
    """Losses over hours heard, one panel a loss."""
    panels = [(name, column) for name in runs for column in CURVES[name]]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3), squeeze=False)
    for axis, (name, column) in zip(axes[0], panels, strict=True):
        with (runs[name] / "log.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        axis.plot([float(row["hours_heard"]) for row in rows], [float(row[column]) for row in rows])
        axis.set(title=f"{name}: {column}", xlabel="hours heard")
    figure.tight_layout()
    figure.savefig(out, dpi=80)


def spectrograms(sentence: str, out: Path) -> None:
    """Log-mel of a sentence as the voice and as the teacher speak it."""
    bench, rng = Bench(1, None), np.random.default_rng(0)
    panels = {
        "embedded voice": bench.speak(sentence),
        "its teacher, Hibari": level(Hibari().speak(phonemes(sentence), speed=1.0, rng=rng).samples, rng),
    }
    figure, axes = plt.subplots(len(panels), 1, figsize=(11, 5), sharex=False)
    for axis, (title, samples) in zip(axes, panels.items(), strict=True):
        seconds = len(samples) / MEL.sample_rate
        axis.imshow(
            mel(samples, MEL).T, origin="lower", aspect="auto", vmin=-8, vmax=3, extent=(0.0, seconds, 0.0, MEL.n_mels)
        )
        axis.set(title=title, ylabel="mel bin")
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(out, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", type=Path, required=True)
    parser.add_argument("--vocoder", type=Path, required=True)
    parser.add_argument("--sentence", default="The water in the lake was clear and very cold.")
    parser.add_argument("--folder", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    curves({"flow": arguments.flow, "vocoder": arguments.vocoder}, arguments.folder / "learning_curves.png")
    spectrograms(arguments.sentence, arguments.folder / "spectrogram.png")


if __name__ == "__main__":
    main()
