"""The embedded voice's front end: what a segment's tokens and frames must add up to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.lengths import FRAMES_A_TOKEN
from f5_tts_server.embedded.phoneme_frontend import LONGEST_FRAMES, PhonemeFrontend
from f5_tts_server.embedded.phonemes import PAUSES, said
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.text import TextError

MEL = MelConfig()
TEXT = "The old clock on the wall has stopped, but nobody wants to take it down."
LONG = " ".join([TEXT, "Why?", "We walked along the beach until the sun went down."] * 6)


@pytest.fixture(scope="module")
def frontend() -> PhonemeFrontend:
    return PhonemeFrontend.load(ASSETS, MEL, max_frames=2048)


def reference(seconds: float = 4.5, text: str = TEXT) -> Reference:
    samples = np.zeros(int(seconds * MEL.sample_rate), np.float32)
    mel = np.zeros((len(samples) // MEL.hop + 1, MEL.n_mels), np.float32)
    return Reference(samples, mel, text, 1.0, samples.nbytes + mel.nbytes)


@pytest.mark.parametrize("seconds", [4.0, 4.5, 4.504])
@pytest.mark.parametrize("text", ["Hello.", TEXT, "😀", "7"])
def test_tokens_fall_two_frames_apart(frontend: PhonemeFrontend, text: str, seconds: float) -> None:
    """Average upsampling gives each token frames // tokens frames: any other count would shift every sound."""
    plan = frontend.plan(text, reference(seconds), speed=1.0, seconds=None)
    assert plan.frames // len(plan.tokens) == 2
    assert plan.frames % len(plan.tokens) <= 1
    assert plan.ref_frames == int(seconds * MEL.sample_rate) // MEL.hop


def test_the_reference_keeps_its_place(frontend: PhonemeFrontend) -> None:
    """Its tokens fill its own frames, whatever follows."""
    short = frontend.plan("Hello.", reference(), speed=1.0, seconds=None)
    long = frontend.plan(TEXT, reference(), speed=1.0, seconds=None)
    until = short.ref_frames // 2 - 2
    np.testing.assert_array_equal(short.tokens[:until], long.tokens[:until])


def test_the_same_text_takes_as_long_as_its_clip(frontend: PhonemeFrontend) -> None:
    """Up to the silence around a segment."""
    plan = frontend.plan(TEXT, reference(), speed=1.0, seconds=None)
    assert plan.frames - plan.ref_frames == pytest.approx(plan.ref_frames, abs=40)


def test_speed(frontend: PhonemeFrontend) -> None:
    slow, fast = (frontend.plan(TEXT, reference(), speed=speed, seconds=None) for speed in (0.8, 1.6))
    assert (slow.frames - slow.ref_frames) / (fast.frames - fast.ref_frames) == pytest.approx(2, rel=0.08)


@pytest.mark.parametrize("seconds", [1.0, 2.34, 6.0])
def test_seconds_are_kept_to_the_frame(frontend: PhonemeFrontend, seconds: float) -> None:
    plan = frontend.plan("Hello there.", reference(), speed=1.0, seconds=seconds)
    heard = (plan.frames - plan.ref_frames - 1) * MEL.hop / MEL.sample_rate
    assert heard == pytest.approx(seconds, abs=0.501 * MEL.hop / MEL.sample_rate)


def test_what_cannot_be_spoken_is_refused(frontend: PhonemeFrontend) -> None:
    with pytest.raises(TextError, match="the text is empty"):
        frontend.plan(" \n", reference(), speed=1.0, seconds=None)
    with pytest.raises(TextError, match=r"needs .* s or more, not 0\.1 s"):
        frontend.plan(TEXT, reference(), speed=1.0, seconds=0.1)
    with pytest.raises(TextError, match=r"too many for a clip of 0\.5 s"):
        frontend.plan("Hello.", reference(0.5), speed=1.0, seconds=None)
    with pytest.raises(TextError, match="at most 2048"):
        frontend.plan(LONG, reference(), speed=0.5, seconds=None)


@pytest.mark.parametrize("first_seconds", [None, 1.0])
@pytest.mark.parametrize("text", [LONG, "x" * 500, "Hi " * 300, TEXT, "Hello, λόγος ½ π! " * 30])
def test_split_keeps_the_text_and_fits_the_model(
    frontend: PhonemeFrontend, text: str, first_seconds: float | None
) -> None:
    segments = list(frontend.split(text, reference(), speed=1.0, first_seconds=first_seconds))
    assert "".join("".join(segments).split()) == "".join(text.split())
    for segment in segments:
        assert segment.strip()
        plan = frontend.plan(segment, reference(), speed=1.0, seconds=None)
        assert plan.frames <= 1.1 * LONGEST_FRAMES


def test_the_first_segment_is_short_and_the_next_ones_grow(frontend: PhonemeFrontend) -> None:
    segments = list(frontend.split(LONG, reference(), speed=1.0, first_seconds=1.0))
    whole = list(frontend.split(LONG, reference(), speed=1.0, first_seconds=None))
    first = frontend.plan(segments[0], reference(), speed=1.0, seconds=None)
    assert (first.frames - first.ref_frames) * MEL.hop / MEL.sample_rate < 3
    assert len(segments) > len(whole)


@pytest.mark.parametrize("text", [" \n ", "...", "😀 🙂", "、。"])
def test_a_text_without_anything_to_speak_has_no_segments(frontend: PhonemeFrontend, text: str) -> None:
    """Emoji alone once gave a third of a second of silence; now the server can say why there is no speech."""
    assert list(frontend.split(text, reference(), speed=1.0, first_seconds=None)) == []


def test_what_is_not_heard_makes_no_segment_of_its_own(frontend: PhonemeFrontend) -> None:
    """Emoji before a long clause once were a segment, and so a third of a second of silence."""
    segments = list(frontend.split(f"😀. {TEXT} {TEXT} 🙂.", reference(), speed=1.0, first_seconds=0.5))
    assert all(any(character.isalpha() for character in segment) for segment in segments)


def test_fast_speech_is_cut_by_the_tokens_that_a_segment_holds(frontend: PhonemeFrontend) -> None:
    """At four times the speed a sound is shorter than its token, and a segment was cut longer than the model is."""
    for segment in frontend.split("and so it goes " * 60, reference(), speed=4.0, first_seconds=None):
        assert frontend.plan(segment, reference(), speed=4.0, seconds=None).frames <= 1.1 * LONGEST_FRAMES


@pytest.mark.parametrize("text", ["你好，世界。", "Привет, мир! OK", "The word 好 is a greeting.", "안녕"])
def test_scripts_that_the_voice_cannot_speak_are_refused_by_name(frontend: PhonemeFrontend, text: str) -> None:
    """Chinese text with the English voice once succeeded, with its words left out."""
    silent = next(character for character in text if character.isalpha() and not character.isascii())
    with pytest.raises(TextError, match=f"speaks English and has no sounds for .*{silent}"):
        next(frontend.split(text, reference(), speed=1.0, first_seconds=None))


@pytest.mark.parametrize("text", ["Crème brûlée à la carte.", "Øre, łódź, straße.", "Hawaiʻi, ½ × π ≈ 1.57 ☕"])
def test_latin_letters_signs_and_emoji_stop_nothing(frontend: PhonemeFrontend, text: str) -> None:
    assert list(frontend.split(text, reference(), speed=1.0, first_seconds=None))


def test_words_are_planned_where_their_tokens_are(frontend: PhonemeFrontend) -> None:
    """Times are those of the tokens: each word's symbols, and nothing else, lie between its start and its end."""
    text = "Twenty-five % of it — is, well, the œuvre."
    plan = frontend.plan(text, reference(), speed=1.0, seconds=None)
    assert plan.words is not None
    assert [word.text for word in plan.words] == ["Twenty-five", "%", "of", "it", "is,", "well,", "the", "œuvre."]
    assert all(text[word.first : word.last] == word.text for word in plan.words)
    hop_s, tokens = 256 / 24_000, list(plan.tokens)
    spoken = [list(item.sounds) for item in said(text) if item.sounds[0] not in PAUSES]
    for word, sounds in zip(plan.words, [spoken[0] + spoken[1], *spoken[2:]], strict=True):
        first, last = ((round(t / hop_s) + plan.ref_frames) / FRAMES_A_TOKEN for t in (word.start, word.end))
        heard = [key for key, _ in itertools.groupby(tokens[round(first) : round(last)])]
        assert heard == [key for key, _ in itertools.groupby(frontend._vocab.ids(sounds))]
    assert plan.words[0].start > 0 and plan.words[-1].end < (plan.frames - plan.ref_frames) * hop_s
