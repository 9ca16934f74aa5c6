"""The evaluation's instruments on cases whose answer is known. Those that need weights run where these are installed."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from training.error_rates import edits, error_rate
from training.legacy_torch import read_legacy


@pytest.mark.parametrize(("said", "heard", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0)])
def test_edits(said: str, heard: str, distance: int) -> None:
    assert edits(said, heard) == distance


def test_error_rates_pool_all_sentences() -> None:
    pairs = [(["a", "b", "c"], ["a", "c"]), (["d"], ["d", "e"])]
    assert error_rate(pairs) == 2 / 4


def test_a_legacy_file_that_names_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    """A pickle can run what it names: here it would have called `print`."""
    path = tmp_path / "bad.pt"
    with path.open("wb") as file:
        values: tuple[object, ...] = (1, 1001, {}, OrderedDict(model_state=print), [])
        for value in values:
            pickle.dump(value, file, protocol=2)
    with pytest.raises(pickle.UnpicklingError, match="print"):
        read_legacy(path)


def test_a_legacy_file_gives_its_tensors(tmp_path: Path) -> None:
    """Written as torch before 1.6 did, by hand: the pickle names a storage, whose numbers follow after all pickles."""
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    storage = b"(Vstorage\nctorch\nFloatStorage\nVkey\nVcpu\nI4\nNtQ"
    tensor = rebuild + b"(" + storage + b"I0\n(I2\nI2\nt(I1\nI2\ntI00\nccollections\nOrderedDict\n)RtR"
    content = b"(dVmodel_state\n(dVw\n" + tensor + b"ss."
    path = tmp_path / "good.pt"
    with path.open("wb") as file:
        start: tuple[object, ...] = (1, 1001, {})
        for value in start:
            pickle.dump(value, file, protocol=2)
        file.write(content)
        pickle.dump(["key"], file, protocol=2)
        file.write(struct.pack("<q4f", 4, 1, 2, 3, 4))
    np.testing.assert_array_equal(read_legacy(path)["w"], [[1, 3], [2, 4]])
