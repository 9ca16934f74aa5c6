"""The vocoder with a source: closed forms, blocks against the whole, and the voice that once came out at the frame rate."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.source_vocos import (
    HIGHEST_HARMONIC,
    PITCH_BINS,
    SourceVocos,
    bin_frequencies,
    mel_gain,
    noise_spectra,
    pulse_spectra,
    with_pitch,
)
from f5_tts_server.embedded.weights import load_source_vocos, save_source_vocos
from f5_tts_server.f5.audio import mel, mel_filters
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.vocos import VocosConfig, hann_window
from f5_tts_server.models import load_model
from tests.f5.vocoder_window import block_window

CONFIG = VocosConfig(dim=24, intermediate_dim=40, num_layers=2)
RATE, HOP, FFT = CONFIG.sample_rate, CONFIG.hop, CONFIG.n_fft
decode = jax.jit(SourceVocos.decode)
decode_block = jax.jit(SourceVocos.decode_block)
open_block = jax.jit(SourceVocos.open_block)
next_block = jax.jit(SourceVocos.next_block)


@pytest.fixture(scope="module")
def vocoder() -> SourceVocos:
    return SourceVocos(CONFIG, rngs=nnx.Rngs(0))


def pitched(hertz: float, frames: int, seed: int = 0) -> NDArray[np.float32]:
    """A random log-mel with a steady pitch: [1, frames, 104]."""
    noise = np.random.default_rng(seed).normal(-3, 1, (frames, 100)).astype(np.float32)
    track = np.full(frames, hertz, np.float32)
    return with_pitch(noise, track, np.ones(frames, bool), CONFIG)[None]


@pytest.mark.parametrize("hertz", [57.0, 93.75, 180.3, 400.0])
def test_pulses_are_a_sum_of_cosines(hertz: float) -> None:
    clip = pitched(hertz, 6)[..., -2:]
    spectra = np.asarray(jax.jit(pulse_spectra, static_argnums=1)(clip, CONFIG))[0]
    harmonics = int(HIGHEST_HARMONIC // hertz)
    for frame in range(6):
        # Frame t's centre is t hops in, where t + 1/2 hops' worth of cycles have passed.
        seconds = (np.arange(-FFT // 2, FFT // 2) + (frame + 0.5) * HOP) / RATE
        wave = sum(np.cos(2 * np.pi * k * hertz * seconds) for k in range(1, harmonics + 1)) * np.sqrt(2 / harmonics)
        truth = np.fft.rfft(wave * hann_window(FFT))
        assert np.abs(spectra[frame] - truth).max() < 5e-3 * np.abs(truth).max()


def test_without_a_pitch_there_are_no_pulses() -> None:
    clip = with_pitch(np.zeros((5, 100), np.float32), np.full(5, 120.0, np.float32), np.zeros(5, bool), CONFIG)
    assert not np.asarray(pulse_spectra(jnp.asarray(clip[None, :, -2:]), CONFIG)).any()


def test_noise_is_white_and_belongs_to_its_frame() -> None:
    spectra = np.asarray(noise_spectra(jnp.arange(-3, 60)[None], CONFIG))[0]
    again = np.asarray(noise_spectra(jnp.arange(10, 20)[None], CONFIG))[0]
    np.testing.assert_allclose(again, spectra[13:23], atol=1e-4)
    power = np.square(np.abs(spectra)).mean(axis=0)[4:-4] / np.square(hann_window(FFT)).sum()
    assert abs(power.mean() - 1) < 0.05
    thirds = [part.mean() for part in np.array_split(power, 3)]
    assert max(thirds) / min(thirds) < 1.15


@pytest.mark.parametrize("block", [1, 7, 16, 64])
def test_blocks_of_any_size_equal_the_whole(vocoder: SourceVocos, block: int) -> None:
    clip = pitched(83.0, 41)
    whole = np.asarray(decode(vocoder, clip))[0]
    assert len(whole) == 40 * HOP
    blocks = []
    for start in range(0, 41, block):
        window, first = block_window(clip, start, block, vocoder)
        window[..., 100:] = np.where(window[..., 100:] == 9, 0.5, window[..., 100:])  # rubbish of a pitch's size
        blocks.append(np.asarray(decode_block(vocoder, window, np.int32(first), np.int32(41)))[0])
    made = np.concatenate(blocks)[: len(whole)]
    assert np.abs(made - whole).max() < 1e-5 * np.abs(whole).max()


def test_a_block_goes_on_from_the_one_before(vocoder: SourceVocos) -> None:
    """With the pitch of its own frames, which lie behind those that are read."""
    clip, block = pitched(83.0, 41), 16
    window, first = block_window(clip, 0, block, vocoder)
    samples, carry = open_block(vocoder, window, np.int32(first), np.int32(41))
    made = [samples]
    for start in range(block, 41, block):
        first = start + vocoder.context_right
        ahead = block_window(clip, start, block, vocoder)[0][:, vocoder.context_left + vocoder.context_right :]
        samples, carry = next_block(vocoder, carry, ahead, np.int32(first), np.int32(41))
        made.append(samples)
    whole = np.asarray(decode(vocoder, clip))[0]
    assert np.abs(np.concatenate(made, axis=1)[0, : len(whole)] - whole).max() < 1e-5 * np.abs(whole).max()


def test_a_filter_of_one_gives_back_the_pulses(vocoder: SourceVocos) -> None:
    """At a steady pitch neighbouring frames hold the same train, so what overlaps must add up to it; asked for is its mel."""
    graph, parameters = nnx.split(vocoder)
    flat = nnx.merge(graph, jax.tree.map(jnp.copy, parameters))
    flat.out.w[...] = jnp.zeros_like(flat.out.w[...])
    gains = np.zeros((5, FFT // 2 + 1), np.float32)
    gains[2:4] = -30  # of the noise, and of what is added
    flat.out.b[...] = jnp.concatenate([gains.reshape(-1), np.zeros(100, np.float32)])
    hertz, frames = 71.0, 30
    seconds = (np.arange((frames - 1) * HOP) + 0.5 * HOP) / RATE
    harmonics = int(HIGHEST_HARMONIC // hertz)
    truth = sum(np.cos(2 * np.pi * k * hertz * seconds) for k in range(1, harmonics + 1)) * np.sqrt(2 / harmonics)
    asked = mel(truth.astype(np.float32), MelConfig())
    clip = with_pitch(asked, np.full(frames, hertz, np.float32), np.ones(frames, bool), CONFIG)
    samples = np.asarray(decode(flat, clip[None]))[0]
    inside = slice(FFT, -FFT)
    assert np.abs(samples[inside] - truth[inside]).max() < 1e-2 * np.abs(truth).max()


def test_a_spectrum_is_brought_to_the_mel_that_is_asked_for() -> None:
    """Off by a tilt of 30 dB and by 8 dB everywhere, its log-mel comes within 0.1 of what is asked for."""
    rng = np.random.default_rng(1)
    spectrum = rng.normal(size=(1, 6, FFT // 2 + 1)) + 1j * rng.normal(size=(1, 6, FFT // 2 + 1))
    filters = mel_filters(MelConfig())
    asked = np.log(np.abs(spectrum * np.exp(np.linspace(0.9, -2.5, FFT // 2 + 1))) @ filters).astype(np.float32)
    gain = np.asarray(jax.jit(mel_gain, static_argnums=2)(spectrum.astype(np.complex64), asked, CONFIG))
    before, after = (np.abs(np.log(np.abs(x) @ filters) - asked) for x in (spectrum, spectrum * gain))
    assert before.mean() > 0.5
    assert after.mean() < 0.1


def test_the_tracker_reads_its_bins(vocoder: SourceVocos) -> None:
    """With weights that always vote for one bin, its frequency comes out."""
    tracker = vocoder.pitch
    graph, parameters = nnx.split(tracker)
    sure = nnx.merge(graph, jax.tree.map(jnp.copy, parameters))
    sure.out.w[...] = jnp.zeros_like(sure.out.w[...])
    votes = np.full(PITCH_BINS + 1, -20.0, np.float32)
    votes[[60, PITCH_BINS]] = 20.0
    sure.out.b[...] = jnp.asarray(votes)
    hertz, voiced = sure.frequencies(jnp.zeros((1, 9, 100)), jnp.array([9]))
    np.testing.assert_allclose(hertz, bin_frequencies()[60], rtol=1e-5)
    assert np.asarray(voiced).all()


def test_weights_come_back_as_they_were_saved(vocoder: SourceVocos, tmp_path: Path) -> None:
    save_source_vocos(tmp_path / "config.yaml", tmp_path / "model.safetensors", vocoder)
    again = load_source_vocos(tmp_path / "config.yaml", tmp_path / "model.safetensors")
    assert isinstance(again, SourceVocos)
    clip = pitched(110.0, 20)
    np.testing.assert_allclose(decode(again, clip), decode(vocoder, clip), atol=1e-6)
    hertz, _ = again.pitch.frequencies(jnp.asarray(clip[..., :100]), jnp.array([20]))
    truth, _ = vocoder.pitch.frequencies(jnp.asarray(clip[..., :100]), jnp.array([20]))
    np.testing.assert_allclose(hertz, truth, rtol=1e-5)


@pytest.mark.parametrize("hertz", [66.0, 75.0, 84.0, 110.0, 190.0])
def test_a_voice_below_the_frame_rate_keeps_its_pitch(hertz: float) -> None:
    """A plain Vocos gave every voice below 94 Hz, the rate of its frames, that pitch: ben's 82 Hz came out at 103.

    The sound is a buzz through three formants, as a synthesiser of vowels makes it.
    """
    model = load_model("embedded")
    seconds = np.arange(2 * RATE) / RATE
    vowel = np.zeros(len(seconds))
    for k in range(1, int(8000 // hertz)):
        frequency = k * hertz
        gain = sum(1 / (1 + ((frequency - f) / w) ** 2) for f, w in ((600, 90), (1200, 110), (2500, 150)))
        vowel += gain * np.cos(2 * np.pi * k * hertz * seconds)
    vowel *= 0.1 / np.sqrt(np.mean(np.square(vowel)))
    vowel += np.random.default_rng(0).normal(0, 3e-4, len(vowel))
    samples = model.decode(mel(vowel.astype(np.float32), MelConfig()))
    middle = samples[RATE // 2 : RATE // 2 + 16384].astype(np.float64)
    spectrum = np.fft.rfft(middle * np.hanning(len(middle)), 4 * len(middle))
    correlation = np.fft.irfft(np.square(np.abs(spectrum)))
    lags = np.arange(int(RATE / 420), int(RATE / 50))
    strength = correlation[lags] / correlation[0]
    best = lags[np.argmax(strength > 0.9 * strength.max()) :][:40]  # the first high peak: not one of its multiples
    period = best[np.argmax(correlation[best])]
    assert abs(RATE / period / hertz - 1) < 0.04
