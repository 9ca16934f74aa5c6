"""Shards of speech on disk: log-mel frames, the phoneme that sounds in each, and the samples.

A shard is one npz: mel [frames, 100] float16, ids int16 and lengths float32 (frames) of all symbols, samples int16
(see `PCM`), one row an utterance of (frames, symbols, session), and `voices`, a name for each session. They lie outside
the repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import SYMBOLS
from f5_tts_server.f5.audio import TARGET_RMS, mel
from f5_tts_server.f5.config import MelConfig
from training.spoken import Utterance

MEL = MelConfig()
PCM = 16_384  # int16 steps of a sample of 1.0: room for peaks of 2
ALTERED = "altered"
"""The voice of sessions whose teacher was altered: too coarse to learn a vocoder from."""
_DITHER = 3e-4  # bands of exact zeros would be cliffs in a log-mel
_ID = {symbol: index for index, symbol in enumerate(SYMBOLS)}


@dataclass(frozen=True)
class Spoken:
    """One utterance as training sees it, n frames, an even number.

    mel float16 [n, 100]; symbol ids; their lengths in frames; samples float32 [(n − 1) · hop]; number of its session and
    whose voice it is.
    """

    mel: NDArray[np.float16]
    ids: NDArray[np.int16]
    lengths: NDArray[np.float32]
    samples: NDArray[np.float32]
    session: int = 0
    voice: str = ""


def level(samples: NDArray[np.float32], noise: np.random.Generator, loudness: float = 1.0) -> NDArray[np.float32]:
    """Samples at `loudness` × the RMS to which the audio front end lifts references, dithered."""
    gain = loudness * TARGET_RMS / float(np.sqrt(np.mean(np.square(samples))))
    return samples * np.float32(gain) + noise.normal(0, _DITHER, len(samples)).astype(np.float32)


def prepare(utterance: Utterance, noise: np.random.Generator, loudness: float = 1.0) -> Spoken:
    """Sets the level, takes the log-mel and cuts it to an even number of frames."""
    samples = level(utterance.samples, noise, loudness)
    frames = mel(samples, MEL)
    even = len(frames) // 2 * 2
    lengths = (utterance.spans[:, 1] - utterance.spans[:, 0]) / MEL.hop
    return Spoken(
        frames[:even].astype(np.float16),
        np.array([_ID[symbol] for symbol in utterance.symbols], np.int16),
        lengths.astype(np.float32),
        samples[: (even - 1) * MEL.hop],
    )


def shards(folder: Path) -> list[Path]:
    """Those of a folder. Empty where there are none."""
    return sorted(folder.glob("*[0-9].npz"))


def write_shard(path: Path, spoken: Sequence[Spoken]) -> None:
    """Writes utterances, each with its session and voice, beside `path` and renames: a reader never sees half a shard."""
    voices = {one.session: one.voice for one in spoken}
    pcm = np.concatenate([one.samples for one in spoken]) * PCM
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        mel=np.concatenate([one.mel for one in spoken]),
        ids=np.concatenate([one.ids for one in spoken]),
        lengths=np.concatenate([one.lengths for one in spoken]),
        samples=np.clip(np.rint(pcm), -32768, 32767).astype(np.int16),
        rows=np.array([(len(one.mel), len(one.ids), one.session) for one in spoken], np.int32),
        voices=np.array([voices[session] for session in sorted(voices)]),
    )
    partial.replace(path)


def read_shard(path: Path) -> Iterator[Spoken]:
    """Its utterances in order."""
    with np.load(path) as shard:
        mels, ids, lengths, pcm, rows, voices = (
            shard[name] for name in ("mel", "ids", "lengths", "samples", "rows", "voices")
        )
    frame, symbol, sample = 0, 0, 0
    for frames, symbols, session in rows.tolist():
        count = (frames - 1) * MEL.hop
        yield Spoken(
            mels[frame : frame + frames],
            ids[symbol : symbol + symbols],
            lengths[symbol : symbol + symbols],
            pcm[sample : sample + count].astype(np.float32) / PCM,
            session,
            str(voices[session]),
        )
        frame, symbol, sample = frame + frames, symbol + symbols, sample + count
