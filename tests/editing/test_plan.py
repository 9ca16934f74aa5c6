"""Where a recording is cut, and that everything else is kept, on made-up words: tones between silences."""

from __future__ import annotations

import numpy as np
import pytest

from f5_tts_server.editing import Edit, plan_edit
from f5_tts_server.editing.words import Difference, differences
from f5_tts_server.inference_types import Infill, Recorded, Samples, SpokenWord
from f5_tts_server.text import TextError

RATE = 24_000
FADE = 512
TEXT = "One two three, four five six seven eight."


def recording(gap: float = 0.1) -> tuple[Samples, list[SpokenWord]]:
    """Each word a tone of 0.4 s, with `gap` seconds before each and after the last; all samples differ."""
    rng = np.random.default_rng(1)
    words, pieces, at = [], [], 0.0
    for index, word in enumerate(TEXT.split()):
        tone = 0.3 * np.sin(2 * np.pi * (150 + 20 * index) * np.arange(round(0.4 * RATE)) / RATE)
        pieces += [np.zeros(round(gap * RATE)), tone]
        words.append(SpokenWord(word, at + gap, at + gap + 0.4))
        at += gap + 0.4
    samples = np.concatenate([*pieces, np.zeros(round((gap + 0.1) * RATE))])
    return (samples + 1e-4 * rng.standard_normal(len(samples))).astype(np.float32), words


def planned(wanted: str, gap: float = 0.1) -> tuple[Samples, Edit]:
    samples, words = recording(gap)
    return samples, plan_edit(samples, RATE, words, wanted, lambda word: any(map(str.isalnum, word)))


def test_the_difference_of_texts() -> None:
    old, new = "The cat, he sat down".split(), "the CAT he just sat - up there".split()
    assert differences(old, new) == [Difference(3, 3, 3, 4), Difference(4, 5, 5, 8)]
    assert differences(old, ["The", "cat", "he", "sat", "down."]) == []


@pytest.mark.parametrize("gap", [0.1, 0.0])
@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        ("One two three, four nine six seven eight.", [("five", "nine")]),
        ("One two three, four and five six seven eight.", [("", "and")]),
        ("Zero two three, four five six seven ten", [("One", "Zero"), ("eight.", "ten")]),
        ("One two three, four five six seven eight nine ten.", [("", "nine ten.")]),
    ],
)
def test_words_are_spoken_anew_and_all_else_is_kept(wanted: str, changes: list[tuple[str, str]], gap: float) -> None:
    samples, edit = planned(wanted, gap)
    assert [(change.was, change.now) for change in edit.changes] == changes
    at = 0
    infills = iter(edit.changes)
    for part in edit.parts:
        if isinstance(part, Recorded):
            np.testing.assert_array_equal(part.samples, samples[at : at + len(part.samples)])
            at += len(part.samples)
            continue
        assert isinstance(part, Infill)
        change = next(infills)
        assert at == round(change.start * RATE)
        origin = at + FADE - part.first  # where the infill's samples begin in the recording
        np.testing.assert_array_equal(part.samples, samples[origin : origin + len(part.samples)])
        assert part.first >= FADE and len(part.samples) - part.last >= 2 * FADE
        words = recording(gap)[1]
        for heard in (*part.before, *part.after):
            true = next(word for word in words if word.text == heard.text)
            assert true.start == pytest.approx(heard.start + origin / RATE, abs=1e-3)
        kept = [word.text for word in (*part.before, *part.after)]
        assert part.text == change.now and not set(change.was.split()) & set(kept)
        changed = [word for word in words if word.text in change.was.split()]
        for word in changed:
            assert part.first + origin <= (word.start + 0.03) * RATE and part.last + origin >= (word.end - 0.03) * RATE
        at = origin + part.last + FADE
        assert at == round(change.end * RATE)
    assert at == len(samples)


def test_words_are_taken_out_without_a_click() -> None:
    samples, edit = planned("One two three, six seven eight.")
    assert [(change.was, change.now) for change in edit.changes] == [("four five", "")]
    assert all(isinstance(part, Recorded) for part in edit.parts)
    joined = np.concatenate([part.samples for part in edit.parts if isinstance(part, Recorded)])
    assert (len(samples) - len(joined)) / RATE == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.diff(joined)).max() <= np.abs(np.diff(samples)).max() * 1.01
    first, last = (round(time * RATE) for time in (edit.changes[0].start, edit.changes[0].end))
    np.testing.assert_array_equal(joined[:first], samples[:first])
    np.testing.assert_array_equal(joined[len(joined) - (len(samples) - last) :], samples[last:])


def test_out_of_running_speech_the_next_word_is_spoken_anew() -> None:
    """Where "own" was cut out of "your own laptop" and the sides were cross-faded, "laptop" was heard as "app to"."""
    _, edit = planned("One two three, four six seven eight.", gap=0.0)
    assert [(change.was, change.now) for change in edit.changes] == [("five six", "six")]


def test_changes_without_room_between_them_are_one() -> None:
    samples, words = recording(0.0)
    words[1:3] = SpokenWord("two", 0.4, 0.42), SpokenWord("three,", 0.42, 1.2)
    edit = plan_edit(samples, RATE, words, "Ten two ten four five six seven eight.", str.strip)  # type: ignore[arg-type]
    assert [(change.was, change.now) for change in edit.changes] == [("One two three,", "Ten two ten")]


@pytest.mark.parametrize("wanted", ["", "-", "Entirely other words."])
def test_of_the_recording_something_must_be_kept(wanted: str) -> None:
    with pytest.raises(TextError, match="keeps no word of the recording"):
        planned(wanted)


def test_the_same_text_keeps_the_recording() -> None:
    samples, edit = planned(TEXT.upper())
    assert edit.changes == () and len(edit.parts) == 1
    np.testing.assert_array_equal(edit.parts[0].samples, samples)  # type: ignore[union-attr]
