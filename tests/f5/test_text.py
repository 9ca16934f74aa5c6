"""Text front end against the official one (tests/golden/frontend_text.json), and what its segments promise."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_tts_server.f5.audio import mel, resample
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.text import (
    SHORT_BYTES,
    PinyinFrontend,
    Vocab,
    VocabularyError,
    chunk_text,
    end_reference_text,
    segment_budget,
    tokens_by,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "frontend_text.json").read_text(encoding="utf-8"))
VOCAB = Vocab({token: number for number, token in enumerate(GOLDEN["vocab"])})
MEL = MelConfig()
OFFICIAL_MAX_FRAMES = 65_536


def reference(
    text: str = "A clip of five seconds, more or less so.", count: int = 120_000, rate: int = 24_000
) -> Reference:
    samples = resample(np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32), rate, 24_000)
    return Reference(samples, mel(samples, MEL), text, gain=1.0, nbytes=0)


FRONTEND = PinyinFrontend(VOCAB, MEL, max_frames=OFFICIAL_MAX_FRAMES)
REFERENCE = reference()


def size(text: str) -> int:
    return len(text.encode())


# Equality with the official code


@pytest.mark.parametrize(("text", "tokens"), list(zip(GOLDEN["texts"], GOLDEN["tokens"], strict=True)))
def test_tokens_equal_official(text: str, tokens: list[str]) -> None:
    assert tokens_by("pinyin")(text) == tokens


@pytest.mark.parametrize("case", GOLDEN["chunks"])
def test_chunks_equal_official(case: dict[str, Any]) -> None:
    assert chunk_text(case["text"], case["max_bytes"]) == case["chunks"]


@pytest.mark.parametrize("case", GOLDEN["plans"])
def test_plans_equal_official(case: dict[str, Any]) -> None:
    """Segments, token ids, total frames and generated frames that the official inference gives its model."""
    voice = reference(case["reference_text"], case["samples"], case["rate"])
    segments = chunk_text(case["text"], segment_budget(
        end_reference_text(voice.text), case["samples"] / case["rate"], case["speed"]
    ))  # fmt: skip
    shares: list[float] | list[None] = [None] * len(segments)
    if case["fix_duration"] is not None:
        seconds = case["fix_duration"] - len(voice.samples) // 256 * 256 / 24_000
        seconds += 0.15 * (len(segments) - 1)  # officially shared by bytes, with what the cross-fades take away
        shares = [seconds * size(segment) / sum(map(size, segments)) for segment in segments]
    plans = [
        FRONTEND.plan(segment, voice, speed=case["speed"], seconds=share)
        for segment, share in zip(segments, shares, strict=True)
    ]
    assert [
        {"ids": plan.tokens.tolist(), "frames": plan.frames, "generated": plan.frames - plan.ref_frames}
        for plan in plans
    ] == case["segments"]


@pytest.mark.parametrize("case", [case for case in GOLDEN["plans"] if case["rate"] == 24_000])
def test_split_equals_official_where_every_clause_fits(case: dict[str, Any]) -> None:
    voice = reference(case["reference_text"], case["samples"])
    budget = segment_budget(end_reference_text(voice.text), case["samples"] / 24_000, case["speed"])
    chunks = chunk_text(case["text"], budget)
    segments = list(FRONTEND.split(case["text"], voice, speed=case["speed"], first_seconds=None))
    if all(size(chunk) <= budget for chunk in chunks):
        assert segments == chunks
    else:
        assert "".join("".join(segments).split()) == "".join("".join(chunks).split())


def test_golden_has_clauses_that_fit_and_unknown_tokens() -> None:
    assert sum(len(case["segments"]) > 1 for case in GOLDEN["plans"]) > 10
    assert {token for line in GOLDEN["tokens"] for token in line} - set(GOLDEN["vocab"])


# Vocabulary


def test_vocabulary_lines_are_ids(tmp_path: Path) -> None:
    """The last line counts whole without a line feed; the official loader drops its character."""
    path = tmp_path / "vocab.txt"
    path.write_text(" \na\nni3\nz", encoding="utf-8")
    vocab = Vocab.load(path)
    assert vocab.size == 4
    ids = vocab.ids(["z", "ni3", "?", " ", "a"])
    assert ids.tolist() == [3, 2, 0, 0, 1] and ids.dtype == np.int32
    path.write_text(" \na\nni3\nz\n", encoding="utf-8")
    assert Vocab.load(path) == vocab
    path.write_bytes(b" \r\na\r\nni3\r\nz\r\n")
    assert Vocab.load(path) == vocab


def test_vocabulary_with_a_stripped_first_line_still_reads_spaces(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\na\n", encoding="utf-8")
    assert Vocab.load(path).ids(" a").tolist() == [0, 1]


@pytest.mark.parametrize(("data", "fault"), [(b"a\n \n", "line 1 is 'a'"), (b" \n\xff\n", "not UTF-8")])
def test_vocabulary_that_is_damaged_is_refused(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(data)
    with pytest.raises(VocabularyError, match=fault):
        Vocab.load(path)


def test_char_tokenizer_changes_nothing() -> None:
    assert tokens_by("char")("a; “北京”") == list("a; “北京”")


# Lengths


def test_very_short_text_is_spoken_slowly_whatever_the_speed() -> None:
    """One-word inputs gave noise: at their share of bytes there is no time to say them."""
    one, two = (FRONTEND.plan("Yes.", REFERENCE, speed=speed, seconds=None).frames for speed in (1.0, 2.0))
    assert one == two
    assert (one - 468) / (4 * 468 / size(REFERENCE.text + "  ")) == pytest.approx(1 / 0.3, rel=0.05)


def test_longer_text_is_never_squeezed() -> None:
    """Frames a byte stay the same up to the longest segment and from segment to segment."""
    text = "and so on it goes " * 40
    for segment in FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=1.0):
        plan = FRONTEND.plan(segment, REFERENCE, speed=1.0, seconds=None)
        assert (plan.frames - plan.ref_frames + 1) * size(REFERENCE.text + ".  ") >= 468 * size(segment)


def test_asked_seconds_are_given() -> None:
    plan = FRONTEND.plan("How long does this take?", REFERENCE, speed=1.0, seconds=3.0)
    assert (plan.frames - plan.ref_frames) / 93.75 == pytest.approx(3.0, abs=1 / 93.75)


def test_a_frame_is_made_even_for_a_text_of_no_length() -> None:
    plan = FRONTEND.plan("a" * 400, reference("x" * 200, 24_000), speed=9.0, seconds=None)
    assert plan.frames == len(plan.tokens) + 1


def test_segment_beyond_the_longest_is_refused_with_the_limit() -> None:
    frontend = PinyinFrontend(VOCAB, MEL, max_frames=1024)
    with pytest.raises(ValueError, match=r"at most 1024 \(10\.9 s\)"):
        frontend.plan("word " * 60, REFERENCE, speed=1.0, seconds=None)
    for segment in frontend.split("word " * 600, REFERENCE, speed=1.0, first_seconds=None):
        assert frontend.plan(segment, REFERENCE, speed=1.0, seconds=None).frames <= 1024


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_blank_text_has_no_segments_and_no_plan(text: str) -> None:
    assert list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=None)) == []
    assert list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=1.0)) == []
    with pytest.raises(ValueError, match="empty"):
        FRONTEND.plan(text, REFERENCE, speed=1.0, seconds=None)


def test_blank_transcript_and_broken_unicode_are_refused() -> None:
    with pytest.raises(ValueError, match="transcript is empty"):
        FRONTEND.plan("Text.", reference(" "), speed=1.0, seconds=None)
    with pytest.raises(ValueError, match="surrogate pair at character 2"):
        next(FRONTEND.split("ab\ud800", REFERENCE, speed=1.0, first_seconds=None))


# Segments

WORDS = st.one_of(
    st.text("abcdefgh", min_size=1, max_size=12),
    st.text("abcdé", min_size=1, max_size=200),
    st.text("我们今天去北京。，", min_size=1, max_size=90),
    st.text(st.integers(0x20, 0xD7FF).map(chr), min_size=1, max_size=8).filter(str.isprintable),
    st.sampled_from(["one,", "two.", "three!", "“four”", "5.5", "😀", "我love你", "第3章", "end;", ":"]),
)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "  ", "\n", "\t"])), max_size=60).map(
    lambda words: "".join(word + blank for word, blank in words)
)


@given(
    TEXTS, st.sampled_from([None, 0.2, 1.0, 4.0]), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([700, 1024, 9999])
)
def test_segments_keep_the_text_and_the_budget(
    text: str, first_seconds: float | None, speed: float, max_frames: int
) -> None:
    frontend = PinyinFrontend(VOCAB, MEL, max_frames=max_frames)
    segments = list(frontend.split(text, REFERENCE, speed=speed, first_seconds=first_seconds))
    assert "".join("".join(segments).split()) == "".join(text.split())
    official = segment_budget(end_reference_text(REFERENCE.text), 5.0, speed)
    fitting = int((max_frames - 468) * speed * size(REFERENCE.text + "  ") / 468)
    for segment in segments:
        assert segment == segment.strip() != ""
        if size(segment) > min(official, fitting):
            assert not any(character.isspace() for character in segment), "more than one word"
            assert not any(a + b in segment for a in "我们今天去北京" for b in "我们今天去北京"), (
                "more than one character"
            )


@given(TEXTS, st.sampled_from([0.5, 1.0, 2.0]))
def test_cuts_are_between_words(text: str, first_seconds: float) -> None:
    segments = list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=first_seconds))
    place = 0
    for segment in segments[:-1]:
        for character in "".join(segment.split()):
            place = text.index(character, place) + 1
        before, after = text[place - 1], text[place]
        assert after.isspace() or not (before.isascii() and after.isascii() and before.isalpha() and after.isalpha())


def test_first_segment_ends_with_the_clauses_that_fit() -> None:
    text = "Good evening, ladies and gentlemen. Tonight we speak of speech, of all things."
    segments = list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=2.0))
    assert segments[0] == "Good evening,"
    assert size(segments[0]) <= 2.0 * size(REFERENCE.text + " ") / 5


def test_first_segment_without_a_clause_ends_with_a_word() -> None:
    segments = list(
        FRONTEND.split("A sentence that goes on and on without a stop in it", REFERENCE, speed=1.0, first_seconds=2.0)
    )
    assert segments[0] == "A sentence that"


def test_first_segment_of_chinese_ends_at_any_character() -> None:
    voice = reference("对，这就是我，万人敬仰的太乙真人。", 97_531)
    segments = FRONTEND.split("没有标点的一句很长很长的中文句子它一直继续下去", voice, speed=1.0, first_seconds=1.5)
    assert next(segments) == "没有标点的一"


def test_later_segments_grow_to_the_budget() -> None:
    text = "Now this is a clause, and here is another one, " * 60
    segments = list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=2.5))
    sizes = [size(segment) for segment in segments]
    assert sizes[0] <= 21 and sizes[1] <= 84 and max(sizes) > 100
    budget = segment_budget(end_reference_text(REFERENCE.text), 5.0, 1.0)
    assert all(one < other for one, other in pairwise(sizes[:3])) and max(sizes) <= budget


@given(st.lists(st.text("abcdef", min_size=1, max_size=9), min_size=3, max_size=40), st.floats(0.1, 5))
def test_no_early_segment_is_a_drawled_word(words: list[str], first_seconds: float) -> None:
    """A text below ten bytes is spoken at 0.3 of its speed: a cut must not make one."""
    text = " ".join(words)
    segments = list(FRONTEND.split(text, REFERENCE, speed=1.0, first_seconds=first_seconds))
    if len(segments) > 1:
        assert size(segments[0]) >= SHORT_BYTES
    if len(segments) == 2:
        assert size(segments[1]) >= SHORT_BYTES
