"""Marks, Markdown, sentence cutting, and the parts that come of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_tts_server.inference_types import Pause, Speech, VoiceClip
from f5_tts_server.text import Composer, SentenceCutter, TextError, clauses, compose
from f5_tts_server.text.markup import PauseMark, SpeedMark, VoiceMark, parse
from f5_tts_server.text.plain import without_emoji, without_markdown

OWN = VoiceClip(b"own", "own")
OTHERS = {"bella": VoiceClip(b"bella", "bella"), "carl": VoiceClip(b"carl", "carl")}


def composer(**settings: object) -> Composer:
    return Composer(OTHERS.__getitem__, OWN, **settings)  # type: ignore[arg-type]


def test_marks_are_found_and_other_brackets_are_text() -> None:
    text = "One [pause:0.5] two [Voice: bella ] three[speed:1.5]. [laughs] [pause]"
    assert parse(text) == [
        *("One ", PauseMark(0.5), " two ", VoiceMark("bella"), " three", SpeedMark(1.5)),
        ". [laughs] [pause]",
    ]


@pytest.mark.parametrize(("mark", "seconds"), [("1", 1), ("0.25s", 0.25), ("500ms", 0.5), (" 2 s ", 2), (".5", 0.5)])
def test_pauses_take_seconds_and_milliseconds(mark: str, seconds: float) -> None:
    assert parse(f"[pause:{mark}]") == [PauseMark(seconds)]


@pytest.mark.parametrize(
    "mark",
    ["pause:", "pause:0", "pause:-1", "pause:11", "pause:x", "pause:nan", "voice:", "speed:0", "speed:9", "speed:1s"],
)
def test_a_mark_with_a_bad_value_is_refused_by_name(mark: str) -> None:
    with pytest.raises(TextError, match=rf"\[{mark.split(':')[0]}:"):
        parse(f"text [{mark}] text")


def test_voice_and_speed_hold_until_the_next_mark_and_across_pieces() -> None:
    made = composer(speed=2.0)
    assert made.parts("a [voice:bella] b [pause:1] c [speed:1.5] d") == (
        Speech("a", OWN, 2.0),
        Speech("b", OTHERS["bella"], 2.0),
        Pause(1),
        Speech("c", OTHERS["bella"], 2.0),
        Speech("d", OTHERS["bella"], 3.0),
    )
    assert made.parts("e [voice:default] [speed:1] f") == (Speech("e", OTHERS["bella"], 3.0), Speech("f", OWN, 2.0))


def test_an_unknown_voice_is_the_finders_error() -> None:
    with pytest.raises(KeyError):
        composer().parts("[voice:nobody] hello")


def test_switches() -> None:
    assert composer(read_numbers=False).parts("5 km") == (Speech("5 km", OWN),)
    assert composer(language="de").parts("5 km") == (Speech("fünf Kilometer", OWN),)
    assert composer(strip_markup=True).parts("**Hi** 😀 there") == (Speech("Hi there.", OWN),)


@pytest.mark.parametrize("text", ["", "  ", "...", "[pause:1]", "—!", "[voice:bella]"])
def test_a_text_with_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(TextError, match="nothing to say"):
        compose(text, composer())


def test_a_duration_is_shared_by_what_the_pauses_leave() -> None:
    parts = compose("aaaa [pause:1] aa [speed:2] aaaa", composer(), seconds=9.0)
    lengths = [part.seconds for part in parts]
    assert lengths == pytest.approx([4.0, 1.0, 2.0, 2.0])
    with pytest.raises(TextError, match=r"duration of 1\.1 s"):
        compose("aaaa [pause:1] aa", composer(), seconds=1.1)


def test_parts_are_bounded() -> None:
    with pytest.raises(TextError, match="limit is 200"):
        composer().parts("a[pause:1]" * 150)


MARKDOWN = """# Title

A **bold** and _soft_ word with `code`, a [link](https://x.y) and an ![image of a cat](cat.png)

- first item
- second *item*

```python
print("not spoken")
```

| a | b |
|---|---|
| 1 | 2 |

> quoted text
"""


def test_markdown_becomes_lines_of_words() -> None:
    assert without_markdown(MARKDOWN).splitlines() == [
        "Title.",
        "A bold and soft word with code, a link and an image of a cat.",
        "first item.",
        "second item.",
        "a, b.",
        "1, 2.",
        "quoted text.",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("**Half of a bold sentence.", "Half of a bold sentence."),
        ("the rest.** And more.", "the rest. And more."),
        ("snake_case 2*3", "snake_case 2*3."),
        ("plain, words!", "plain, words!"),
    ],
)
def test_marks_left_over_from_a_cut_sentence_go(text: str, words: str) -> None:
    assert without_markdown(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [("Hi 😀 there 👍🏽", "Hi there "), ("👨‍👩‍👧 family 🇩🇪", " family "), ("© 2 # 1", "© 2 # 1"), ("ok ✅", "ok ")],
)
def test_emoji_go(text: str, words: str) -> None:
    assert without_emoji(text) == words


STORY = (
    "Dr. Smith paid $3.50 at 10:30 a.m. for the book, which was cheap. It weighed 2.5 kg! Really? "
    "“Yes,” she said. Then we went to St. John's. [pause:0.5] The end of the first part.\n\nA new paragraph begins here"
)


def cut(text: str, step: int) -> list[str]:
    cutter = SentenceCutter()
    pieces = [piece for start in range(0, len(text), step) for piece in cutter.feed(text[start : start + step])]
    return pieces + cutter.flush()


def test_clauses_of_a_whole_text() -> None:
    """The embedded voice once spoke "Dr." as a segment of its own, and left out dashes where clauses were joined again."""
    text = (
        "“Well,” said Dr. Jones - or so\tI heard — “why not?” then: 3.5 km, e.g. by bus.\n\n今天很好，走吧。Bye; A. Lee"
    )
    found = ["“Well,”", "said Dr. Jones -", "or so\tI heard —", "“why not?”", "then:", "3.5 km,", "e.g. by bus."]
    assert list(clauses(text)) == [*found, "今天很好，", "走吧。", "Bye;", "A. Lee"]
    assert list(clauses(" \n ")) == []


@given(st.text(alphabet='ab .,;-—!?"”\n。，', max_size=60))
def test_clauses_keep_the_text(text: str) -> None:
    pieces = list(clauses(text))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece == piece.strip() != "" for piece in pieces)


def test_sentences_come_whole() -> None:
    assert cut(STORY, len(STORY)) == [
        "Dr. Smith paid $3.50 at 10:30 a.m. for the book, which was cheap.",
        "It weighed 2.5 kg!",
        "Really? “Yes,” she said.",
        "Then we went to St. John's.",
        "[pause:0.5] The end of the first part.",
        "A new paragraph begins here",
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 20])
def test_the_first_clause_leaves_early_and_the_rest_is_cut_the_same(step: int) -> None:
    pieces = cut(STORY, step)
    assert pieces[:2] == ["Dr. Smith paid $3.50 at 10:30 a.m. for the book,", "which was cheap."]
    assert pieces[2:] == cut(STORY, len(STORY))[1:]


def test_a_first_clause_is_out_before_its_sentence_is_written() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("When the sun had finally set, ") == ["When the sun had finally set,"]
    assert cutter.feed("we walked, slowly, ") == []
    assert cutter.feed("home. And") == ["we walked, slowly, home."]


def test_flush_gives_what_is_there_and_starts_anew() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("Hello") == []
    assert cutter.flush() == ["Hello"]
    assert cutter.flush() == []
    assert cutter.feed("On the following morning, it") == ["On the following morning,"]


def test_chinese_sentences_need_no_space() -> None:
    assert cut("今天天气很好，我们去公园散步吧。明天可能会下雨，所以我们待在家里看书。", 1) == [
        "今天天气很好，我们去公园散步吧。",
        "明天可能会下雨，所以我们待在家里看书。",
    ]


def test_text_without_an_end_is_cut_at_spaces() -> None:
    pieces = cut("word " * 300, 11)
    assert all(len(piece) <= 300 for piece in pieces)
    assert all(set(piece.split()) == {"word"} for piece in pieces)


@given(st.text(alphabet="ab .,!?[]:\n1", max_size=400), st.integers(1, 50))
def test_nothing_is_lost_and_pieces_are_bounded(text: str, step: int) -> None:
    pieces = cut(text, step)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= 300 for piece in pieces[:-1])


@given(st.integers(1, 9))
def test_a_mark_is_never_cut_apart(step: int) -> None:
    text = "He was called at length, [voice:Dr. Who, the first] and then. " * 12
    assert sum(piece.count("[voice:Dr. Who, the first]") for piece in cut(text, step)) == 12
