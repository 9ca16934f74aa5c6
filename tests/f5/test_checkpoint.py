"""f5.checkpoint against files that torch and safetensors wrote, and against files that nobody should write."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from f5_tts_server.f5.checkpoint import CheckpointError, open_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.read(name) for name in checkpoint.tensors}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught, open_checkpoint(path):
        pass
    assert str(path) in str(caught.value)
    return str(caught.value)


def counting(*shape: int, start: float = 0.0) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype=np.float32) + np.float32(start)).reshape(shape)


# ---- what is read


def test_torch_tensors_of_every_kind_and_view() -> None:
    shared = counting(4, 6)
    expected: dict[str, Any] = {
        "float32": counting(2, 3),
        "float64": np.arange(3, dtype=np.float64),
        "float16": np.arange(3, dtype=np.float16),
        "bfloat16": np.arange(3).astype(ml_dtypes.bfloat16),
        "int64": np.arange(3),
        "boolean": np.array([True, False]),
        "scalar": np.float32(7),
        "empty": np.zeros((0, 5), np.float32),
        "transposed": counting(2, 3).T,
        "rows": shared[1:3],
        "columns": shared[:, 2:4],
        "every_second": shared[::2, ::2],
        "expanded": np.array([[0, 1]] * 3, np.float32),
        "parameter": counting(2),
    }
    found = read_all(GOLDEN / "checkpoint_kinds.pt")
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        assert np.array_equal(found[name], value), name


def test_training_checkpoint_gives_the_averaged_weights() -> None:
    found = read_all(GOLDEN / "checkpoint_training.pt")
    assert np.array_equal(found["ema_model.transformer.weight"], counting(2, 3, start=100))
    assert np.array_equal(found["ema_model.transformer.bias"], counting(2, start=100))


def test_training_checkpoint_without_averaged_weights_gives_the_plain_ones() -> None:
    with open_checkpoint(GOLDEN / "checkpoint_training_plain.pt") as checkpoint:
        assert {name: tensor.shape for name, tensor in checkpoint.tensors.items()} == {"weight": (2, 3), "bias": (2,)}


def test_safetensors(tmp_path: Path) -> None:
    arrays = {
        "a": counting(2, 3),
        "b": counting(4).astype(ml_dtypes.bfloat16),
        "c": counting(2).astype(np.float16),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 2), np.int64),
    }
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    found = read_all(path)
    assert set(found) == set(arrays)
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], value)


def test_the_format_is_told_from_the_content(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    safetensors.numpy.save_file({"a": counting(3)}, path)
    assert np.array_equal(read_all(path)["a"], counting(3))


# ---- what is refused


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "pytorch_model.bin"])
def test_a_text_file_of_the_right_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("<!DOCTYPE html><html>You need to log in to see this page</html>" * 3)
    assert "neither a safetensors file nor a torch zip file" in refusal(path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    assert "it has 0 bytes" in refusal(path)


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1348435761\n")
    assert "Git LFS pointer" in refusal(path)


def test_torch_files_from_before_zip() -> None:
    assert "from before version 1.6" in refusal(GOLDEN / "checkpoint_legacy.pt")


@pytest.mark.parametrize("name", ["checkpoint_kinds.pt", "checkpoint_training.pt"])
def test_a_torch_file_cut_short_anywhere(tmp_path: Path, name: str) -> None:
    whole = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    for size in (len(whole) - 1, len(whole) // 2, len(whole) // 10, 70):
        path.write_bytes(whole[:size])
        assert "cut short or damaged" in refusal(path), size


def test_a_safetensors_file_cut_short_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"a": counting(40), "b": counting(50)}, path)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 300, 40):
        path.write_bytes(whole[:size])
        assert "cut short" in refusal(path), size
    path.write_bytes(whole + b"\0")
    assert "1 bytes more" in refusal(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"a": counting(40_000)}, path)
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 1000)
        with pytest.raises(CheckpointError, match="ended while a was being read"):
            checkpoint.read("a")


ENTRY = '{"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}'


def header(entries: str) -> bytes:
    return struct.pack("<Q", len(entries)) + entries.encode()


@pytest.mark.parametrize(
    ("entries", "data", "sentence"),
    [
        ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}', 8, "damaged safetensors header"),
        ('{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', 8, "its shape [3] says otherwise"),
        ('{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}}', 8, "bad shape or place"),
        ('{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', 4, "bad shape or place"),
        ('{"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}', 8, "entry for a cannot be read"),
        ('{"a": 3}', 0, "entry for a cannot be read"),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', 8, "does not begin where"),
        (
            f'{{"a": {ENTRY}, "b": {ENTRY}}}',
            4,
            "does not begin where",
        ),
        (
            f'{{"a": {ENTRY}, "a": {ENTRY}}}',
            4,
            "a name is there twice",
        ),
    ],
)
def test_a_safetensors_header_that_lies(tmp_path: Path, entries: str, data: int, sentence: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(entries) + bytes(data))
    assert sentence in refusal(path)


def write_torch(path: Path, content: bytes, storages: dict[str, bytes] | None = None, method: int = 0) -> None:
    """A zip file laid out as torch.save does it, with a pickle of our choice."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)


class Calling:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {marker}",), "posix.system"),
        (eval, ("__import__('pathlib').Path({marker!r}).touch()",), "builtins.eval"),
        (exec, ("import pathlib; pathlib.Path({marker!r}).touch()",), "builtins.exec"),
        (getattr, ("{marker}", "upper"), "builtins.getattr"),
        (os.makedirs, ("{marker}",), "os.makedirs"),
    ],
)
@pytest.mark.parametrize("inside", ["alone", "next to a tensor", "as the optimizer's state"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    tmp_path: Path, function: Callable[..., Any], arguments: tuple[str, ...], named: str, inside: str
) -> None:
    marker = tmp_path / "marker"
    call = Calling(function, *(argument.format(marker=str(marker)) for argument in arguments))
    content: Any = {"alone": call, "next to a tensor": {"a": 1, "b": call}}.get(inside)
    if inside == "as the optimizer's state":
        content = {"model_state_dict": {}, "optimizer_state_dict": call}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / "model.pt"
        write_torch(path, pickle.dumps(content, protocol))
        message = refusal(path)
        assert "nothing was run" in message
        assert named.rpartition(".")[2] in message
        assert not marker.exists()

    # The same bytes do run where they are not refused: the test would notice.
    if function is not getattr:
        pickle.loads(pickle.dumps(call))  # noqa: S301
        assert marker.exists()


def test_a_pickled_module_is_refused_by_name() -> None:
    assert "torch.nn.modules.linear.Linear" in refusal(GOLDEN / "checkpoint_module.pt")


def test_a_pickle_cannot_change_what_it_names(tmp_path: Path) -> None:
    """BUILD sets attributes; on a plain function it could have replaced the defaults of later calls."""
    path = tmp_path / "model.pt"
    for name in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n"):
        write_torch(path, b"\x80\x02" + name + b"}X\x01\x00\x00\x00aK\x01sb.")
        assert "is damaged" in refusal(path)


def torch_pickle(elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """A state dict {"a": tensor} with the given numbers, as torch.save would write them."""

    def literal(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]  # without the protocol before it and the stop behind it

    storage = b"(" + literal("storage") + b"ctorch\nFloatStorage\n" + literal("0") + literal("cpu") + literal(elements)
    arguments = b"".join(literal(value) for value in (offset, shape, strides, False, None))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + arguments + b"tR"
    return b"\x80\x02}" + literal("a") + tensor + b"s."


def test_a_tensor_within_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_torch(path, torch_pickle(6, 1, (2, 2), (3, 1)), {"0": counting(6).tobytes()})
    assert read_all(path)["a"].tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
    ("elements", "offset", "shape", "strides"),
    [
        (6, 3, (2, 2), (3, 1)),
        (6, 0, (7,), (1,)),
        (6, 0, (2,), (-1,)),
        (6, -1, (2,), (1,)),
        (6, 0, (2, 2), (1,)),
        (5, 0, (2,), (1,)),
        (6, 0, (2.0,), (1,)),
        (6, 0, (1,) * 99, (1,) * 99),
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage(
    tmp_path: Path, elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path = tmp_path / "model.pt"
    write_torch(path, torch_pickle(elements, offset, shape, strides), {"0": counting(6).tobytes()})
    assert "is damaged" in refusal(path)


def test_a_storage_that_is_missing_or_compressed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = torch_pickle(6, 0, (6,), (1,))
    write_torch(path, content)
    assert "data/0 is missing" in refusal(path)
    write_torch(path, content, {"0": counting(6).tobytes()}, zipfile.ZIP_DEFLATED)
    assert "compressed or encrypted" in refusal(path)


@pytest.mark.parametrize("content", [[1, 2], "text", {"a": 1.5}, {3: 4}, {"model_state_dict": 7}])
def test_a_pickle_without_named_tensors(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.pt"
    write_torch(path, pickle.dumps(content, 2))
    assert "expected" in refusal(path)


def test_zip_files_of_other_makers(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    assert "holds no data.pkl" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/byteorder", "big")
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    assert "big-endian" in refusal(path)


def test_damaged_pickles_are_refused_in_words(tmp_path: Path) -> None:
    """Whatever byte of the pickle is hit, the outcome is tensors or a CheckpointError, never another exception."""
    whole = (GOLDEN / "checkpoint_kinds.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(name)
    begin = whole.index(content)
    rng = np.random.default_rng(1)
    outcomes = set()
    path = tmp_path / "model.pt"
    for position in rng.integers(0, len(content), 300):
        damaged = bytearray(whole)
        damaged[begin + position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_all(path)
            outcomes.add("read")
        except CheckpointError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
