"""Measures `verify`: `python -m training.verified --steps 2`.

The embedded voices speak the sentences that evaluation reads, one segment each, plainly and verified as the server does it;
Whisper counts the word errors of both, and the processor's time says what verifying costs. Needs `requirements-training.txt`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.inference_types import FITS
from f5_tts_server.models import load_model
from f5_tts_server.recognizer.verify import score
from training.ears import Recogniser, at_16k
from training.error_rates import edits
from training.sentences import heldout_sentences
from training.spoken import SAMPLE_RATE

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Take:
    """A sentence spoken with one seed: its score, the word errors that Whisper hears, and seconds of the processor's time."""

    score: float
    errors: int
    speaking: float
    scoring: float


def take(model: SpeechModel, ears: Recogniser, text: str, reference: Reference, sampling: Sampling, seed: int) -> Take:
    began = time.process_time()
    samples: Samples = model.speak(text, reference, sampling=sampling, seed=seed)
    spoken = time.process_time()
    found = score(samples, text)
    scored = time.process_time()
    errors = edits(ears.normal(text), ears.words(at_16k(samples, SAMPLE_RATE)))
    return Take(found, errors, spoken - began, scored - spoken)


def sent(takes: list[Take]) -> tuple[Take, int]:
    """Which take the server would send, and how many it would have made."""
    made = next((number for number, one in enumerate(takes, 1) if one.score >= FITS), len(takes))
    return max(takes[:made], key=lambda one: one.score), made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--guidance", type=float, help="0: one pass a step; by default the model's own")
    parser.add_argument(
        "--noise", type=float, help="standard deviation that the flow starts from; by default the model's own"
    )
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--out", type=Path, help="a JSON file of all takes")
    arguments = parser.parse_args()
    model, ears = load_model("embedded"), Recogniser()
    config = model.config
    guidance = config.sampling.cfg_strength if arguments.guidance is None else arguments.guidance
    sampling = replace(config.sampling, nfe=arguments.steps, cfg_strength=guidance)
    if arguments.noise is not None:
        model = replace(model, config=replace(config, noise_scale=arguments.noise))
    voices = json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]
    references = [
        model.frontend.prepare_reference((ASSETS / voice["audio"]).read_bytes(), voice["text"]) for voice in voices
    ]
    texts = heldout_sentences()[: arguments.sentences]
    chosen = [references[index % len(references)] for index in range(len(texts))]
    for text, reference in zip(texts, chosen, strict=True):
        model.speak(text, reference, sampling=replace(sampling, nfe=1))  # compiles
    tries = range(1, EngineOptions().verify_takes + 1)
    all_takes = [
        [take(model, ears, text, reference, sampling, seed) for seed in tries]
        for text, reference in zip(texts, chosen, strict=True)
    ]
    words = sum(len(ears.normal(text)) for text in texts)
    plain = [takes[0] for takes in all_takes]
    verified = [sent(takes) for takes in all_takes]
    spent = sum(
        one.speaking + one.scoring for takes, (_, made) in zip(all_takes, verified, strict=True) for one in takes[:made]
    )
    noise = model.config.noise_scale
    print(f"{len(texts)} sentences, {words} words, {arguments.steps} steps, guidance {guidance:g}, noise {noise:g}")
    print("| | word errors | sentences with errors | takes | cost |\n|---|---|---|---|---|")
    wrong = [sum(one.errors > 0 for one in some) for some in (plain, [one for one, _ in verified])]
    print(f"| plain | {sum(one.errors for one in plain) / words:.3f} | {wrong[0]} | {len(texts)} | 1 |")
    print(
        f"| verified | {sum(one.errors for one, _ in verified) / words:.3f} | {wrong[1]} "
        f"| {sum(made for _, made in verified)} | {spent / sum(one.speaking for one in plain):.2f} |"
    )
    best = sum(min(one.errors for one in takes) for takes in all_takes)
    print(f"| the best of {len(tries)} takes by Whisper itself | {best / words:.3f} | | {len(tries) * len(texts)} | |")
    for what, some in (
        ("without word errors", [one for takes in all_takes for one in takes if not one.errors]),
        ("with one", [one for takes in all_takes for one in takes if one.errors == 1]),
        ("with more", [one for takes in all_takes for one in takes if one.errors > 1]),
    ):
        print(f"takes {what}: {sum(one.score < FITS for one in some)} of {len(some)} refused")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([[asdict(one) for one in takes] for takes in all_takes]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
