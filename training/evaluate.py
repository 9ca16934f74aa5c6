"""Measures the embedded voice: `make evaluate`, or `python -m training.evaluate --parts words,steps,...`.

Prints the tables of the model card and keeps the numbers in `--out`, so that parts can be measured apart. espeak-ng
(the teacher) must be installed. Phoneme errors need the second ear, which `python -m training.train_ear` makes in
twenty minutes; without its run's folder their columns are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
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
from training.corpus import MEL, NAMED_VOICES, UNSEEN_VARIANTS, level
from training.ear_model import sounds
from training.ears import (
    PhonemeRecogniser,
    Recogniser,
    VoicePicker,
    begins_with,
    edge_words,
    error_rate,
    error_rates,
    pitch,
    spelt,
    timbre,
)
from training.griffin_lim import griffin_lim
from training.sentences import heldout_sentences
from training.teacher import SAMPLE_RATE, Teacher, Voice

Samples = NDArray[np.float32]
Row = dict[str, Any]
Table = dict[str, Row]
"""What a part has measured: a row's name → its columns."""

REFERENCE_TEXT = "The old clock on the wall has stopped, but nobody wants to take it down."
TEMPLATE_TEXTS = (
    "A small boat crossed the bay before noon.",
    "Both of them waited for the rain to end.",
    "Please put the blue cup back on the top shelf.",
    "The judge asked each witness the same question.",
    "Fresh bread and a little cheese will do for lunch.",
    "He never found out who had sent the flowers.",
    "Good evening.",
    "Where did you leave it?",
    "Tell my sister that I am late.",
    "Six green apples lay in the grass behind the house.",
    "You should have asked me first.",
    "Our old school is now a museum of toys and games.",
)
STEPS, GUIDANCE = (4, 6, 7, 10, 16, 32), (0.0, 2.0)
STEPS_SENTENCES = 33  # of the step table, which makes every sentence a dozen times
SPEED_SENTENCES = 6
VOCODER_SENTENCES = 33
CLONING_TRIALS = 13  # a voice; eight voices
ODD_SENTENCES = 10


class Bench:
    """The model, the teacher and the ears, made once."""

    def __init__(
        self, sentences: int, ear: PhonemeRecogniser | None = None, humans: Sequence[tuple[Path, str]] = ()
    ) -> None:
        self.model: SpeechModel = load_model("embedded")
        self.teacher = Teacher()
        self.recogniser = Recogniser()
        self.ear = ear
        self.sentences = _every(heldout_sentences(), sentences)
        self.humans = humans
        index = json.loads((ASSETS / "voices.json").read_text(encoding="utf-8"))
        entry = next(voice for voice in index["voices"] if voice["id"] == index["default"])
        self.voice = NAMED_VOICES[entry["id"]]
        self.reference = self.model.frontend.prepare_reference((ASSETS / entry["audio"]).read_bytes(), entry["text"])
        self.sampling = self.model.config.sampling

    def hear(self, clips: Mapping[str, Samples]) -> Row:
        """How well clips of sentences are understood, by both ears. `clips`: text → samples at 24 kHz."""
        words = [(spelt(text), self.recogniser.words(clip, SAMPLE_RATE)) for text, clip in clips.items()]
        rates = error_rates(words)
        row: Row = {
            "word errors": rates[0],
            "character errors": rates[1],
            "first word": np.mean([said[0] in heard[:2] for said, heard in words]),
            "last word": np.mean([said[-1] in heard[-2:] for said, heard in words]),
        }
        if self.ear is not None:
            said = {text: phonemes(text) for text in clips}
            heard = {text: self.ear.sounds(clip) for text, clip in clips.items()}
            edges = {text: edge_words(symbols) for text, symbols in said.items()}
            row["phoneme errors"] = error_rate([(sounds(said[text]), heard[text]) for text in clips])
            row["first word, 2nd ear"] = np.mean([begins_with(heard[text], edges[text][0]) for text in clips])
            row["last word, 2nd ear"] = np.mean(
                [begins_with(heard[text][::-1], edges[text][1][::-1]) for text in clips]
            )
        return row

    @cached_property
    def clips(self) -> dict[str, Samples]:
        """The sentences as ours speaks them at its recommended settings."""
        return {text: self.ours(text) for text in self.sentences}

    @cached_property
    def teachers_clips(self) -> dict[str, Samples]:
        """The sentences as the teacher speaks our phonemes, in the same voice."""
        return {text: self.spoken(text, self.voice) for text in self.sentences}

    def ours(self, text: str, reference: Reference | None = None, sampling: Sampling | None = None) -> Samples:
        return self.model.speak(text, reference or self.reference, sampling=sampling, seed=1)

    def spoken(self, text: str, voice: Voice) -> Samples:
        """The teacher's audio of our phonemes, at the level of the corpus."""
        return level(self.teacher.speak(phonemes(text), voice).samples, np.random.default_rng(0))

    def clip(self, text: str, voice: Voice, *, repeat: int = 1, pad: float = 0.0) -> Reference:
        """A reference as the teacher speaks it, `pad` seconds of near silence around it."""
        silence = np.random.default_rng(1).normal(0, 3e-4, int(pad * SAMPLE_RATE)).astype(np.float32)
        samples = np.concatenate([silence, *([self.spoken(text, voice)] * repeat), silence])
        file = io.BytesIO()
        soundfile.write(file, np.clip(samples, -1, 1), SAMPLE_RATE, format="WAV")
        return self.model.frontend.prepare_reference(file.getvalue(), " ".join([text] * repeat))


def _every(sentences: list[str], count: int) -> list[str]:
    """`count` of them, spread evenly; all where there are no more."""
    return sentences[:: max(1, len(sentences) // count)][:count]


def _described(sampling: Sampling) -> str:
    guidance = f"guidance {sampling.cfg_strength:g}" if sampling.cfg_strength else "no guidance"
    return f"{sampling.nfe} steps, {guidance}{'' if sampling.sway else ', sway off'}"


def words(bench: Bench) -> Table:
    """Ours at its recommended settings, beside espeak-ng in the same voice: its own reading, and that of our phonemes.

    Its own reading has phonemes of its own, so its phoneme errors hold what the two front ends do not agree on.
    """
    read = {text: bench.teacher.read(text, bench.voice) for text in bench.sentences}
    return {
        "espeak-ng reads the text": bench.hear(read),
        "espeak-ng speaks our phonemes": bench.hear(bench.teachers_clips),
        f"this voice, {_described(bench.sampling)}": bench.hear(bench.clips),
    }


def audio(bench: Bench) -> Table:
    """Whether the samples clip, have an offset or jump, over all sentences, beside the teacher's."""
    return {
        name: {
            "sentences": len(clips),
            "highest peak": max(float(np.abs(clip).max()) for clip in clips.values()),
            "largest mean": max(abs(float(clip.mean())) for clip in clips.values()),
            "largest jump": max(float(np.abs(np.diff(clip)).max()) for clip in clips.values()),
        }
        for name, clips in (("espeak-ng", bench.teachers_clips), ("this voice", bench.clips))
    }


def speed(bench: Bench) -> Table:
    """Real-time factor by steps and guidance, and at the recommended settings, on a machine that does nothing else."""
    sentences = _every(bench.sentences, SPEED_SENTENCES)
    grid = [replace(bench.sampling, nfe=nfe, cfg_strength=guidance) for guidance in GUIDANCE for nfe in STEPS]
    table: Table = {}
    for sampling in dict.fromkeys([bench.sampling, *grid]):
        for text in sentences:
            bench.ours(text, sampling=replace(sampling, nfe=1))  # compiles
        began = time.perf_counter()
        seconds = sum(len(bench.ours(text, sampling=sampling)) for text in sentences) / SAMPLE_RATE
        table[_described(sampling)] = {"real-time factor": (time.perf_counter() - began) / seconds}
    return table


def steps(bench: Bench) -> Table:
    """Errors by steps and guidance."""
    sentences = _every(bench.sentences, STEPS_SENTENCES)
    table: Table = {}
    for guidance in GUIDANCE:
        for nfe in STEPS:
            sampling = replace(bench.sampling, nfe=nfe, cfg_strength=guidance)
            table[_described(sampling)] = bench.hear({text: bench.ours(text, sampling=sampling) for text in sentences})
    return table


def cloning(bench: Bench) -> Table:
    """How often the reference's voice is picked among the set, by pitch and timbre, for seen and unseen voices.

    The picker itself is tried on the teacher's clips, as they are and through our vocoder.
    """
    voices = dict(NAMED_VOICES) | {
        variant: Voice(variant, pitch_, 160) for variant, pitch_ in zip(UNSEEN_VARIANTS, (60, 35, 50, 25), strict=True)
    }
    picker = VoicePicker(
        {name: [bench.spoken(text, voice) for text in TEMPLATE_TEXTS] for name, voice in voices.items()}, SAMPLE_RATE
    )
    references = {name: bench.clip(REFERENCE_TEXT, voice) for name, voice in voices.items()}
    speakers: dict[str, Callable[[str, str], Samples]] = {
        "espeak-ng": lambda text, name: bench.spoken(text, voices[name]),
        "espeak-ng through our vocoder": lambda text, name: bench.model.decode(
            mel(bench.spoken(text, voices[name]), MEL)
        ),
        f"this voice, {_described(bench.sampling)}": lambda text, name: bench.ours(text, references[name]),
    }
    sentences = _every(heldout_sentences(), CLONING_TRIALS)
    table: Table = {}
    for speaker, speak in speakers.items():
        right, heights = {}, []
        for name in voices:
            clips = [speak(text, name) for text in sentences]
            right[name] = sum(picker.pick(clip) == name for clip in clips)
            wanted = pitch(references[name].samples, SAMPLE_RATE)
            heights += [abs(np.log2(max(pitch(clip, SAMPLE_RATE), 40.0) / wanted)) * 12 for clip in clips]
        table[speaker] = {
            "shipped": f"{sum(right[name] for name in NAMED_VOICES)} of {CLONING_TRIALS * len(NAMED_VOICES)}",
            "unseen": f"{sum(right[name] for name in UNSEEN_VARIANTS)} of {CLONING_TRIALS * len(UNSEEN_VARIANTS)}",
            "all": sum(right.values()) / (CLONING_TRIALS * len(voices)),
            "pitch off by, semitones": float(np.median(heights)),
            **{name: f"{count}/{CLONING_TRIALS}" for name, count in right.items()},
        }
    return table


def vocoder(bench: Bench) -> Table:
    """The vocoder on the teacher's own mels, beside Griffin-Lim: errors and log-mel error."""
    originals = {text: bench.spoken(text, bench.voice) for text in _every(bench.sentences, VOCODER_SENTENCES)}
    decoders: dict[str, Callable[[NDArray[np.float32]], Samples]] = {
        "this vocoder": bench.model.decode,
        "Griffin-Lim, 60 rounds": lambda frames: griffin_lim(frames, MEL, rounds=60),
    }
    table: Table = {"espeak-ng's audio as it is": bench.hear(originals) | {"log-mel error": 0.0}}
    for name, decode in decoders.items():
        clips = {text: decode(mel(samples, MEL)) for text, samples in originals.items()}
        errors = [
            float(np.abs(mel(clips[text], MEL)[:-1] - mel(samples, MEL)[: len(clips[text]) // MEL.hop]).mean())
            for text, samples in originals.items()
        ]
        table[name] = bench.hear(clips) | {"log-mel error": float(np.mean(errors))}
    return table


def odd(bench: Bench) -> Table:
    """Texts and references at the edges."""
    table: Table = {}
    for name, text in {
        "one word": "Yes.",
        "digits and symbols": "Call 555-0199 at 7:45, it costs $3.50 & 20% less!",
        "emoji and Chinese": "你好 😀",
    }.items():
        try:
            samples = bench.ours(text)
        except ValueError as error:
            table[name] = {"what happened": f"refused: {error}"}
            continue
        row = bench.hear({text: samples})
        words_heard = " ".join(bench.recogniser.words(samples, SAMPLE_RATE))
        table[name] = {"what happened": f"{len(samples) / SAMPLE_RATE:.1f} s, heard as: {words_heard}"}
        # Figures and symbols have no spelling to compare with.
        table[name] |= {key: row[key] for key in ("phoneme errors",) if key in row}
        table[name]["peak"] = float(np.abs(samples).max())
    page = " ".join(heldout_sentences()[:40])
    samples = bench.ours(page)
    table["a page"] = {"what happened": f"{len(samples) / SAMPLE_RATE:.0f} s"} | _errors(bench.hear({page: samples}))
    table["a page"]["peak"] = float(np.abs(samples).max())
    sentences = _every(bench.sentences, ODD_SENTENCES)
    for name, reference in {
        "the voice's own reference": bench.reference,
        "reference of 1 s": bench.clip("A cup of tea.", bench.voice),
        "reference of 12 s": bench.clip(REFERENCE_TEXT, bench.voice, repeat=3),
        "a second of silence on both sides": bench.clip(REFERENCE_TEXT, bench.voice, pad=1.0),
    }.items():
        clips = {text: bench.ours(text, reference) for text in sentences}
        happened = f"{len(sentences)} sentences, the reference had {len(reference.samples) / SAMPLE_RATE:.1f} s"
        table[name] = {"what happened": happened} | _errors(bench.hear(clips))
        table[name]["peak"] = max(float(np.abs(clip).max()) for clip in clips.values())
    return table


def _errors(row: Row) -> Row:
    return {name: row[name] for name in ("word errors", "phoneme errors") if name in row}


def human(bench: Bench) -> Table:
    """Recordings of people as references (`--human FILE TEXT`): is it understood, and does it go towards the voice?

    `timbre, from it` is the distance of the result's mean log-mel to the recording's; beside it, how far the default
    voice is from the recording.
    """
    table: Table = {}
    sentences = _every(bench.sentences, ODD_SENTENCES)
    plain = np.concatenate([bench.ours(text) for text in sentences])
    for path, said in bench.humans:
        reference = bench.model.frontend.prepare_reference(path.read_bytes(), said)
        clips = {text: bench.ours(text, reference) for text in sentences}
        made, colour = np.concatenate(list(clips.values())), timbre(reference.samples)
        table[path.name] = {
            "seconds": len(reference.samples) / SAMPLE_RATE,
            **_errors(bench.hear(clips)),
            "its pitch, Hz": pitch(reference.samples, SAMPLE_RATE),
            "result's": pitch(made, SAMPLE_RATE),
            "default voice's": pitch(plain, SAMPLE_RATE),
            "timbre, from it": float(np.linalg.norm(timbre(made) - colour)),
            "default voice from it": float(np.linalg.norm(timbre(plain) - colour)),
            "peak": float(np.abs(made).max()),
        }
    return table


PARTS: dict[str, Callable[[Bench], Table]] = {
    "words": words,
    "audio": audio,
    "speed": speed,
    "steps": steps,
    "cloning": cloning,
    "vocoder": vocoder,
    "odd": odd,
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
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--ear", type=Path, default=Path("training/runs/ear"), help="run of training.train_ear")
    parser.add_argument("--human", nargs=2, action="append", default=[], metavar=("FILE", "TEXT"), help="a recording")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation.json"))
    arguments = parser.parse_args()
    if (arguments.ear / "checkpoint.npz").exists():
        ear = PhonemeRecogniser(arguments.ear)
    else:
        ear = None
        print(f"no phoneme errors: `python -m training.train_ear --run {arguments.ear}` trains the second ear")
    bench = Bench(arguments.sentences, ear, [(Path(path), text) for path, text in arguments.human])
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
