"""Opens checkpoint files and hands out their tensors as NumPy arrays, without torch and without running anything.

Two formats: `.safetensors`, and the zip files that `torch.save` writes (`.pt`, `.bin`), whose pickle is read by an
unpickler that admits tensors, plain containers, numbers and strings and refuses any other name. The format is told
from the content, not from the name.

Opening reads the file's directory only. Each tensor is read when asked for, straight from its place in the file, so
that loading a model never holds the file in memory next to the model.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

MAX_HEADER_BYTES = 64 << 20  # of a safetensors header or a torch pickle; a 337M-parameter training checkpoint has 1 MB
MAX_DIMENSIONS = 8

# Where a checkpoint keeps the weights: the averaged ones first, as the official loader chooses; BigVGAN's are the last.
STATE_DICT_WRAPPERS = ("ema_model_state_dict", "model_state_dict", "generator")


class CheckpointError(ValueError):
    """A file that cannot be loaded. The message names the file and says what is wrong with it."""


class StoredTensor(NamedTuple):
    """Where a tensor lies: `offset` in bytes from the file's start, `strides` in elements.

    A tuple, so that a pickle cannot change one after it has been checked.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def extent(self) -> int:
        """Bytes from the first element to behind the last one; a view's own elements need not fill them."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (last + 1) * self.dtype.itemsize


class Checkpoint:
    """An open checkpoint: `tensors` by name, `read` to get one. Made by `open_checkpoint`, which owns the file."""

    def __init__(self, path: Path, file: io.BufferedReader, tensors: Mapping[str, StoredTensor]) -> None:
        self.path = path
        self.tensors = tensors
        self._file = file

    def read(self, name: str) -> np.ndarray:
        """Reads one tensor in its stored dtype and shape. The array is the caller's; it may be a strided view.

        Raises KeyError for a name that is not in `tensors`, CheckpointError when the file ends too early.
        """
        tensor = self.tensors[name]
        buffer = np.empty(tensor.extent // tensor.dtype.itemsize, tensor.dtype)
        self._file.seek(tensor.offset)
        if self._file.readinto(buffer.view(np.uint8).data) != tensor.extent:
            raise CheckpointError(f"{self.path} ended while {name} was being read; was it replaced meanwhile?")
        strides = tuple(stride * tensor.dtype.itemsize for stride in tensor.strides)
        return np.lib.stride_tricks.as_strided(buffer, tensor.shape, strides)


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Opens a `.safetensors`, `.pt` or `.bin` checkpoint for the length of a `with` block.

    Of a training checkpoint the averaged weights (`ema_model_state_dict`) are taken, else `model_state_dict`.
    Raises CheckpointError for a file that is cut short, damaged, of another format, or that asks for code to be run;
    OSError where there is no such file.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise CheckpointError(
                f"{path} is a Git LFS pointer of {size} bytes, not the weights; fetch the file itself"
            )
        if start.startswith(b"PK\x03\x04"):
            yield Checkpoint(path, file, _torch_tensors(path, file))
        elif start.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):
            raise CheckpointError(
                f"{path} is in torch's format from before version 1.6; save it again with a newer one"
            )
        else:
            yield Checkpoint(path, file, _safetensors(path, file, size, start))


# ---- safetensors

_SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def _safetensors(path: Path, file: io.BufferedReader, size: int, start: bytes) -> dict[str, StoredTensor]:
    """Reads the directory: 8 bytes of little-endian length, then that much JSON, then the tensors back to back."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path} is neither a safetensors file nor a torch zip file: it has {size} bytes and begins with {start[:16]!r}"
        )
    if 8 + length > size:
        raise CheckpointError(f"{path} is cut short: its header takes {length} bytes, the file has {size}")
    file.seek(8)
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged safetensors header: {error}") from error

    header.pop("__metadata__", None)
    tensors = {}
    spans = []
    for name, entry in header.items():
        tensor, end = _safetensors_entry(path, name, entry, 8 + length)
        tensors[name] = tensor
        spans.append((tensor.offset, end, name))
    position = 8 + length
    for begin, end, name in sorted(spans):
        if begin != position:
            raise CheckpointError(
                f"{path} has a damaged safetensors header: {name} does not begin where its neighbour ends"
            )
        position = end
    if position > size:
        raise CheckpointError(f"{path} is cut short: its header promises {position} bytes, the file has {size}")
    if position < size:
        raise CheckpointError(f"{path} has {size - position} bytes more than its header accounts for")
    return tensors


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a name is there twice")
    return keys


def _safetensors_entry(path: Path, name: str, entry: Any, data: int) -> tuple[StoredTensor, int]:
    try:
        dtype = _SAFETENSORS_DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the header's entry for {name} cannot be read: {entry!r}") from error
    numbers = (*shape, begin, end)
    if len(shape) > MAX_DIMENSIONS or not all(type(number) is int and number >= 0 for number in numbers):
        raise CheckpointError(f"{path}: the header's entry for {name} has a bad shape or place: {entry!r}")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(f"{path}: {name} takes {end - begin} bytes, its shape {list(shape)} says otherwise")
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(dtype, shape, strides, data + begin), data + end


# ---- torch


class _StorageType(NamedTuple):
    """Stands for a storage class such as torch.FloatStorage."""

    dtype: np.dtype[Any]


class _Function(NamedTuple):
    """A function that a pickle may call. Wrapped, because a pickle may also set attributes of what it names."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class _Storage(NamedTuple):
    """A flat run of elements inside the zip file."""

    dtype: np.dtype[Any]
    elements: int
    offset: int  # bytes, from the file's start


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    """Stands for torch._utils._rebuild_tensor_v2; what follows the strides concerns gradients."""
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise pickle.UnpicklingError("a tensor is not made of a storage, a shape and strides")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor has offset {offset!r}, shape {shape!r} and strides {strides!r}")
    tensor = StoredTensor(storage.dtype, shape, strides, storage.offset + offset * storage.dtype.itemsize)
    if offset * storage.dtype.itemsize + tensor.extent > storage.elements * storage.dtype.itemsize:
        raise pickle.UnpicklingError(f"a tensor of shape {shape!r} reaches beyond its storage of {storage.elements}")
    return tensor


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    """Stands for torch._utils._rebuild_parameter."""
    return tensor


def _size(values: Any = ()) -> tuple[Any, ...]:
    """Stands for torch.Size."""
    return tuple(values)


_TORCH_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): _Function(_size),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    **{("torch", name): _StorageType(np.dtype(dtype)) for name, dtype in _TORCH_STORAGES.items()},
}


class _RefusedNameError(pickle.UnpicklingError):
    """The pickle asks for something that is not a tensor or a plain container."""


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles tensors as `StoredTensor`. Any name outside `_ADMITTED` stops it before that name is even imported."""

    def __init__(self, content: bytes, storage: Callable[[str], tuple[int, int]]) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _RefusedNameError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any, /) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise pickle.UnpicklingError(f"an outside reference that is no tensor storage: {pid!r}")
        _, kind, key, _device, elements = pid
        if type(key) is not str or type(elements) is not int or elements < 0:
            raise pickle.UnpicklingError(f"a storage named {key!r} of {elements!r} elements")
        offset, size = self._storage(key)
        if size != elements * kind.dtype.itemsize:
            raise pickle.UnpicklingError(
                f"storage {key} has {size} bytes, {elements} elements of {kind.dtype} were meant"
            )
        return _Storage(kind.dtype, elements, offset)


# What pickle.Unpickler raises on damaged input, by its documentation and by trying.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def _torch_tensors(path: Path, file: io.BufferedReader) -> dict[str, StoredTensor]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise CheckpointError(
            f"{path} is cut short or damaged: it begins as a torch zip file, whose directory at the end is missing"
        ) from error
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip file but not one that torch.save wrote: it holds no data.pkl")
        root = pickles[0].removesuffix("data.pkl")

        def member(name: str) -> tuple[int, int]:
            if root + name not in members:
                raise pickle.UnpicklingError(f"{name} is missing from the zip file")
            return _place(file, members[root + name])

        try:
            if root + "byteorder" in members and _read(file, *member("byteorder")) != b"little":
                raise CheckpointError(f"{path} was written on a big-endian machine; only little-endian files are read")
            place, size = member("data.pkl")
            if size > MAX_HEADER_BYTES:
                raise CheckpointError(f"{path}: its pickle takes {size} bytes; {MAX_HEADER_BYTES} is the limit")
            content = _TensorUnpickler(_read(file, place, size), lambda key: member(f"data/{key}")).load()
        except _RefusedNameError as error:
            raise CheckpointError(
                f"{path} asks for {error} to be loaded; only tensors and plain containers are, nothing was run"
            ) from error
        except CheckpointError:
            raise
        except _PICKLE_ERRORS as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
    return _state_dict(path, content)


def _place(file: io.BufferedReader, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a stored member's bytes lie in the file, and how many they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise pickle.UnpicklingError(f"{info.filename} is compressed or encrypted, which torch.save never does")
    header = _read(file, info.header_offset, 30)  # the local header repeats name and extra field at lengths of its own
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise pickle.UnpicklingError(f"{info.filename} is not where the zip directory says")
    name, extra = struct.unpack("<HH", header[26:30])
    begin = info.header_offset + 30 + name + extra
    if begin + info.file_size > os.fstat(file.fileno()).st_size:
        raise pickle.UnpicklingError(f"{info.filename} reaches beyond the end of the file")
    return begin, info.file_size


def _read(file: io.BufferedReader, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _state_dict(path: Path, content: Any) -> dict[str, StoredTensor]:
    if isinstance(content, dict):
        for wrapper in STATE_DICT_WRAPPERS:
            if wrapper in content:
                content = content[wrapper]
                break
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} where names and tensors were expected")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor):
            raise CheckpointError(
                f"{path}: {name!r} is a {type(value).__name__} where a tensor was expected; of training checkpoints "
                f"{' or '.join(STATE_DICT_WRAPPERS)} is read"
            )
    return dict(content)
