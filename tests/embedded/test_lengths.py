"""Sharing tokens among phonemes, and the shipped length model against the invariants of speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.lengths import FASTEST, SLOWEST, LengthModel, allocate, features
from f5_tts_server.embedded.phonemes import BOUNDARY, phonemes

TEXT = "The old clock on the wall has stopped, but nobody wants to take it down."


@pytest.fixture(scope="module")
def model() -> LengthModel:
    return LengthModel.load(ASSETS / "lengths.safetensors")


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=40), st.integers(0, 200))
@settings(max_examples=300, deadline=None)
def test_allocate_gives_each_its_share(lengths: list[float], spare: int) -> None:
    tokens = len(lengths) + spare
    counts = allocate(np.array(lengths), tokens)
    assert counts.sum() == tokens
    assert counts.min() >= 1


def test_allocate_rounds_boundaries_where_they_fall() -> None:
    """Rounding each length by itself would give 2 + 2 + 2 + 2 of 2.5 each, and drift."""
    assert allocate(np.array([2.5, 2.5, 2.5, 2.5]), 10).tolist() == [2, 3, 3, 2]
    assert np.cumsum(allocate(np.array([1.0, 7.0, 4.0]), 24)).tolist() == [2, 16, 24]


def test_allocate_refuses_fewer_tokens_than_phonemes() -> None:
    with pytest.raises(ValueError, match="3 tokens cannot hold 4 phonemes"):
        allocate(np.ones(4), 3)


def test_features_leave_boundaries_out_and_mark_word_edges() -> None:
    symbols = phonemes("A cat.")  # ə | k ˈæ t .
    ids, place = features(symbols)
    assert len(ids) == len(symbols) - symbols.count(BOUNDARY) == 5
    assert place[:, 7].tolist() == [1, 1, 0, 0, 1]  # starts a word
    assert place[:, 8].tolist() == [1, 0, 0, 1, 1]  # ends one


def test_faster_speech_is_shorter(model: LengthModel) -> None:
    totals = [float(model.frames(phonemes(TEXT), rate).sum()) for rate in np.linspace(SLOWEST, FASTEST, 8)]
    assert all(slow > fast for slow, fast in zip(totals, totals[1:], strict=False))


@pytest.mark.parametrize("rate", [125.0, 160.0, 220.0])
def test_the_rate_is_found_again(model: LengthModel, rate: float) -> None:
    frames = round(float(model.frames(phonemes(TEXT), rate).sum()))
    found, scale = model.fit_rate(phonemes(TEXT), frames)
    assert found == pytest.approx(rate, rel=0.02)
    assert scale == pytest.approx(1, abs=0.01)


def test_beyond_the_trained_rates_lengths_are_scaled(model: LengthModel) -> None:
    frames = 3 * round(float(model.frames(phonemes(TEXT), SLOWEST).sum()))
    rate, scale = model.fit_rate(phonemes(TEXT), frames)
    assert rate == pytest.approx(SLOWEST, rel=0.01)
    assert scale == pytest.approx(3, rel=0.02)


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    tensors = load_file(ASSETS / "lengths.safetensors")
    save_file({**tensors, "place": tensors["place"][1:]}, tmp_path / "narrow.safetensors")
    with pytest.raises(ValueError, match="the front end has 109"):
        LengthModel.load(tmp_path / "narrow.safetensors")
    del tensors["bias"]
    save_file(tensors, tmp_path / "partial.safetensors")
    with pytest.raises(ValueError, match="a length model has"):
        LengthModel.load(tmp_path / "partial.safetensors")
