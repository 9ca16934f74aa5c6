"""The second ear's pure parts on hand cases, its model's padding, and CTC's loss against all paths."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from f5_tts_server.embedded.phonemes import BOUNDARY, SYMBOLS, phonemes
from training.corpus import NAMED_VOICES, UNSEEN_VARIANTS
from training.ear_model import BLANK, FRAMES_A_STEP, SOUNDS, EarModel, classes, collapse, sounds
from training.ears import VoicePicker, begins_with, edge_words, error_rate
from training.train_ear import VARIANTS, loss_of


def test_stress_and_pauses_are_not_heard() -> None:
    assert sounds(["h", "ə", "l", "ˈO", ",", "w", "ˌɝ", "l", "d", BOUNDARY, "ɑɹ", "."]) == [
        *("h", "ə", "l", "O", "w", "ɝ", "l", "d", "ɑɹ"),
    ]
    assert classes(["ˈɑ"]) == classes(["ˌɑ"]) == classes(["ɑ"]) != classes(["ɔ"])


def test_every_symbol_of_the_front_end_has_a_class() -> None:
    spoken = [SOUNDS[label - 1] for label in classes(SYMBOLS)]
    assert set(spoken) == set(SOUNDS)
    assert BLANK not in classes(phonemes("Thirty-three measures of yeast, for joy!"))


@pytest.mark.parametrize(
    ("best", "heard"),
    [
        ([], ""),
        ([0, 0, 0], ""),
        ([1, 1, 1], "b"),
        ([1, 0, 1], "bb"),
        ([0, 1, 1, 2, 0, 2, 2, 0], "bdd"),
    ],
)
def test_collapse(best: list[int], heard: str) -> None:
    assert collapse(best) == list(heard)


def test_phoneme_error_rate_pools_all_sentences() -> None:
    # One substituted and one lost of four, one added to one.
    pairs = [(["k", "æ", "t", "s"], ["k", "ɛ", "t"]), (["O"], ["O", "n"])]
    assert error_rate(pairs) == 3 / 5


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        ("kæts", True),
        ("bæts", True),  # one of three is another
        ("ætsɪ", True),  # one of three is gone
        ("", False),
        ("sɪt", False),
        ("bɪkæt", False),  # there, but not at the beginning
    ],
)
def test_a_first_word_is_kept(heard: str, kept: bool) -> None:
    assert begins_with(list(heard), list("kæt")) == kept


def test_first_and_last_word() -> None:
    assert edge_words(phonemes("Look, a cat!")) == (["l", "ʊ", "k"], ["k", "æ", "t"])
    assert edge_words(phonemes("Yes.")) == (["j", "ɛ", "s"], ["j", "ɛ", "s"])


def test_padding_changes_nothing() -> None:
    model = EarModel(rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    mel = rng.normal(-1, 2, (1, 20, 100)).astype(np.float32)
    padded = np.concatenate([mel, rng.normal(0, 9, (1, 12, 100)).astype(np.float32)], axis=1)
    frames = jnp.array([20], jnp.int32)
    bare = model(jnp.asarray(mel), frames)
    steps = 20 // FRAMES_A_STEP
    np.testing.assert_allclose(model(jnp.asarray(padded), frames)[:, :steps], bare, atol=1e-5)


def test_loss_is_that_of_all_paths() -> None:
    """CTC's definition: the probability of a label sequence is the sum over all paths that collapse to it."""
    model = EarModel(rngs=nnx.Rngs(1))
    mel = np.random.default_rng(1).normal(-1, 2, (1, 10, 100)).astype(np.float32)
    labels = jnp.array([[3, 5]], jnp.int32)
    probabilities = np.asarray(jax.nn.softmax(model(jnp.asarray(mel), jnp.array([8], jnp.int32))))[0, :4]
    total = sum(
        np.prod(probabilities[np.arange(4), path])
        for path in itertools.product((BLANK, 3, 5), repeat=4)
        if collapse(path) == [SOUNDS[2], SOUNDS[4]]
    )
    batch = {"mel": jnp.asarray(mel), "frames": jnp.array([8], jnp.int32), "labels": labels}
    assert float(loss_of(model, batch)) == pytest.approx(-np.log(total) / 2, rel=1e-4)


def test_the_ear_has_never_heard_the_voices_that_are_evaluated() -> None:
    assert not set(VARIANTS) & ({voice.variant for voice in NAMED_VOICES.values()} | set(UNSEEN_VARIANTS))


def test_a_voice_is_picked_by_pitch_and_by_timbre() -> None:
    rng, rate = np.random.default_rng(5), 24_000

    def voice(f0: float, tilt: float) -> np.ndarray:
        t = np.arange(rate) / rate
        f0 *= rng.uniform(0.97, 1.03)
        tone = np.sum([np.sin(2 * np.pi * f0 * k * t) * k**-tilt for k in range(1, 30)], axis=0) * 0.1
        return (tone + rng.normal(0, 0.01, rate)).astype(np.float32)

    kinds = {"low": (100, 1.0), "high": (200, 1.0), "dull": (100, 2.0)}
    picker = VoicePicker({name: [voice(*kind) for _ in range(4)] for name, kind in kinds.items()}, rate)
    assert [picker.pick(voice(*kind)) for kind in kinds.values()] == list(kinds)
