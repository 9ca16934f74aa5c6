"""Mixes of voices: what is written, and what the reference is made of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from f5_tts_server.f5.audio import reference_samples
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.mixing import InvalidMix, mixed, parts_of
from f5_tts_server.voices.store import InvalidMixture, UnknownVoice, VoiceStore
from tests.clips import RATE, embedded_voices, file


def tone(seconds: float, hertz: float, level: float = 0.3) -> VoiceClip:
    """A clip that can be told from others in what is made of it."""
    t = np.arange(int(seconds * RATE)) / RATE
    return VoiceClip(file((level * np.sin(2 * np.pi * hertz * t)).astype(np.float32)), f"It has {hertz:g} hertz")


def shares(clip: VoiceClip, *tones: float) -> list[float]:
    """Which part of a mix has which tone, by the energy in their bins."""
    samples, rate = soundfile.read(io.BytesIO(clip.audio))
    assert rate == RATE
    power = np.square(np.abs(np.fft.rfft(samples)))
    bins = np.fft.rfftfreq(len(samples), 1 / rate)
    energy = np.array([power[np.abs(bins - hertz) < 20].sum() for hertz in tones])
    return [float(share) for share in energy / energy.sum()]


@pytest.mark.parametrize(
    ("mix", "parts"),
    [
        ("ada+ben", [("ada", 1), ("ben", 1)]),
        ("ada(2)+ben(1)", [("ada", 2), ("ben", 1)]),
        (" Ada Lovelace ( 0.5 ) + ben", [("Ada Lovelace", 0.5), ("ben", 1)]),
        ("mine (old)(2)+ben", [("mine (old)", 2), ("ben", 1)]),
    ],
)
def test_the_parts_of_a_mix(mix: str, parts: list[tuple[str, float]]) -> None:
    assert parts_of(mix) == parts


@pytest.mark.parametrize("mix", ["ada+", "+", "ada(0)+ben", "(2)+ben", "a+b+c+d+e", "ada()+" * 1000])
def test_what_is_no_mix_is_told(mix: str) -> None:
    with pytest.raises(InvalidMix):
        parts_of(mix)


@pytest.mark.parametrize(
    ("seconds", "weights", "text"),
    [
        ((2.0, 2.0), (1.0, 1.0), "It has 300 hertz. It has 900 hertz."),
        ((2.0, 2.0), (2.0, 1.0), "It has 300 hertz. It has 900 hertz. It has 300 hertz."),
        ((2.0, 2.0), (0.5, 1.5), "It has 300 hertz. It has 900 hertz. It has 900 hertz. It has 900 hertz."),
        ((4.0, 2.0), (1.0, 1.0), "It has 300 hertz. It has 900 hertz. It has 900 hertz."),
        ((5.0, 6.0), (1.0, 1.0), "It has 300 hertz. It has 900 hertz."),
    ],
)
def test_each_voice_has_its_share_of_the_time_and_its_words(
    seconds: tuple[float, float], weights: tuple[float, float], text: str
) -> None:
    clip = mixed((tone(seconds[0], 300), tone(seconds[1], 900)), weights)
    assert clip.text == text
    wanted = weights[0] / sum(weights)
    assert shares(clip, 300, 900) == pytest.approx([wanted, 1 - wanted], abs=0.07)
    samples, _ = reference_samples(clip.audio, RATE)
    assert len(samples) <= 12.1 * RATE and samples[: RATE // 2].any() and samples[-RATE // 2 :].any()


def test_a_quiet_voice_has_its_share_too() -> None:
    """Clips are made equally loud, as the model hears each of them alone, and the mix is as loud as they were on average."""
    clip = mixed((tone(2, 300, level=0.02), tone(2, 900, level=0.12)), (1.0, 1.0))
    assert shares(clip, 300, 900) == pytest.approx([0.5, 0.5], abs=0.02)
    samples, _ = soundfile.read(io.BytesIO(clip.audio))
    assert 0.02 < np.abs(samples).max() < 0.12


@pytest.mark.parametrize(("seconds", "weights"), [((8.0, 8.0), (1.0, 1.0)), ((2.0, 2.0), (20.0, 1.0))])
def test_a_mix_that_cannot_be_heard_whole_is_refused(
    seconds: tuple[float, float], weights: tuple[float, float]
) -> None:
    with pytest.raises(InvalidMix, match="12 s"):
        mixed((tone(seconds[0], 300), tone(seconds[1], 900)), weights)


def test_a_store_mixes_what_it_has(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded_voices(tmp_path / "embedded"))
    clip = store.clip("ada(2)+ben")
    assert clip is store.clip("ada(2)+ben(1)"), "a mix is made once"
    assert clip not in (store.clip("ada"), store.clip("ada+ben"))
    with pytest.raises(UnknownVoice, match="'nobody'"):
        store.clip("ada+nobody")
    with pytest.raises(InvalidMixture, match=r"'ada\+'"):
        store.clip("ada+")
    mine = store.add("ada+ben", tone(2, 300))
    assert store.clip("Ada+Ben") is store.get(mine.id).clip, "a voice's own name comes first"
    assert not any(store.lexicons(store.clip(f"{mine.id}+ben")))
    store.set_words(mine.id, {"tomato": "potato"})
    assert any(store.lexicons(store.clip(f"{mine.id}+ben"))), "the words of its voices hold in a mix"
