"""Trains and measures the verifier: `python -m training.train_verifier --styles FOLDER --clips FOLDER --out FOLDER`.

The natural teachers speak sentences in the voices that the recognizer was trained on, and the embedded model in those that
ship; of each clip there are damaged ones, three of each kind (`training.damage`), and the verifier learns which words are
wrong. The threshold is set so that `FALSE_ALARMS` of the undamaged clips would be refused by verifiers that were not trained
on them; Hibari's do not count, for they are heard more clearly than most. It is measured on Kokoro's voices that are kept out
of all training. What is spoken is kept in `--clips`.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from safetensors.numpy import save_file

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phonemes import phonemes, said
from f5_tts_server.models import load_model
from f5_tts_server.recognizer.network import Recognizer, recognizer
from f5_tts_server.recognizer.verify import EVIDENCE, Verifier, evidence
from training.damage import damaged, word_spans
from training.sentences import heldout_sentences, sentences
from training.shards import level
from training.spoken import OTHERS, SHIPPED, UNSEEN, Utterance
from training.teachers import Hibari, Kokoro

FALSE_ALARMS = 0.02
"""Of the undamaged clips, by verifiers that were not trained on them."""
PARTS = 3
NETWORKS, HIDDEN = 4, 24
BATCH, STEPS, RATE, DECAY = 1024, 2500, 5e-3, 1e-3
RIGHT_WORDS = 0.3
"""Of damaged clips, the share of their right words that is learnt from: the undamaged ones have enough of them."""
_WORDS = range(4, 15)  # of a sentence
_LONG = 3  # phonemes of a word that counts as more than a function word

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """A clip: ``kind`` is "clean" or what was done to it, ``rows`` its evidence, ``wrong`` the words, see `Damaged`."""

    name: str
    kind: str
    rows: Array
    wrong: tuple[int, ...] = ()
    phonemes: int = 0


def speak(folder: Path, styles: Path, clips: int) -> None:
    """Fill ``folder`` with clips of the training voices (`seen-…npz`) and of those kept out (`unseen-…npz`)."""
    folder.mkdir(parents=True, exist_ok=True)
    rnd, rng = random.Random(3), np.random.default_rng(3)
    texts = (text for text in sentences(12_345) if len(text.split()) in _WORDS)
    hibari, kokoro, embedded, kept_out = Hibari(), Kokoro(styles), _Embedded(), heldout_sentences()
    voices = SHIPPED + OTHERS
    for number in range(clips):
        text, speed, kind = next(texts), rnd.uniform(0.85, 1.2), ("hibari", "kokoro", "embedded")[number % 3]
        path = folder / f"seen-{kind}-{number:04}.npz"
        height, size = rnd.uniform(0.8, 1.2), rnd.uniform(0.85, 1.2)
        if path.exists():
            continue
        if kind == "hibari":
            _keep(path, hibari.speak(phonemes(text), speed=speed, rng=rng, height=height, size=size), text)
        elif kind == "kokoro":
            _keep(path, kokoro.speak(phonemes(text), voices[number // 3 % len(voices)], speed=speed), text)
        elif (spoken := embedded.speak(text, number)) is not None:
            _keep(path, spoken, text)
    for number in range(clips // 2):
        path, voice, speed = folder / f"unseen-{number:04}.npz", UNSEEN[number % len(UNSEEN)], rnd.uniform(0.85, 1.2)
        text = kept_out[number * 7 % len(kept_out)]
        if not path.exists():
            _keep(path, kokoro.speak(phonemes(text), voice, speed=speed), text)


class _Embedded:
    """The voices that ship, one after another, at the model's own settings."""

    def __init__(self) -> None:
        self._model = load_model("embedded")
        voices = json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]
        self._references = [
            self._model.frontend.prepare_reference((ASSETS / voice["audio"]).read_bytes(), voice["text"])
            for voice in voices
        ]

    def speak(self, text: str, number: int) -> Utterance | None:
        """Words as they were planned, their phonemes evenly in them; None where a word is read as several."""
        reference = self._references[number % len(self._references)]
        items = said(text)
        words = self._model.frontend.plan(text, reference, speed=1.0, seconds=None).words
        if words is None or len(words) != sum(not item.pause for item in items):
            return None
        samples = self._model.speak(text, reference, seed=number)
        rate, at, spans, planned = self._model.config.mel.sample_rate, 0, [], iter(words)
        for item in items:
            start = end = at
            if not item.pause:
                word = next(planned)
                start, end = round(word.start * rate), min(round(word.end * rate), len(samples))
            edges = np.linspace(start, end, len(item.sounds) + 1).astype(np.int64)
            spans += list(zip(edges[:-1], edges[1:], strict=True))
            at = end
        return Utterance(samples, tuple(sound for item in items for sound in item.sounds), np.array(spans))


def _keep(path: Path, spoken: Utterance, text: str) -> None:
    np.savez(path, samples=spoken.samples, spans=spoken.spans, text=np.array(text))


def examples(paths: Sequence[Path], network: Recognizer) -> Iterator[Example]:
    """Each clip as it is, then damaged."""
    for path in paths:
        with np.load(path) as clip:
            text, spans = str(clip["text"]), clip["spans"]
            samples = level(clip["samples"], np.random.default_rng(0))
        items = said(text)
        sounds = [item.sounds for item in items if not item.pause]
        if len(sounds) not in _WORDS:
            continue
        yield Example(path.name, "clean", evidence(network.listen(samples), items))
        for one in damaged(samples, word_spans(items, spans), sounds, random.Random(zlib.crc32(path.name.encode()))):
            rows = evidence(network.listen(one.samples), items)
            yield Example(path.name, one.kind, rows, one.words, one.phonemes)


def fit(seen: Sequence[Example]) -> Verifier:
    """A verifier without a threshold: the mean of `NETWORKS` small ones, beside each other in one hidden layer.

    Words beside a wrong one are left out: they may be heard as wrong, too.
    """
    rng = np.random.default_rng(0)
    rows, wrong = [], []
    for one in seen:
        for index, row in enumerate(one.rows):
            far = all(abs(index - bad) > 1 for bad in one.wrong)
            if index in one.wrong or (far and (one.kind == "clean" or rng.random() < RIGHT_WORDS)):
                rows.append(row)
                wrong.append(index in one.wrong)
    x = np.stack(rows)
    mean, scale = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3)
    scaled, truth = jnp.asarray((x - mean) / scale), jnp.asarray(np.array(wrong, np.float32))
    made = [_trained(scaled, truth, seed) for seed in range(NETWORKS)]
    return Verifier(
        mean=mean,
        scale=scale,
        hidden=np.concatenate([one["hidden"] for one in made], axis=1),
        hidden_bias=np.concatenate([one["hidden_bias"] for one in made]),
        out=np.concatenate([one["out"] / np.float32(NETWORKS) for one in made]),
        direct=np.mean([one["direct"] for one in made], axis=0),
        bias=np.mean([one["bias"] for one in made], axis=0),
        threshold=np.zeros((), np.float32),
    )


def _trained(rows: jax.Array, wrong: jax.Array, seed: int) -> dict[str, Array]:
    """One small network's tensors, given scaled rows [n, e] and which of the words are wrong [n]."""
    rng = np.random.default_rng(seed)
    params = {
        "hidden": rng.normal(0, EVIDENCE**-0.5, (EVIDENCE, HIDDEN)),
        "hidden_bias": np.zeros(HIDDEN),
        "out": rng.normal(0, HIDDEN**-0.5, HIDDEN),
        "direct": np.zeros(EVIDENCE),
        "bias": np.zeros(()),
    }

    def loss(p: dict[str, jax.Array], some: jax.Array, truth: jax.Array) -> jax.Array:
        said = jnp.tanh(some @ p["hidden"] + p["hidden_bias"]) @ p["out"] + some @ p["direct"] + p["bias"]
        weights = sum(jnp.sum(jnp.square(p[name])) for name in ("hidden", "out", "direct"))
        return jnp.mean(jnp.logaddexp(0, said) - truth * said) + DECAY * weights

    adam = optax.adam(lambda number: RATE * jnp.minimum(1.0, 1.5 * (1 - number / STEPS)))

    def stepped(
        number: jax.Array, state: tuple[dict[str, jax.Array], optax.OptState]
    ) -> tuple[dict[str, jax.Array], optax.OptState]:
        p, moments = state
        drawn = jax.random.randint(jax.random.fold_in(jax.random.key(seed), number), (BATCH,), 0, len(rows))
        gradient = jax.grad(loss)(p, rows[drawn], wrong[drawn])
        updates, moments = adam.update(gradient, moments)
        return optax.apply_updates(p, updates), moments

    start = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), params)
    ended, _ = jax.jit(lambda: jax.lax.fori_loop(0, STEPS, stepped, (start, adam.init(start))))()
    return {name: np.asarray(value, np.float32) for name, value in ended.items()}


def calibrated(seen: Sequence[Example]) -> Verifier:
    """A verifier with its threshold, from the doubts of others that were trained on all clips but those of a part."""
    names = sorted({one.name for one in seen})
    worst = []
    for part in range(PARTS):
        kept = set(names[part::PARTS])
        other = fit([one for one in seen if one.name not in kept])
        clean = (one for one in seen if one.name in kept and one.kind == "clean" and "hibari" not in one.name)
        worst += [other.doubts(one.rows).max() for one in clean]
    threshold = np.asarray(np.quantile(worst, 1 - FALSE_ALARMS), np.float32)
    return replace(fit(seen), threshold=threshold)


def measured(made: Verifier, of: Sequence[Example]) -> str:
    """A table of the share that is refused, by kind and by the length of the word."""
    lines = ["| | all words | words of 3 phonemes or more | shorter words |", "|---|---|---|---|"]

    def share(some: Sequence[Example]) -> str:
        refused = [made.score(one.rows) < 0.5 for one in some]
        return f"{np.mean(refused):.1%} of {len(refused)}" if refused else ""

    clean = [one for one in of if one.kind == "clean"]
    lines.append(f"| undamaged: false alarms | {share(clean)} | | |")
    kinds = list(dict.fromkeys(one.kind for one in of if one.kind != "clean"))
    for kind in (*kinds, "lost, twice or swapped"):
        some = [one for one in of if one.kind != "clean" and one.kind in kind]
        long, short = ([one for one in some if (one.phonemes >= _LONG) is wanted] for wanted in (True, False))
        lines.append(f"| {kind} | {share(some)} | {share(long)} | {share(short)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=Path, help="kokoro-js's folder of style vectors; without it nothing is spoken")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--count", type=int, default=480, help="clips of the voices that were trained on")
    parser.add_argument("--recognizer", type=Path, help="its weights, by default those that ship")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.styles is not None:
        speak(arguments.clips, arguments.styles, arguments.count)
    network = recognizer() if arguments.recognizer is None else Recognizer.load(arguments.recognizer)
    seen = list(examples(sorted(arguments.clips.glob("seen-*.npz")), network))
    made = calibrated(seen)
    arguments.out.mkdir(parents=True, exist_ok=True)
    fields = {name: np.ascontiguousarray(getattr(made, name)) for name in Verifier.__dataclass_fields__}
    save_file(fields, arguments.out / "verifier.safetensors")
    print(f"clips that it was trained on\n{measured(made, seen)}")
    unseen = list(examples(sorted(arguments.clips.glob("unseen-*.npz")), network))
    print(f"\nvoices kept out\n{measured(made, unseen)}")


if __name__ == "__main__":
    main()
