"""The training corpus: `python -m training.corpus --hours 20`.

Sessions of one voice each, spoken by the teacher, kept as shards of log-mel frames with the phoneme that sounds in
each. Shards lie outside the repository; more can be added at any time (`--first-shard`), training picks them up.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from f5_tts_server.embedded.phonemes import SYMBOLS, phonemes
from f5_tts_server.f5.audio import TARGET_RMS, mel
from f5_tts_server.f5.config import MelConfig
from training.sentences import sentences
from training.teacher import DITHER, Mismatch, Teacher, Utterance, Voice

MEL = MelConfig()
ID = {symbol: index for index, symbol in enumerate(SYMBOLS)}
SESSION = 10  # utterances of one voice in a row
LONGEST = 900  # frames

NAMED_VOICES: dict[str, Voice] = {
    "ada": Voice("f2", 55, 160),
    "ben": Voice("m3", 40, 165),
    "cleo": Voice("f4", 45, 170),
    "dan": Voice("m7", 50, 160),
}
"""The voices that ship, as the teacher makes them."""
UNSEEN_VARIANTS = ("f5", "m5", "m6", "m8")
"""Kept out of training, for the cloning test."""
SEEN_VARIANTS = tuple(
    "f1 f2 f3 f4 m1 m2 m3 m4 m7 Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario "
    "Michael Mike Nguyen Storm adam anika announcer antonio aunty belinda benjamin boris caleb david ed edward "
    "grandma grandpa gustave iven john klatt2 linda marcelo max michel miguel norbert pablo paul pedro quincy rob "
    "robert sandro shelby steph travis victor zac".split()
)
"""Every other variant of espeak-ng 1.51 that sounds like a speaker: no robots, no whispers."""


@dataclass(frozen=True)
class Spoken:
    """One utterance as training sees it: mel float16 [2 t, 100], symbol ids and their lengths in frames (float)."""

    mel: np.ndarray
    ids: np.ndarray
    lengths: np.ndarray


def draw_voice(random_: random.Random) -> Voice:
    """One time in ten a voice that ships, at a rate near its own; else any seen variant, pitch, rate and size.

    Where voices that ship came three times in ten, the model spoke as one of them when it heard an unseen one.
    """
    if random_.random() < 0.1:
        named = random_.choice(list(NAMED_VOICES.values()))
        return replace(named, wpm=round(named.wpm * random_.uniform(0.88, 1.15)))
    size = math.exp(random_.uniform(-0.2, 0.2))
    return Voice(random_.choice(SEEN_VARIANTS), random_.randint(5, 85), random_.randint(130, 200), size)


def level(samples: np.ndarray, noise: np.random.Generator, loudness: float = 1.0) -> np.ndarray:
    """Samples at `loudness` × the RMS to which the audio front end lifts references, dithered."""
    gain = loudness * TARGET_RMS / float(np.sqrt(np.mean(np.square(samples))))
    return samples * np.float32(gain) + noise.normal(0, DITHER, len(samples)).astype(np.float32)


def prepare(utterance: Utterance, noise: np.random.Generator, loudness: float = 1.0) -> Spoken:
    """Sets the level, takes the log-mel and cuts it to an even number of frames."""
    frames = mel(level(utterance.samples, noise, loudness), MEL)
    even = len(frames) // 2 * 2
    lengths = (utterance.spans[:, 1] - utterance.spans[:, 0]) / MEL.hop
    return Spoken(
        frames[:even].astype(np.float16),
        np.array([ID[symbol] for symbol in utterance.symbols], np.int16),
        lengths.astype(np.float32),
    )


def make_shard(path: Path, seed: int, hours: float, teacher: Teacher) -> float:
    """Writes one shard and returns the hours it holds.

    Arrays: mel [frames, 100] float16, ids and lengths of all symbols, and one row an utterance of
    (frames, symbols, session, words a minute).
    """
    random_, noise, text = random.Random(seed), np.random.default_rng(seed), sentences(seed)
    spoken: list[Spoken] = []
    rows: list[tuple[int, int, int, int]] = []
    limit, frames, session = hours * 3600 * MEL.sample_rate / MEL.hop, 0, 0
    while frames < limit:
        voice = draw_voice(random_)
        loudness = 1.0 if random_.random() < 0.75 else random_.uniform(1, 2)
        made = 0
        while made < SESSION:
            try:
                one = prepare(teacher.speak(phonemes(next(text)), voice), noise, loudness)
            except Mismatch:
                continue
            if not 16 <= len(one.mel) <= LONGEST or len(one.mel) < 2 * len(one.ids):
                continue
            spoken.append(one)
            rows.append((len(one.mel), len(one.ids), session, voice.wpm))
            frames += len(one.mel)
            made += 1
        session += 1
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        mel=np.concatenate([s.mel for s in spoken]),
        ids=np.concatenate([s.ids for s in spoken]),
        lengths=np.concatenate([s.lengths for s in spoken]),
        rows=np.array(rows, np.int32),
    )
    partial.replace(path)  # a reader never sees half a shard
    return frames * MEL.hop / MEL.sample_rate / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training/data"))
    parser.add_argument("--hours", type=float, default=20)
    parser.add_argument("--shard-hours", type=float, default=0.5)
    parser.add_argument("--first-shard", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    teacher = Teacher()
    made, index = 0.0, arguments.first_shard
    while made < arguments.hours:
        path = arguments.folder / f"shard{index:04d}.npz"
        if path.exists():
            made += arguments.shard_hours
        else:
            made += make_shard(path, 1000 + index, arguments.shard_hours, teacher)
        print(f"{path.name}: {made:.2f} h", flush=True)
        index += 1


if __name__ == "__main__":
    main()
