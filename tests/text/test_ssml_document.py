"""SSML documents: what is done is done, everything else is refused by name, and nothing expands."""

from __future__ import annotations

import pytest

from f5_tts_server import given_sounds
from f5_tts_server.inference_types import Pause, Speech, VoiceClip
from f5_tts_server.text import Composer, TextError
from f5_tts_server.text.ssml_document import document

OWN = VoiceClip(b"own", "own")


def parts(inside: str) -> list[tuple[str, float] | float]:
    """Words with their speed, and pauses."""
    made = Composer(lambda _: OWN, OWN, ssml=True).parts(f"<speak>{inside}</speak>")
    return [(given_sounds.written(p.text), p.speed) if isinstance(p, Speech) else p.seconds for p in made]


@pytest.mark.parametrize(
    ("inside", "made"),
    [
        ('One <break time="500ms"/> two <break time="1s"/>', [("One", 1), 0.5, ("two", 1), 1.0]),
        ('One <break/> two <break strength="none"/> three', [("One", 1), 0.4, ("two  three", 1)]),
        ("<p>One.</p><p><s>Two.</s><s>Three.</s></p>", [("One.\n\n\nTwo.\n\nThree.", 1)]),
        ('<sub alias="World Wide Web">WWW</sub> &amp; co', [("World Wide Web and co", 1)]),
        ('<say-as interpret-as="characters">A1c</say-as>', [("ay one c", 1)]),
        ('the <say-as interpret-as="ordinal">23</say-as>', [("the twenty-third", 1)]),
        ('<say-as interpret-as="cardinal">23</say-as>', [("twenty-three", 1)]),
        ('a <prosody rate="150%">b <prosody rate="-50%">c</prosody></prosody> d',
         [("a", 1), ("b", 1.5), ("c", 0.75), ("d", 1)]),
        ('<phoneme ph="təmˈɑɾO">tomato</phoneme>es [pause:1]', [("tomatos [pause:one]", 1)]),
    ],
)  # fmt: skip
def test_what_is_done(inside: str, made: list[tuple[str, float] | float]) -> None:
    assert parts(inside) == made


BOMB = '<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><speak>&b;</speak>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "no document type"),
        ('<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><speak>&x;</speak>', "no document type"),
        ("<speak>&nbsp;</speak>", "undefined entity"),
        ("<?xml-stylesheet href='x'?><speak>a</speak>", "processing instructions"),
        ("<speak>" + "<p>" * 30, "20 deep"),
        ("<speak>" + "<s/>" * 1001, "1000 elements"),
        ("<speak><audio src='http://x'/></speak>", "<audio> is not done here"),
        ("<speak><prosody pitch='high'>a</prosody></speak>", "attribute 'pitch'"),
        ("<speak><prosody rate='9999%'>a</prosody></speak>", "0.25 to 4"),
        ("<speak><break time='99s'/></speak>", "0s to 10s"),
        ("<speak><say-as interpret-as='expletive'>a</say-as></speak>", "'expletive'"),
        ("<speak><phoneme alphabet='x-sampa' ph='a'>a</phoneme></speak>", "'x-sampa'"),
        ("<speak><sub>a</sub></speak>", "no alias"),
        ("<speak>a", "no element found"),
        ("a", "no SSML document"),
        ("<p>a</p>", "one <speak>"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    """Nothing of a bomb is expanded: the document type is refused before its entities are."""
    with pytest.raises(TextError, match=words):
        document(text)
    assert len(BOMB) < 200


def test_pauses_are_parts() -> None:
    assert Composer(lambda _: OWN, OWN, ssml=True).parts("<speak>a <break time='2s'/></speak>")[1] == Pause(2)
