"""Measures the embedded voice: `make evaluate`, or `python -m training.evaluate --parts voices,teacher,...`.

Prints the tables of the model card and keeps the numbers in `--out`, so that parts can be measured apart. Needs
`requirements-training.txt`; what it listens with is in `training.ears`.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phonemes import phonemes
from f5_tts_server.f5.audio import mel
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.models import load_model
from training.ears import Naturalness, Recogniser, SpeakerEncoder, at_16k
from training.error_rates import error_rate
from training.sentences import heldout_sentences
from training.shards import MEL, level
from training.spoken import SAMPLE_RATE, SHIPPED, UNSEEN
from training.teachers import Hibari, Kokoro

Samples = NDArray[np.float32]
Row = dict[str, Any]
Table = dict[str, Row]
"""What a part has measured: a row's name → its columns."""

REFERENCE_TEXT = "The old clock on the wall has stopped."
STEPS = (2, 3, 4, 8)


class Bench:
    """The model and the ears, made once."""

    def __init__(self, sentences: int, styles: Path | None, humans: Sequence[tuple[Path, str]] = ()) -> None:
        """`styles`: kokoro-js's folder of style vectors, for the parts that ask Kokoro."""
        self.model: SpeechModel = load_model("embedded")
        self.recogniser, self.naturalness, self.speakers = Recogniser(), Naturalness(), SpeakerEncoder()
        self.sentences = _every(heldout_sentences(), sentences)
        self.styles, self.humans = styles, humans
        index = json.loads((ASSETS / "voices.json").read_text(encoding="utf-8"))
        self.references = {
            entry["id"]: self.model.frontend.prepare_reference((ASSETS / entry["audio"]).read_bytes(), entry["text"])
            for entry in index["voices"]
        }
        self.default: str = index["default"]
        self.sampling = self.model.config.sampling

    def judge(self, clips: Mapping[str, Samples], speaker: Samples | None = None) -> Row:
        """What the ears say of clips at 24 kHz (text → samples), and how like `speaker` they sound."""
        heard = {text: at_16k(clip, SAMPLE_RATE) for text, clip in clips.items()}
        words = [(self.recogniser.normal(text), self.recogniser.words(clip)) for text, clip in heard.items()]
        scores = np.array([self.naturalness.scores(clip) for clip in heard.values()])
        row: Row = {
            "sentences": len(clips),
            "WER": error_rate(words),
            "first word": np.mean([said[0] in found[:2] for said, found in words]),
            "last word": np.mean([said[-1] in found[-2:] for said, found in words]),
            "DNSMOS": scores[:, 0].mean(),
            "P.808": scores[:, 1].mean(),
        }
        if speaker is not None:
            wanted = self.speakers.embed(at_16k(speaker, SAMPLE_RATE))
            row["like the reference"] = np.mean([self.speakers.embed(clip) @ wanted for clip in heard.values()])
        return row

    def speak(self, text: str, reference: Reference | None = None, sampling: Sampling | None = None) -> Samples:
        return self.model.speak(text, reference or self.references[self.default], sampling=sampling, seed=1)

    def kokoro(self) -> Kokoro:
        if self.styles is None:
            raise ValueError("this part asks Kokoro: say where its voices are with --styles")
        return Kokoro(self.styles)

    def reference_of(self, samples: Samples, text: str) -> Reference:
        """A reference out of samples at 24 kHz."""
        file = io.BytesIO()
        soundfile.write(file, np.clip(samples, -1, 1), SAMPLE_RATE, format="WAV")
        return self.model.frontend.prepare_reference(file.getvalue(), text)


def _every(sentences: list[str], count: int) -> list[str]:
    """`count` of them, spread evenly; all where there are no more."""
    return sentences[:: max(1, len(sentences) // count)][:count]


def voices(bench: Bench) -> Table:
    """Every voice that ships at the recommended settings, the default one first."""
    table: Table = {}
    for name, reference in bench.references.items():
        clips = {text: bench.speak(text, reference) for text in bench.sentences}
        table[name] = bench.judge(clips, reference.samples) | {
            "highest peak": max(float(np.abs(clip).max()) for clip in clips.values())
        }
    return table


def teacher(bench: Bench) -> Table:
    """Hibari speaking our phonemes: its audio as it is, and what our vocoder makes of its log-mels."""
    hibari, rng = Hibari(), np.random.default_rng(0)
    spoken = {text: level(hibari.speak(phonemes(text), speed=1.0, rng=rng).samples, rng) for text in bench.sentences}
    redrawn = {text: bench.model.decode(mel(samples, MEL)) for text, samples in spoken.items()}
    return {"the teacher": bench.judge(spoken), "the teacher through our vocoder": bench.judge(redrawn)}


def speed(bench: Bench) -> Table:
    """Real-time factor by steps, on a machine that does nothing else."""
    sentences = bench.sentences[:6]
    table: Table = {}
    for nfe in STEPS:
        sampling = replace(bench.sampling, nfe=nfe)
        for text in sentences:
            bench.speak(text, sampling=replace(sampling, nfe=1))  # compiles
        began = time.perf_counter()
        seconds = sum(len(bench.speak(text, sampling=sampling)) for text in sentences) / SAMPLE_RATE
        table[f"{nfe} steps"] = {"real-time factor": (time.perf_counter() - began) / seconds}
    return table


def steps(bench: Bench) -> Table:
    """The default voice by steps."""
    table: Table = {}
    for nfe in STEPS:
        sampling = replace(bench.sampling, nfe=nfe)
        table[f"{nfe} steps"] = bench.judge({text: bench.speak(text, sampling=sampling) for text in bench.sentences})
    return table


def cloning(bench: Bench) -> Table:
    """Voices that training never heard: which of all English voices of Kokoro a clone is nearest to, by the encoder."""
    kokoro = bench.kokoro()
    names = (*SHIPPED, *UNSEEN)
    templates = {}
    for name in names:
        said = [kokoro.speak(phonemes(text), name, speed=1.0).samples for text in heldout_sentences()[1:4]]
        templates[name] = bench.speakers.embed(at_16k(np.concatenate(said), SAMPLE_RATE))
    table: Table = {}
    for name in UNSEEN:
        spoken = kokoro.speak(phonemes(REFERENCE_TEXT), name, speed=1.0).samples
        reference = bench.reference_of(level(spoken, np.random.default_rng(0)), REFERENCE_TEXT)
        clips = {text: bench.speak(text, reference) for text in bench.sentences}
        found = [bench.speakers.embed(at_16k(clip, SAMPLE_RATE)) for clip in clips.values()]
        right = sum(max(names, key=lambda other: float(one @ templates[other])) == name for one in found)
        own = float(bench.speakers.embed(at_16k(spoken, SAMPLE_RATE)) @ templates[name])
        table[name] = bench.judge(clips) | {
            "identified": f"{right} of {len(found)}",
            "similarity": np.mean([one @ templates[name] for one in found]),
            "of the voice itself": own,
        }
    return table


def human(bench: Bench) -> Table:
    """Recordings of people as references (`--human FILE TEXT`), beside the shipped voice that is nearest to each."""
    table: Table = {}
    for path, said in bench.humans:
        reference = bench.model.frontend.prepare_reference(path.read_bytes(), said)
        wanted = bench.speakers.embed(at_16k(reference.samples, SAMPLE_RATE))
        nearest = max(
            float(bench.speakers.embed(at_16k(shipped.samples, SAMPLE_RATE)) @ wanted)
            for shipped in bench.references.values()
        )
        clips = {text: bench.speak(text, reference) for text in bench.sentences}
        table[path.name] = bench.judge(clips, reference.samples) | {"nearest shipped voice": nearest}
    return table


PARTS: dict[str, Callable[[Bench], Table]] = {
    "voices": voices,
    "teacher": teacher,
    "steps": steps,
    "speed": speed,
    "cloning": cloning,
    "human": human,
}


def markdown(table: Table) -> str:
    """A table as the model card has it, with the columns of all rows in the order in which they first come."""
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, row in table.items():
        lines.append([name, *(_cell(row.get(column, "")) for column in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="voices,teacher,steps,speed")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--styles", type=Path, help="kokoro-js's folder of style vectors, for the part cloning")
    parser.add_argument("--human", nargs=2, action="append", default=[], metavar=("FILE", "TEXT"), help="a recording")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation.json"))
    arguments = parser.parse_args()
    bench = Bench(arguments.sentences, arguments.styles, [(Path(path), text) for path, text in arguments.human])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts.split(","):
        table = PARTS[name](bench)
        if not table:
            continue
        # Another process may have measured another part meanwhile.
        kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
        results = kept | {name: table}
        arguments.out.write_text(
            json.dumps(results, indent=2, default=float, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        print(f"\n## {name}\n\n{markdown(table)}", flush=True)


if __name__ == "__main__":
    main()
