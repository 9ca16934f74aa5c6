"""Infills of the released models: the official package's own example of an edit, and closed forms of the gap's length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from f5_tts_server.f5.audio import mel, normalise_rms
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Reference, SegmentPlan
from f5_tts_server.f5.text import PinyinFrontend, Vocab

MEL = MelConfig()
TARGET = "Some call me optimist, others call me realist."
VOCAB = Vocab({token: number for number, token in enumerate(sorted(set(TARGET)))})
FRONTEND = PinyinFrontend(VOCAB, MEL, max_frames=1024)
BYTE_S = 0.05


@dataclass(frozen=True)
class Word:
    text: str
    start: float
    end: float


def even(words: str, start: float = 0.0) -> list[Word]:
    """Words that take `BYTE_S` for each of their bytes and for the blank after them."""
    spoken, at = [], start
    for word in words.split():
        end = at + (len(word.encode()) + 1) * BYTE_S
        spoken.append(Word(word, at, end))
        at = end
    return spoken


def recording(seconds: float) -> np.ndarray:
    return np.random.default_rng(6).normal(0, 0.1, round(seconds * MEL.sample_rate)).astype(np.float32)


def infill(before: str, text: str, after: str) -> tuple[SegmentPlan, Reference, np.ndarray, int, int]:
    """The plan for a gap of half a second between evenly spoken words, with the recording and its two edges."""
    said = even(before)
    first = round(said[-1].end * MEL.sample_rate) if said else 2 * MEL.hop
    last = first + MEL.sample_rate // 2
    following = even(after, last / MEL.sample_rate)
    samples = recording((following[-1].end if following else last / MEL.sample_rate) + 0.2)
    plan, reference = FRONTEND.plan_infill(samples, first, last, before=said, text=text, after=following)
    return plan, reference, samples, first, last


def test_tokens_are_those_of_the_whole_text_officially() -> None:
    """The official `speech_edit.py` hands the model all of the new text, as its `convert_char_to_pinyin` gives it: for
    English its characters."""
    plan, *_ = infill("Some call me optimist, others call me", "realist.", "")
    assert [sorted(set(TARGET))[token] for token in plan.tokens] == list(TARGET)
    plan, *_ = infill("Some call me", "optimist,", "others call me realist.")
    assert [sorted(set(TARGET))[token] for token in plan.tokens] == list(TARGET)
    plan, *_ = infill("", "Some", "call me optimist, others call me realist.")
    assert [sorted(set(TARGET))[token] for token in plan.tokens] == list(TARGET)


@pytest.mark.parametrize("text", ["optimist,", "me", "realist, others call me so"])
def test_new_words_are_spoken_at_the_rate_of_those_around(text: str) -> None:
    """Where every byte takes as long, so do those of the gap: whole frames, to the nearest."""
    plan, *_ = infill("Some call me", text, "others call me realist.")
    gap = plan.frames - plan.ref_frames - plan.after_frames - 3  # three frames hear both sides of a join
    assert gap == pytest.approx((len(text) + 1) * BYTE_S * MEL.sample_rate / MEL.hop, abs=0.51)


def test_frames_around_the_gap_are_the_recordings_own() -> None:
    plan, reference, samples, first, last = infill("Some call me", "optimist,", "others call me realist.")
    level, _ = normalise_rms(samples)
    start = first % MEL.hop  # the frames' grid begins where the gap's edge is a whole frame
    whole = mel(level[start:], MEL)
    edge = (first - start) // MEL.hop
    assert plan.ref_frames == edge - 1 == len(reference.mel)
    np.testing.assert_allclose(plan.before, whole[: edge - 1], atol=1e-4)
    inside = mel(level[last - 8 * MEL.hop :], MEL)[10:]  # far enough from this cut's own edge
    assert plan.after_frames == len(plan.after) == len(inside)
    np.testing.assert_allclose(plan.after, inside, atol=1e-4)
    assert plan.text == "optimist," and plan.frames == plan.ref_frames + plan.after_frames + 3 + round(10 * 4.6875)


def test_a_gap_has_room_for_its_tokens_however_fast_the_words_around_are() -> None:
    """The models need more frames than tokens: a gap beside one hurried word is longer than its rate says."""
    samples = recording(1.0)
    hurried = [Word("me", 0.02, 0.03)]
    plan, _ = FRONTEND.plan_infill(
        samples, 1_000, 2_000, before=hurried, text="call me optimist, others call me", after=[]
    )
    assert plan.frames >= len(plan.tokens) + 1
    plan, _ = FRONTEND.plan_infill(samples, 23_000, 23_100, before=hurried, text="me", after=[])
    assert plan.frames - plan.ref_frames - plan.after_frames - 3 >= 1


def test_words_that_do_not_fit_a_segment_are_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match=r"need 1\d\.\d s .* at most 10\.9 s"):
        infill("Some call me", "optimist, " * 25, "others call me")
