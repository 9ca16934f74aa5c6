"""Writes what a run has learnt into `f5_tts_server/embedded/assets`: `python -m training.export --flow RUN --vocoder RUN`.

The averaged weights, in float16, under the official names; the vocabulary. What is not asked for stays as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phonemes import BOUNDARY, SYMBOLS
from f5_tts_server.embedded.source_vocos import SourceVocos
from f5_tts_server.embedded.weights import save_source_vocos
from f5_tts_server.f5.weights import save_backbone
from training import train_vocoder
from training.checkpoints import load_checkpoint
from training.fit import fresh_state
from training.train_flow import build

Model = TypeVar("Model", bound=nnx.Module)


def averaged(run: Path, model: Model, part: str = "") -> Model:
    """The model with the moving average of a run's weights; `part` as in `load_checkpoint`."""
    graphdef, params = nnx.split(model)
    state, progress = load_checkpoint(run / "checkpoint.npz", fresh_state(params), part)
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
    model = averaged(run, SourceVocos(train_vocoder.CONFIG, rngs=nnx.Rngs(0)), "vocoder")
    (folder / "vocoder").mkdir(exist_ok=True)
    save_source_vocos(folder / "vocoder" / "config.yaml", folder / "vocoder" / "model.safetensors", in_half(model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", type=Path, help="a run of train_flow")
    parser.add_argument("--vocoder", type=Path, help="a run of train_vocoder")
    parser.add_argument("--folder", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.flow:
        export_flow(arguments.flow, arguments.folder)
    if arguments.vocoder:
        export_vocoder(arguments.vocoder, arguments.folder)


if __name__ == "__main__":
    main()
