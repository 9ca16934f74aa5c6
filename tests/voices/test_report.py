"""What an uploaded clip is found to be, against clips whose properties are known by construction."""

import io

import numpy as np
import pytest
import soundfile

from f5_tts_server.voices.report import STORED_RATE, UnusableClip, prepare, report
from tests.clips import RATE, TEXT, file, silence, speech


def test_a_good_clip_is_measured_and_gets_no_remarks() -> None:
    clip = prepare(file(np.concatenate([silence(0.4), speech(4), silence(0.6)])))
    found = report(clip, TEXT)
    assert found.duration == pytest.approx(5.0, abs=0.001)
    assert found.leading_silence == pytest.approx(0.4, abs=0.03)
    assert found.trailing_silence == pytest.approx(0.6, abs=0.03)
    assert found.speech_duration == pytest.approx(4.0, abs=0.1)
    assert found.characters_per_second == pytest.approx(48 / 4, abs=0.5)
    assert found.clipped_fraction == 0
    assert found.remarks == ()
    assert found.actions and "silence" in found.actions[0]


def test_the_stored_file_is_mono_at_the_models_rate() -> None:
    stereo = np.stack([speech(4, rate=44_100), speech(4, rate=44_100)], axis=1)
    clip = prepare(file(stereo, rate=44_100))
    samples, rate = soundfile.read(io.BytesIO(clip.wav()))
    assert (rate, samples.ndim) == (STORED_RATE, 1)
    assert "resampled from 44100 to 24000 Hz" in clip.actions


def test_preparing_a_stored_clip_again_changes_nothing_to_hear() -> None:
    once = prepare(file(speech(4)))
    twice = prepare(once.wav())
    assert abs(len(once.samples) - len(twice.samples)) <= RATE // 50


@pytest.mark.parametrize("noise_db", [-60.0, -40.0, -30.0])
def test_the_noise_floor_is_the_noise(noise_db: float) -> None:
    samples = np.concatenate([speech(2), silence(1), speech(2)])
    samples += np.random.default_rng(1).normal(size=len(samples)).astype(np.float32) * 10 ** (noise_db / 20)
    assert prepare(file(samples)).noise_floor_db == pytest.approx(noise_db, abs=1.5)


def test_a_noisy_clip_is_remarked_on() -> None:
    found = report(prepare(file(speech(4, noise=0.05))), TEXT)
    assert any("background noise" in remark for remark in found.remarks)


def test_clipping_is_counted() -> None:
    samples = speech(4)
    samples[1000:1400] = 1.0
    found = report(prepare(file(samples)), TEXT)
    assert found.clipped_fraction == pytest.approx(400 / len(samples), rel=0.05)
    assert any("clipped" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (b"not a sound", "sound file"),
        (file(silence(3)), "silent"),
        (file(speech(0.7)), "at least 1 s"),
        (file(speech(14)), "at most 12 s are used"),
        (file(np.clip(speech(4) * 40, -1, 1)), "full scale"),
        (file(speech(70)), "longer than the 60 s"),
    ],
)
def test_an_unusable_clip_is_refused_with_the_reason(audio: bytes, reason: str) -> None:
    with pytest.raises(UnusableClip, match=reason):
        prepare(audio)


def test_long_speech_is_cut_when_its_transcript_comes_later() -> None:
    clip = prepare(file(speech(14)), max_speech_seconds=None)
    assert clip.speech_duration <= 12.1


@pytest.mark.parametrize(("text", "fits"), [("Hi.", False), (TEXT, True), (TEXT * 12, False), ("...", False)])
def test_a_transcript_must_be_possible(text: str, fits: bool) -> None:
    clip = prepare(file(speech(4)))
    if fits:
        report(clip, text)
    else:
        with pytest.raises(UnusableClip, match="transcript"):
            report(clip, text)


def test_ideographs_have_their_own_pace() -> None:
    found = report(prepare(file(speech(4))), "今天天气很好我们去公园散步吧好不好")
    assert found.plausible_characters_per_second == (2.0, 9.0)
    assert found.remarks == ()
