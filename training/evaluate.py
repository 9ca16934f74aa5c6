"""Measures the embedded voice: `make evaluate`, or `python -m training.evaluate --parts words,steps,...`.

Prints the tables of the model card and keeps the numbers in `--out`, so that parts can be measured apart. espeak-ng
(the teacher) must be installed.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from f5.audio import mel
from f5.config import Sampling
from f5.frontend import Reference
from f5.loading import EMBEDDED, load_model
from f5.model import SpeechModel
from f5.phonemes import phonemes
from training.corpus import MEL, NAMED_VOICES, UNSEEN_VARIANTS, level
from training.ears import Recogniser, error_rates, pitch, spelt, timbre
from training.griffin_lim import griffin_lim
from training.sentences import heldout_sentences
from training.teacher import SAMPLE_RATE, Teacher, Voice

Samples = NDArray[np.float32]
REFERENCE_TEXT = "The old clock on the wall has stopped, but nobody wants to take it down."
TEMPLATE_TEXTS = ("A small boat crossed the bay before noon.", "Both of them waited for the rain to end.")
STEPS = (4, 6, 7, 10, 16, 32)


class Bench:
    """The model, the teacher and the ears, made once."""

    def __init__(self, sentences: int) -> None:
        self.model: SpeechModel = load_model("embedded")
        self.teacher = Teacher()
        self.recogniser = Recogniser()
        self.sentences = heldout_sentences()[:: max(1, 100 // sentences)][:sentences]
        index = json.loads((EMBEDDED / "voices.json").read_text(encoding="utf-8"))
        entry = next(voice for voice in index["voices"] if voice["id"] == index["default"])
        self.voice = NAMED_VOICES[entry["id"]]
        self.reference = self.model.prepare_reference((EMBEDDED / entry["audio"]).read_bytes(), entry["text"])

    def rates(self, speak: Callable[[str], Samples]) -> tuple[float, float]:
        """Word and character error rates over the held-out sentences as a function speaks them."""
        return error_rates([(spelt(text), self.recogniser.words(speak(text), SAMPLE_RATE)) for text in self.sentences])

    def ours(self, text: str, reference: Reference | None = None, sampling: Sampling | None = None) -> Samples:
        return self.model.speak(text, reference or self.reference, sampling=sampling, seed=1)

    def clip(self, text: str, voice: Voice, *, repeat: int = 1, pad: float = 0.0) -> Reference:
        """A reference as the teacher speaks it, `pad` seconds of near silence around it."""
        spoken = level(self.teacher.speak(phonemes(text), voice).samples, np.random.default_rng(0))
        silence = np.random.default_rng(1).normal(0, 3e-4, int(pad * SAMPLE_RATE)).astype(np.float32)
        samples = np.concatenate([silence, *([spoken] * repeat), silence])
        file = io.BytesIO()
        soundfile.write(file, np.clip(samples, -1, 1), SAMPLE_RATE, format="WAV")
        return self.model.prepare_reference(file.getvalue(), " ".join([text] * repeat))


def teacher(bench: Bench) -> dict[str, Any]:
    """Intelligibility of espeak-ng itself, in the default voice: its own reading, and its reading of our phonemes."""

    def ours_phonemes(text: str) -> Samples:
        return bench.teacher.speak(phonemes(text), bench.voice).samples

    return {
        "sentences": len(bench.sentences),
        "espeak": bench.rates(lambda text: bench.teacher.read(text, bench.voice)),
        "espeak, our phonemes": bench.rates(ours_phonemes),
    }


def words(bench: Bench) -> dict[str, Any]:
    """Intelligibility of ours at its recommended settings, its speed, and whether it clips or has an offset."""
    clips = {text: bench.ours(text) for text in bench.sentences}  # the first round compiles
    timed = bench.sentences[:10]
    began = time.perf_counter()
    spoken = sum(len(bench.ours(text)) for text in timed) / SAMPLE_RATE
    took = time.perf_counter() - began
    pairs = [(spelt(text), bench.recogniser.words(clip, SAMPLE_RATE)) for text, clip in clips.items()]
    return {
        "sentences": len(bench.sentences),
        "ours": error_rates(pairs),
        "first word kept": np.mean([said[0] in heard[:2] for said, heard in pairs]),
        "last word kept": np.mean([said[-1] in heard[-2:] for said, heard in pairs]),
        "real-time factor": took / spoken,
        "peak": max(float(np.abs(clip).max()) for clip in clips.values()),
        "largest mean": max(abs(float(clip.mean())) for clip in clips.values()),
    }


def steps(bench: Bench) -> dict[str, Any]:
    """Error rates and real-time factor by steps and guidance."""
    table = {}
    for guidance in (0.0, 2.0):
        for nfe in STEPS:
            sampling = Sampling(nfe, guidance, True)
            for text in bench.sentences:
                bench.ours(text, sampling=Sampling(1, guidance, True))  # compiles
            began = time.perf_counter()
            clips = {text: bench.ours(text, sampling=sampling) for text in bench.sentences}
            took = time.perf_counter() - began
            seconds = sum(map(len, clips.values())) / SAMPLE_RATE
            table[f"{nfe} steps, guidance {guidance:g}"] = (*bench.rates(clips.__getitem__), took / seconds)
    return table


def cloning(bench: Bench) -> dict[str, Any]:
    """How often the reference's voice is the nearest of the set, by pitch and timbre, for seen and unseen voices."""
    voices = dict(NAMED_VOICES) | {
        variant: Voice(variant, pitch_, 160) for variant, pitch_ in zip(UNSEEN_VARIANTS, (60, 35, 50, 25), strict=True)
    }

    def describe(samples: Samples) -> tuple[float, NDArray[np.float32]]:
        return float(np.log(max(pitch(samples, SAMPLE_RATE), 40.0))), timbre(samples)

    templates = {
        name: [describe(bench.clip(text, voice).samples) for text in TEMPLATE_TEXTS] for name, voice in voices.items()
    }
    references = {name: bench.clip(REFERENCE_TEXT, voice) for name, voice in voices.items()}
    # Distances in units of how much two sentences of one voice differ.
    own = [(abs(a[0] - b[0]), float(np.linalg.norm(a[1] - b[1]))) for a, b in templates.values()]
    pitch_unit, timbre_unit = (float(np.mean(column)) + 1e-3 for column in zip(*own, strict=True))
    right = dict.fromkeys(voices, 0)
    trials = max(1, len(bench.sentences) // len(voices))
    for place, name in enumerate(voices):
        for trial in range(trials):
            made = describe(
                bench.ours(bench.sentences[(place + trial * len(voices)) % len(bench.sentences)], references[name])
            )

            def distance(other: str, made: tuple[float, NDArray[np.float32]] = made) -> float:
                return min(
                    abs(made[0] - p) / pitch_unit + float(np.linalg.norm(made[1] - t)) / timbre_unit
                    for p, t in templates[other]
                )

            right[name] += min(voices, key=distance) == name
    return {
        "trials a voice": trials,
        "right": right,
        "seen": sum(right[name] for name in NAMED_VOICES) / (trials * len(NAMED_VOICES)),
        "unseen": sum(right[name] for name in UNSEEN_VARIANTS) / (trials * len(UNSEEN_VARIANTS)),
    }


def vocoder(bench: Bench) -> dict[str, Any]:
    """The vocoder on the teacher's own mels, beside Griffin-Lim: error rates and log-mel error."""
    originals = {}
    for text in bench.sentences:
        originals[text] = level(bench.teacher.read(text, bench.voice), np.random.default_rng(0))
    decoders: dict[str, Callable[[NDArray[np.float32]], Samples]] = {
        "vocoder": bench.model.decode,
        "Griffin-Lim, 60 rounds": lambda frames: griffin_lim(frames, MEL, rounds=60),
    }
    table: dict[str, Any] = {"as it is": (*bench.rates(originals.__getitem__), 0.0)}
    for name, decode in decoders.items():
        clips = {text: decode(mel(samples, MEL)) for text, samples in originals.items()}
        errors = [
            float(np.abs(mel(clips[text], MEL)[:-1] - mel(samples, MEL)[: len(clips[text]) // MEL.hop]).mean())
            for text, samples in originals.items()
        ]
        table[name] = (*bench.rates(clips.__getitem__), float(np.mean(errors)))
    return table


def odd(bench: Bench) -> dict[str, Any]:
    """Inputs at the edges: how long what came out is, its peak, and what the recogniser heard."""
    page = " ".join(heldout_sentences()[:40])
    plain = "The water in the lake was clear and very cold."
    cases: dict[str, tuple[str, Reference]] = {
        "one word": ("Yes.", bench.reference),
        "digits and symbols": ("Call 555-0199 at 7:45, it costs $3.50 & 20% less!", bench.reference),
        "emoji and Chinese": ("你好 😀", bench.reference),
        "reference of 1 s": (plain, bench.clip("A cup of tea.", bench.voice)),
        "reference of 12 s": (plain, bench.clip(REFERENCE_TEXT, bench.voice, repeat=3)),
        "silence around the reference": (plain, bench.clip(REFERENCE_TEXT, bench.voice, pad=1.0)),
        "a page": (page, bench.reference),
    }
    table = {}
    for name, (text, reference) in cases.items():
        samples = bench.ours(text, reference)
        heard = bench.recogniser.words(samples, SAMPLE_RATE)
        table[name] = {
            "reference": len(reference.samples) / SAMPLE_RATE,
            "seconds": len(samples) / SAMPLE_RATE,
            "peak": float(np.abs(samples).max()),
            "heard": " ".join(heard)[:120],
        }
        if len(text) > 20 and text.isascii() and "5" not in text:
            table[name]["word error rate"] = error_rates([(spelt(text), heard)])[0]
    return table


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "teacher": teacher,
    "words": words,
    "steps": steps,
    "cloning": cloning,
    "vocoder": vocoder,
    "odd": odd,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("out/evaluation.json"))
    arguments = parser.parse_args()
    bench = Bench(arguments.sentences)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts.split(","):
        result = PARTS[name](bench)
        # Another process may have measured another part meanwhile.
        kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
        results = kept | {name: result}
        print(f"\n## {name}")
        for key, value in result.items():
            shown = "  ".join(f"{v:.3f}" for v in value) if isinstance(value, tuple) else value
            print(f"{key:40} {shown}", flush=True)
        arguments.out.write_text(json.dumps(results, indent=2, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
