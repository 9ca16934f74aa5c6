"""The training corpus: `python -m training.corpus hibari --hours 3` and `... kokoro --styles FOLDER --hours 1`.

Sessions of one voice each, spoken by a natural teacher. More can be added at any time: shards that exist stay.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from f5_tts_server.embedded.phonemes import phonemes
from training.sentences import sentences
from training.shards import ALTERED, MEL, Spoken, prepare, write_shard
from training.spoken import OTHERS, SHIPPED, TooLong, Utterance
from training.teachers import Hibari, Kokoro

SESSION = 6  # utterances of one voice in a row
LONGEST = 900  # frames
ALTERED_SHARE = 0.4  # of Hibari's sessions: its one voice at another pitch and size of speaker
SHIPPED_SHARE = 0.6  # of Kokoro's sessions: the voices that ship

Speak = Callable[[Sequence[str]], Utterance]
"""One session's voice: symbols to audio."""


def hibari_session(teacher: Hibari, random_: random.Random, rng: np.random.Generator) -> tuple[str, Speak]:
    """Hibari's voice at some speed; some of the time altered, so that the flow does not learn one voice only."""
    speed = random_.uniform(0.85, 1.25)
    if random_.random() >= ALTERED_SHARE:
        return SHIPPED[0], lambda symbols: teacher.speak(symbols, speed=speed, rng=rng)
    size, height = math.exp(random_.uniform(-0.12, 0.25)), math.exp(random_.uniform(-0.3, 0.25))
    return ALTERED, lambda symbols: teacher.speak(symbols, speed=speed, rng=rng, height=height, size=size)


def kokoro_session(teacher: Kokoro, random_: random.Random, rng: np.random.Generator) -> tuple[str, Speak]:
    """One of Kokoro's voices that may be heard in training."""
    del rng  # Kokoro draws its own noise
    voice = random_.choice(SHIPPED if random_.random() < SHIPPED_SHARE else OTHERS)
    speed = random_.uniform(0.85, 1.2)
    return voice, lambda symbols: teacher.speak(symbols, voice, speed=speed)


def make_shard(
    path: Path, seed: int, hours: float, session_of: Callable[[random.Random, np.random.Generator], tuple[str, Speak]]
) -> float:
    """Writes one shard and returns the hours it holds."""
    random_, noise, text = random.Random(seed), np.random.default_rng(seed), sentences(seed)
    spoken: list[Spoken] = []
    limit, frames, session = hours * 3600 * MEL.sample_rate / MEL.hop, 0, 0
    while frames < limit:
        voice, speak = session_of(random_, noise)
        loudness = 1.0 if random_.random() < 0.75 else random_.uniform(0.7, 1.6)
        made = 0
        while made < SESSION:
            try:
                one = prepare(speak(phonemes(next(text))), noise, loudness)
            except TooLong:
                continue
            if not 16 <= len(one.mel) <= LONGEST or len(one.mel) < 2 * len(one.ids):
                continue
            spoken.append(replace(one, session=session, voice=voice))
            frames += len(one.mel)
            made += 1
        session += 1
    write_shard(path, spoken)
    return frames * MEL.hop / MEL.sample_rate / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", choices=["hibari", "kokoro"])
    parser.add_argument("--styles", type=Path, help="kokoro-js's folder of style vectors")
    parser.add_argument("--folder", type=Path, default=Path("training/data"))
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--shard-hours", type=float, default=0.2)
    parser.add_argument("--first-shard", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.teacher == "hibari":
        hibari = Hibari()
        session_of = lambda random_, rng: hibari_session(hibari, random_, rng)  # noqa: E731
    elif arguments.styles is None:
        parser.error("kokoro needs --styles")
    else:
        kokoro = Kokoro(arguments.styles)
        session_of = lambda random_, rng: kokoro_session(kokoro, random_, rng)  # noqa: E731
    arguments.folder.mkdir(parents=True, exist_ok=True)
    made, index = 0.0, arguments.first_shard
    while made < arguments.hours:
        path = arguments.folder / f"{arguments.teacher}{index:04d}.npz"
        seed = 1000 * (1 + ["hibari", "kokoro"].index(arguments.teacher)) + index
        made += arguments.shard_hours if path.exists() else make_shard(path, seed, arguments.shard_hours, session_of)
        print(f"{path.name}: {made:.2f} h", flush=True)
        index += 1


if __name__ == "__main__":
    main()
