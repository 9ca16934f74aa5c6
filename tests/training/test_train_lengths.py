"""The length model's training step, with a truth that needs no teacher."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from f5_tts_server.embedded.lengths import features, rate_feature
from f5_tts_server.embedded.phonemes import phonemes
from training.fit import fresh_state
from training.train_lengths import Examples, Parameters, batches, initial, predict, update


def truth_by_formula() -> Examples:
    """Every symbol lasts as long as the words a minute say."""
    ids, places, targets = [], [], []
    for wpm in (120.0, 160.0, 200.0):
        neighbours, place = features(
            phonemes("The old clock on the wall has stopped, but nobody wants to take it down.")
        )
        ids.append(neighbours)
        places.append(np.column_stack([place, np.full(len(place), rate_feature(wpm), np.float32)]))
        targets.append(np.full(len(place), np.log(1200 / wpm), np.float32))
    return np.concatenate(ids), np.concatenate(places), np.concatenate(targets)


def test_it_learns_what_it_is_told() -> None:
    truth = truth_by_formula()
    state = fresh_state(initial(truth[1].shape[1], 0))

    def error(parameters: Parameters) -> float:
        guess = predict(parameters, jnp.asarray(truth[0]), jnp.asarray(truth[1]))
        return float(np.abs(np.asarray(guess) - truth[2]).mean())

    before = error(state["params"])
    for _, batch in zip(range(300), batches(truth, 0), strict=False):
        state, values = update(state, 4e-3, 0.0, batch)
    assert float(values["loss"]) < 0.01
    assert error(state["average"]) < before / 3
