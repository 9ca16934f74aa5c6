"""Writes what a run has learnt into `f5_tts_server/embedded/assets`: `python -m training.export --flow RUN --vocoder RUN`.

The averaged weights, in float16, under the official names; the vocabulary; the reference clips as the teacher speaks
them. Any part whose run is not given stays as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from flax import nnx

from f5_tts_server.embedded.phonemes import BOUNDARY, SYMBOLS, phonemes
from f5_tts_server.embedded.source_vocos import SourceVocos
from f5_tts_server.embedded.weights import save_source_vocos
from f5_tts_server.f5.weights import save_backbone
from training import train_vocoder
from training.checkpoints import load_checkpoint
from training.corpus import NAMED_VOICES, level
from training.teacher import SAMPLE_RATE, Teacher
from training.train_flow import build, fresh_state

Model = TypeVar("Model", bound=nnx.Module)

EMBEDDED = Path("f5_tts_server/embedded/assets")
CLIPS: dict[str, tuple[str, str]] = {
    "ada": ("Ada", "Soft light fell on the water."),
    "ben": ("Ben", "We walked along the beach today."),
    "cleo": ("Cleo", "She found an old blue book."),
    "dan": ("Dan", "Every story has a question."),
}
"""Voice id → its name and what is said in its reference clip. Short, since every step of the flow passes over it too."""
DEFAULT = "ada"


def averaged(run: Path, model: Model) -> Model:
    """The model with the moving average of a run's weights."""
    graphdef, params = nnx.split(model)
    state, progress = load_checkpoint(run / "checkpoint.npz", fresh_state(params))
    print(f"{run}: step {int(state['step'])}, {progress}")
    return nnx.merge(graphdef, state["average"])


def in_half(model: Model) -> Model:
    """The model with float16 weights."""
    graphdef, params = nnx.split(model)
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params))


def export_flow(run: Path, folder: Path) -> None:
    """`flow.safetensors` and `vocab.txt`.

    A vocabulary's id 0 is the space, which the front end never says: it gets the embedding of a pause.
    """
    model = averaged(run, build(0))
    table = model.text.embedding[...]  # the filler, then the symbols
    pause = table[1 + SYMBOLS.index(".")]
    model.text.embedding = nnx.Param(jnp.concatenate([table[:1], pause[None], table[1:]]))
    save_backbone(folder / "flow.safetensors", in_half(model))
    (folder / "vocab.txt").write_text("\n".join((BOUNDARY, *SYMBOLS)) + "\n", encoding="utf-8")


def export_vocoder(run: Path, folder: Path) -> None:
    """`vocoder/config.yaml` and `vocoder/model.safetensors`."""
    model = averaged(run, SourceVocos(train_vocoder.CONFIG, rngs=nnx.Rngs(0)))
    (folder / "vocoder").mkdir(exist_ok=True)
    save_source_vocos(folder / "vocoder" / "config.yaml", folder / "vocoder" / "model.safetensors", in_half(model))


def export_clips(folder: Path) -> None:
    """The reference clips and `voices.json`."""
    teacher, noise = Teacher(), np.random.default_rng(0)
    entries = []
    for voice_id, (name, text) in CLIPS.items():
        spoken = teacher.speak(phonemes(text), NAMED_VOICES[voice_id])
        # Below the level that the model hears, to which the front end lifts it and from which the output is taken back:
        # so peaks beyond the teacher's do not clip.
        samples = level(spoken.samples, noise, 0.7)
        samples *= np.float32(min(1.0, 0.98 / float(np.abs(samples).max())))
        soundfile.write(folder / f"{voice_id}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        entries.append({"id": voice_id, "name": name, "audio": f"{voice_id}.flac", "text": text})
    index = {"default": DEFAULT, "voices": entries}
    (folder / "voices.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", type=Path, help="a run of train_flow")
    parser.add_argument("--vocoder", type=Path, help="a run of train_vocoder")
    parser.add_argument("--clips", action="store_true", help="make the reference clips anew")
    parser.add_argument("--folder", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.clips:
        export_clips(arguments.folder)
    if arguments.flow:
        export_flow(arguments.flow, arguments.folder)
    if arguments.vocoder:
        export_vocoder(arguments.vocoder, arguments.folder)


if __name__ == "__main__":
    main()
