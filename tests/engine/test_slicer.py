"""Pieces for sending against the samples they are cut from."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_tts_server.engine.slicer import Slicer


@settings(max_examples=50, deadline=None)
@given(blocks=st.lists(st.integers(0, 50), min_size=1, max_size=20), size=st.integers(1, 30))
def test_pieces_depend_on_the_samples_alone(blocks: list[int], size: int) -> None:
    slicer = Slicer(size)
    samples = np.arange(sum(blocks), dtype=np.float32)
    pieces, start = [], 0
    for block in blocks:
        pieces += slicer.push(samples[start : start + block])
        start += block
    rest = slicer.rest()
    assert [len(p) for p in pieces] == [size] * (max(len(samples) - 1, 0) // size)
    assert bool(len(rest)) == bool(len(samples))
    np.testing.assert_array_equal(np.concatenate([*pieces, rest]), samples)
