"""Sentences to train on: everyday ones, templates over a vocabulary, random words for rare sounds, prose on the machine.

No data set: sentences, templates and their words are ours (`words/*.txt`, one a line), the random words come from the
front end's dictionary, and the prose is whatever licence texts and Python documentation the machine already has.
Sentences of `heldout.txt` never appear.
"""

from __future__ import annotations

import pydoc_data.topics
import random
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from f5_tts_server.embedded.pronunciation import known_words

HELDOUT = Path(__file__).with_name("heldout.txt")
WORDS = Path(__file__).with_name("words")

_SLOTS = {
    "n": "nouns", "a": "adjectives", "v": "verbs", "p": "past", "r": "adverbs", "R": "adverbs", "l": "places",
    "v2": "places", "s": "subjects", "S": "subjects", "W": "names", "k": "numbers", "G": "starts",
}  # fmt: skip
"""What a template's {slot} is filled from."""
_DETERMINERS = ("a", "the", "his", "my")


@lru_cache
def _listed(name: str) -> tuple[str, ...]:
    return tuple((WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def _from_template(random_: random.Random) -> str:
    def fill(match: re.Match[str]) -> str:
        slot = match.group(1)
        return random_.choice(_DETERMINERS if slot == "d" else _listed(_SLOTS[slot]))

    sentence = re.sub(r"\{(\w+)\}", fill, random_.choice(_listed("templates")))
    return sentence[0].upper() + sentence[1:]


@lru_cache(maxsize=1)
def _dictionary_words() -> list[str]:
    return [word for word in known_words() if re.fullmatch("[a-z]{2,11}", word)]


def _from_words(random_: random.Random) -> str:
    """Words in no order that means anything: every sound beside every other."""
    common = [word for name in ("nouns", "adjectives", "verbs", "past", "adverbs") for word in _listed(name)]
    chosen = [
        random_.choice(common if random_.random() < 0.4 else _dictionary_words())
        + ("," if random_.random() < 0.08 else "")
        for _ in range(random_.randint(1, 12))
    ]
    return " ".join(chosen).rstrip(",") + random_.choice(".....?!")


@lru_cache(maxsize=1)
def _prose() -> list[str]:
    texts = [p.read_text(errors="ignore") for p in sorted(Path("/usr/share/common-licenses").glob("*")) if p.is_file()]
    texts += [re.sub(r"[*`|_\\]+|:\w+:", " ", topic) for topic in pydoc_data.topics.topics.values()]
    heldout = set(heldout_sentences())
    sentences = []
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in re.split(r"(?<=[.?!])\s", re.sub(r"\s+", " ", paragraph)):
                words = sentence.split()
                clean = re.fullmatch(r"[A-Z][A-Za-z ,;:'\-]+[.?!]", sentence) is not None
                if 2 <= len(words) <= 26 and clean and sentence not in heldout:
                    sentences.append(sentence)
    return sorted(set(sentences))


def heldout_sentences() -> list[str]:
    """The 100 everyday sentences that evaluation reads."""
    return HELDOUT.read_text(encoding="utf-8").split("\n")[:-1]


def sentences(seed: int) -> Iterator[str]:
    """An endless stream, the same for the same seed."""
    random_ = random.Random(seed)
    heldout = set(heldout_sentences())
    while True:
        draw = random_.random()
        if draw < 0.25:
            sentence = random_.choice(_listed("everyday"))
        elif draw < 0.55:
            sentence = _from_template(random_)
        else:
            sentence = random_.choice(_prose()) if draw < 0.8 else _from_words(random_)
        if sentence not in heldout:
            yield sentence
