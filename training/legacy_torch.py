"""Reads the file format that torch wrote before version 1.6, without torch and without running what the file names.

Pickles in a row (a magic number, the protocol, the machine, the objects, the storages' keys) and then each storage:
its length and its raw numbers. The product's own loader reads the newer zip format only; Resemblyzer's weights are in
this one.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Tensor(NamedTuple):
    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Admits float tensors and plain containers only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if (module, name) == ("torch", "FloatStorage"):
            return "float32"
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is no tensor of float32")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype != "float32":
            raise pickle.UnpicklingError(f"the file has a {kind} of {dtype}, which is no storage of float32")
        return key


def read_legacy(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors under `model_state`, by name. Raises UnpicklingError for a file that asks for anything else."""
    with path.open("rb") as file:
        *_, content, keys = (_Unpickler(file).load() for _ in range(5))
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            storages[key] = np.frombuffer(file.read(4 * count), np.float32)
    tensors = {}
    for name, value in content["model_state"].items():
        if isinstance(value, _Tensor):
            flat = storages[value.storage][value.offset :]
            tensors[name] = np.lib.stride_tricks.as_strided(flat, value.shape, [4 * s for s in value.strides]).copy()
    return tensors
