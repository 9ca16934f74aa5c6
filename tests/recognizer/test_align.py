"""Forced alignment: against an exhaustive search, and on the reference clips that ship."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from f5_tts_server.embedded.phonemes import PAUSES, said
from f5_tts_server.recognizer.align import AlignmentError, align, align_sounds
from f5_tts_server.recognizer.network import CLASS_OF, CLASSES

ASSETS = Path("f5_tts_server/embedded/assets")
VOICES = {voice["id"]: voice for voice in json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]}


def exhaustive(posteriors: np.ndarray, words: list[list[str]]) -> float:
    """The best score over every division of the frames among silences and phonemes of two frames or more."""
    classes: list[int] = [0]
    for word in words:
        classes += [CLASS_OF[sound] for sound in word] + [0]
    silences = {0} | set(np.cumsum([len(word) + 1 for word in words]).tolist())
    best = -np.inf
    for cuts in itertools.combinations_with_replacement(range(len(posteriors) + 1), len(classes) - 1):
        edges = [0, *cuts, len(posteriors)]
        lengths = np.diff(edges)
        if any(length < 2 and index not in silences for index, length in enumerate(lengths)):
            continue
        owners = np.repeat(classes, lengths)
        best = max(best, float(posteriors[np.arange(len(owners)), owners].sum()))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_the_alignment_is_the_best_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    posteriors = rng.normal(0, 1, (9, len(CLASSES))).astype(np.float32)
    words = [["k", "ˈæ"], ["t"]]
    spans = align_sounds(posteriors, words)
    within = sum(span.total for span in spans)
    covered = {frame for span in spans for frame in range(span.start, span.end)}
    silent = sum(float(posteriors[frame, 0]) for frame in range(9) if frame not in covered)
    assert within + silent == pytest.approx(exhaustive(posteriors, words), abs=1e-4)


@pytest.mark.parametrize("name", VOICES)
def test_words_of_real_speech_lie_where_it_sounds(name: str) -> None:
    """Words are in order and cover the whole text, and what is said in the clip fits it better than other texts."""
    entry = VOICES[name]
    samples, rate = soundfile.read(ASSETS / entry["audio"], dtype="float32")
    assert rate == 24_000
    words = align(samples, entry["text"])
    assert " ".join(word.text for word in words) == entry["text"]
    assert all(a.end <= b.start + 1e-9 and a.start < a.end for a, b in itertools.pairwise(words))
    assert all(entry["text"][word.first : word.last] == word.text for word in words)
    assert words[0].start >= 0 and words[-1].end <= len(samples) / rate + 0.01
    total = [np.mean([np.log(word.score) for word in align(samples, voice["text"])]) for voice in VOICES.values()]
    assert list(VOICES)[int(np.argmax(total))] == name, f"the scores of the texts {list(VOICES)} are {total}"


def test_silence_before_the_speech_moves_every_word_by_its_length() -> None:
    entry = VOICES["ada"]
    samples, rate = soundfile.read(ASSETS / entry["audio"], dtype="float32")
    plain, later = align(samples, entry["text"]), align(np.pad(samples, (rate // 2, 0)), entry["text"])
    assert [word.text for word in plain] == [word.text for word in later]
    assert np.median([b.start - a.start for a, b in zip(plain, later, strict=True)]) == pytest.approx(0.5, abs=0.011)


def test_what_cannot_be_laid_along_the_audio_is_named() -> None:
    silence = np.zeros(24_000, np.float32)
    with pytest.raises(AlignmentError, match="nothing of the text"):
        align(silence, "…")
    with pytest.raises(AlignmentError, match=r"more than 1\.00 s of audio can hold"):
        align(silence, "a hundred words " * 20)
    with pytest.raises(AlignmentError, match="more than is aligned at once"):
        align_sounds(np.zeros((20_000, len(CLASSES)), np.float32), [["k"] * 10] * 100)


def test_the_characters_of_what_is_said() -> None:
    """Typographic quotes, accents and ligatures change the length of what is read; places are those of the text."""
    text = "L’été costs 25% — the œuvre…"
    found = [text[item.start : item.end] for item in said(text) if item.sounds[0] not in PAUSES]
    assert found == ["L’été", "costs", "25", "25", "%", "the", "œuvre"]
