"""Tags of SSML: pauses are made, nothing of a tag is read aloud, however the text is cut."""

from __future__ import annotations

import random

import pytest

from f5_tts_server.text import TagReader, TextError, without_tags

CASES = [
    ('One.<break time="1.5s"/>Two.', "One. [pause:1.500] Two."),
    ("One <break time='500ms' /> two", "One  [pause:0.500]  two"),
    ('One <break strength="none"/>two <break time="0s"/>three', "One two three"),
    ('<phoneme alphabet="ipa" ph="təˈmɑːtəʊ">tomato</phoneme>s', "tomatos"),
    ('<speak><p>A <emphasis level="strong">word</emphasis>.</p></speak>', "\n\nA word.\n\n"),
    ("AT&amp;T &lt;3 &quot;it&apos;s&quot; &nbsp;", 'AT&T <3 "it\'s" &nbsp;'),
    ("1 < 2 and 3 > 2, <3, a <- b", "1 < 2 and 3 > 2, <3, a <- b"),
    ("<!-- a note --><?xml version='1.0'?>Text", "Text"),
]


@pytest.mark.parametrize(("text", "spoken"), CASES)
def test_tags_are_not_read_aloud(text: str, spoken: str) -> None:
    """`<break time="1.5s"/>` and `<phoneme>` were, over ElevenLabs' routes."""
    assert without_tags(text) == spoken


@pytest.mark.parametrize(("text", "words"), [('<break time="11s"/>', "10 s"), ("<break/>", "no time")])
def test_breaks_that_cannot_be_made_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(TextError, match=words) as caught:
        without_tags(text)
    assert "<break>" in str(caught.value)


def test_a_text_in_pieces_gives_what_the_whole_gives() -> None:
    chance = random.Random(7)
    for text, spoken in CASES * 20:
        reader, said, rest = TagReader(), "", text
        while rest:
            count = chance.randint(1, 6)
            said += reader.feed(rest[:count])
            rest = rest[count:]
        assert said + reader.flush() == spoken, (text, chance)


def test_a_tag_that_never_ends_is_let_go() -> None:
    """What waits for its end is bounded, so that a text full of `<` costs no more than another."""
    reader = TagReader()
    assert reader.feed("<a" + "x" * 1000) == "<a" + "x" * 1000
    assert reader.feed("<a") == ""
    assert reader.flush() == "<a"


@pytest.mark.parametrize("text", ["<" + "a" * 300_000, "<a" * 150_000, "<a " * 100_000, "&" * 300_000])
def test_the_cost_grows_with_the_length(text: str) -> None:
    """A quadratic expression would take minutes for these."""
    assert without_tags(text) == text
    reader = TagReader()
    assert reader.feed(text) + reader.flush() == text
