"""Pictures for the model card: `python -m training.plot --flow RUN --distilled RUN --vocoder RUN`.

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
from training.corpus import MEL, level
from training.evaluate import Bench


def curves(runs: dict[str, Path], out: Path) -> None:
    """Loss over minutes of training, one panel a run."""
    figure, panels = plt.subplots(1, len(runs), figsize=(5 * len(runs), 3), squeeze=False)
    for panel, (name, run) in zip(panels[0], runs.items(), strict=True):
        with (run / "log.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        panel.plot([float(row["seconds"]) / 60 for row in rows], [float(row["loss"]) for row in rows])
        panel.set(title=name, xlabel="minutes", ylabel="loss", yscale="log")
    figure.tight_layout()
    figure.savefig(out, dpi=80)


def spectrograms(sentence: str, out: Path) -> None:
    """Log-mel of a sentence as the voice and as the teacher speak it."""
    bench = Bench(1)
    spoken = bench.teacher.speak(phonemes(sentence), bench.voice).samples
    panels = {
        "embedded voice": bench.ours(sentence),
        "its teacher, espeak-ng": level(spoken, np.random.default_rng(0)),
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
    parser.add_argument("--distilled", type=Path, required=True)
    parser.add_argument("--vocoder", type=Path, required=True)
    parser.add_argument("--sentence", default="The water in the lake was clear and very cold.")
    parser.add_argument("--folder", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    runs = {"flow": arguments.flow, "guidance distilled": arguments.distilled, "vocoder": arguments.vocoder}
    curves(runs, arguments.folder / "learning_curves.png")
    spectrograms(arguments.sentence, arguments.folder / "spectrogram.png")


if __name__ == "__main__":
    main()
