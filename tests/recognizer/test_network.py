"""The recognizer's network in NumPy against the one that is trained, and its bounds."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from f5_tts_server.recognizer import network
from f5_tts_server.recognizer.network import CLASSES, Recognizer, recognizer
from training.train_recognizer import initial, predict


def test_numpy_says_what_training_says() -> None:
    params = initial(3)
    frames = np.random.default_rng(3).normal(-1.5, 1, (75, 100)).astype(np.float32)
    trained = jax.nn.log_softmax(predict(params, frames[None]))[0]
    here = Recognizer({name: np.asarray(value) for name, value in params.items()}).log_posteriors(frames)
    np.testing.assert_allclose(here, trained, atol=2e-5)


def test_long_audio_is_heard_in_blocks_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(4).normal(-1.5, 2, (500, 100)).astype(np.float32)
    whole = recognizer().log_posteriors(frames)
    monkeypatch.setattr(network, "_BLOCK", 128)
    np.testing.assert_allclose(recognizer().log_posteriors(frames), whole, atol=1e-4)


def test_posteriors_are_those_of_every_frame() -> None:
    said = recognizer().listen(np.random.default_rng(5).normal(0, 0.1, 24_000).astype(np.float32))
    assert said.shape == (24_000 // 256 + 1, len(CLASSES))
    np.testing.assert_allclose(np.exp(said).sum(axis=1), 1, atol=1e-4)
    assert recognizer().listen(np.zeros(3, np.float32)).shape[1] == len(CLASSES)


def test_other_tensors_are_refused() -> None:
    tensors = load_file("f5_tts_server/recognizer/assets/recognizer.safetensors")
    tensors.pop("out")
    with pytest.raises(ValueError, match="tensors"):
        Recognizer({name: tensor.astype(np.float32) for name, tensor in tensors.items()})


def test_the_weights_are_small() -> None:
    total = sum(
        tensor.nbytes for tensor in load_file("f5_tts_server/recognizer/assets/recognizer.safetensors").values()
    )
    assert total <= 8 * 2**20
