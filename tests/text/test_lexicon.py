"""Pronunciations given in a text, by a lexicon file, a request: which words they reach, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_tts_server import given_sounds
from f5_tts_server.embedded.phonemes import phonemes
from f5_tts_server.embedded.pronunciation import transcribe, transcribe_words
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.pinyin import pinyin_tokens
from f5_tts_server.f5.text import PinyinFrontend, Vocab, byte_duration, check_given
from f5_tts_server.inference_types import Speech, VoiceClip
from f5_tts_server.text import Composer, Lexicon, SentenceCutter, TextError
from f5_tts_server.text.lexicon import ENTRIES_MAX, apply

OWN = VoiceClip(b"own", "own")
OTHER = VoiceClip(b"other", "other")


def check(transcription: str) -> None:
    transcribe_words(transcription)


def lexicon(**words: str) -> Lexicon:
    return Lexicon.of({word.replace("_", " "): value for word, value in words.items()}, check)


def spoken(text: str, *lexicons: Lexicon) -> str:
    """The sounds of a text, read with lexicons."""
    composer = Composer(lambda _: OTHER, OWN, lexicons=lambda _: lexicons, check=check)
    return " ".join("".join(phonemes(part.text)) for part in composer.parts(text) if isinstance(part, Speech))


@pytest.mark.parametrize(
    ("ipa", "symbols"),
    [
        ("təmˈɑɾO", ("t", "ə", "m", "ˈɑ", "ɾ", "O")),
        ("təˈmɑːtəʊ", ("t", "ə", "m", "ˈɑ", "t", "O")),  # the stress before its syllable moves to the vowel
        ("t͡ʃiːz", ("ʧ", "i", "z")),
        ("/ˈwɔtər/", ("w", "ˈɔ", "t", "ɚ")),
        ("ŋwiən", ("ŋ", "w", "ˈi", "ə", "n")),
    ],
)
def test_ipa_as_people_write_it(ipa: str, symbols: tuple[str, ...]) -> None:
    assert transcribe(ipa) == symbols


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("[say:tomato|təmˈɑɾO]", "təmˈɑɾO."),
        ("two [say:tomato|təmˈɑɾO]s", "tˈu təmˈɑɾOz."),
        ("[say:zag|zˈæɡ]ed [say:zag|zˈæɡ]ing [say:zat|zˈæt]ed", "zˈæɡd zˈæɡɪŋ zˈætᵻd."),
        ("[say:Siobhan|shivon]'s", "ʃˈɪvɑnz."),
        ("the [say:hour|/ˈaʊər/]", "ði ˈWɚ."),
        ("the [say:New York|nˈu jˈɔɹk]", "ðə nˈu jˈɔɹk."),
    ],
)
def test_a_word_said_by_a_mark(text: str, sounds: str) -> None:
    assert spoken(text) == sounds


def test_words_of_a_lexicon_in_any_case_and_form() -> None:
    words = lexicon(tomato="təmˈɑɾO", SQL="sequel", polish="/pɑlɪʃ/", kiss="/kˈɪs/")
    assert spoken("Tomato TOMATO tomatoes tomato's", words) == "təmˈɑɾO təmˈɑɾO təmˈɑɾOz təmˈɑɾOz."
    assert spoken("SQL's", words) == spoken("sequel's")
    assert spoken("sql", words) == spoken("sql")  # a word with capitals is itself as it is written only
    assert spoken("kissed kisses kissing", words) == "kˈɪst kˈɪsᵻz kˈɪsɪŋ."
    assert spoken("tomatoe", words) == spoken("tomatoe")
    assert spoken("automatos", words) == spoken("automatos")  # inside another word it is none


def test_longer_entries_go_first_and_other_marks_belong_to_a_word() -> None:
    words = Lexicon.of({"New York": "noo yark", "York": "yorrick", "C++": "see plus plus", "AT&T": "ay tee"}, check)
    assert apply("York, New York, C++17, AT&T's", [words]) == "yorrick, noo yark, see plus plus17, ay tee's"


def test_the_first_lexicon_that_has_a_word_counts_and_a_voice_has_its_own() -> None:
    mine, theirs = lexicon(cat="/kˈit/"), lexicon(cat="/kˈut/", dog="/dˈɪɡ/")
    assert spoken("cat dog", mine, theirs) == "kˈit dˈɪɡ."
    composer = Composer(lambda _: OTHER, OWN, lexicons=lambda clip: [theirs] if clip is OTHER else [])
    first, second = composer.parts("dog [voice:other] dog")
    assert isinstance(first, Speech) and isinstance(second, Speech)
    assert (first.text, given_sounds.written(second.text)) == ("dog", "dog") and second.text != "dog"


def test_numbers_markdown_and_sentences_leave_given_words_alone() -> None:
    composer = Composer(lambda _: OTHER, OWN, strip_markup=True, check=check)
    (part,) = composer.parts("# Head\n\nI **said** [say:tomato|təmˈɑɾO]s in 5 km.")
    assert isinstance(part, Speech)
    assert given_sounds.written(part.text) == "Head.\nI said tomatos in five kilometers."
    assert "təmˈɑɾOz" in "".join(phonemes(part.text))
    cutter, text = SentenceCutter(), "He was called at length, [say:Dr. Who, the first|dˈɑktəɹ hˈu] and then. " * 9
    assert sum(piece.count("|dˈɑktəɹ hˈu]") for piece in [*cutter.feed(text), *cutter.flush()]) == 9


def test_private_characters_of_a_text_give_no_pronunciation() -> None:
    """A client's own characters of those planes must not be taken for ours."""
    composer = Composer(lambda _: OTHER, OWN)
    assert composer.parts(f"cat{given_sounds.encode('x', 'q')}") == (Speech("cat", OWN),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[say:x|bˈæq]", "'q' is no phoneme"),
        ("[say:x|]", "0 characters"),
        ("[say:x]", r"write the word, \|"),
        (f"[say:{'x' * 61}|a]", "60 characters"),
        ("[say:x|ˈ]", "no vowel follows"),
    ],
)
def test_a_mark_that_says_nothing_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(TextError, match=words) as caught:
        spoken(text)
    assert "[say:" in str(caught.value)


@pytest.mark.parametrize(
    ("word", "value", "words"),
    [
        ("tomato", "təmˈɑqO", "entry 'tomato'.*'q' is no phoneme"),
        ("tomato", "", "entry 'tomato'.*0 characters"),
        ("tomato", "a" * 61, "entry 'tomato'.*61 characters"),
        ("tomato", "a\nb", "entry 'tomato'.*printed"),
        ("", "a", "entry ''.*0 characters"),
        ("?!", "a", "letter or digit"),
    ],
)
def test_an_entry_at_fault_is_named(word: str, value: str, words: str) -> None:
    with pytest.raises(TextError, match=words):
        Lexicon.of({word: value}, check)


def test_the_number_of_entries_is_bounded() -> None:
    with pytest.raises(TextError, match=f"limit is {ENTRIES_MAX}"):
        Lexicon.of({f"word{number}": "a" for number in range(ENTRIES_MAX + 1)}, check)


def test_files_of_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "lexicon"
    path.write_text('{"cat": "/kˈit/"}', "utf-8")
    assert spoken("cats", Lexicon.load(path, check)) == "kˈits."
    path.write_text("# ours\n\ncat\t/kˈit/\n", "utf-8")
    assert spoken("cats", Lexicon.load(path, check)) == "kˈits."
    for text, words in (("cat kit\n", "line 1 has no tab"), ('{"cat": 1}', "entry 'cat'"), ("{", "not JSON")):
        path.write_text(text, "utf-8")
        with pytest.raises(TextError, match=f"lexicon .*{words}"):
            Lexicon.load(path, check)


# Models that read letters and pinyin


def test_pinyin_takes_the_place_of_what_is_guessed() -> None:
    text = Composer(lambda _: OTHER, OWN).parts("去[say:重庆|chong2 qing4]。")[0]
    assert isinstance(text, Speech)
    assert pinyin_tokens(text.text) == [" ", "qu4", " ", "chong2", " ", "qing4", "。"]
    words = Lexicon.of({"重庆": "chong2 qing4"}, lambda given: check_given(given, "pinyin"))
    assert pinyin_tokens(apply("我去重庆", [words]))[-4:] == [" ", "chong2", " ", "qing4"]
    # It lasts as long as the characters that it is written with.
    assert byte_duration("甲乙丙丁。", 100, text.text, 1.0) == byte_duration("甲乙丙丁。", 100, "去重庆。", 1.0)


def test_what_a_model_cannot_speak_is_refused() -> None:
    with pytest.raises(ValueError, match="no syllable of pinyin"):
        check_given("təmˈɑɾO", "pinyin")
    with pytest.raises(ValueError, match="respell the word"):
        check_given("chong2", "char")
    frontend = PinyinFrontend(Vocab({" ": 0, "chong2": 1}), MelConfig(), max_frames=2048)
    with pytest.raises(ValueError, match="does not know 'qing4'"):
        frontend._check_given(given_sounds.encode("重庆", "chong2 qing4"))
