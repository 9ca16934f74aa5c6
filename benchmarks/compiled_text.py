"""What a compiled program's text (XLA's HLO after scheduling) tells: collectives, attention, copies, float32."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(?:ENTRY )?%([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (.+?) ([a-z][a-z0-9\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8, "u64": 8}
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_CONDITION = re.compile(r"\bcondition=%([\w.\-]+)")
_BODY = re.compile(r"\bbody=%([\w.\-]+)")
_TRIPS = re.compile(r"known_trip_count\D+(\d+)")
_FREE = frozenset({"parameter", "get-tuple-element", "tuple", "while", "bitcast", "constant", "after-all", "call"})
_LARGE = 1 << 20  # bytes; smaller copies cost nothing that is worth a line


class Array(NamedTuple):
    """One array type, such as bf16[2,938,1024]; `in_core`: it lies in a TPU core's own memory."""

    kind: str
    shape: tuple[int, ...]
    in_core: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * _BYTES.get(self.kind, 4)

    def __str__(self) -> str:
        return f"{self.kind}[{','.join(map(str, self.shape))}]{' in core' if self.in_core else ''}"


class Instruction(NamedTuple):
    """One line of the text; `fused`: it is a part of a fusion, so that its result is written nowhere."""

    computation: str
    name: str
    results: list[Array]
    opcode: str
    rest: str  # operands and attributes
    fused: bool


@dataclass(frozen=True)
class Findings:
    """Counted once a line: what stands in a loop over layers is run once a layer."""

    collectives: dict[str, int]  # how many of each kind
    attention: str  # "cuDNN", "Pallas" or "plain"
    copies: dict[str, int]  # how many of each array of a mebibyte or more, and whether into a core's own memory
    wide_products: int  # matrix products and convolutions that read float32
    wide_arrays: int  # float32 arrays of at least the size asked for that are written to memory
    traffic: int  # bytes of the device's memory that operations read and write in all, loops counted out


def findings(text: str, large_elements: int) -> Findings:
    """Reads the text of one program. `large_elements`: from which size on a float32 array is counted."""
    instructions = list(_instructions(text))
    types = {(i.computation, i.name): i.results for i in instructions}
    trips = _trips(instructions)
    collectives: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    wide_products = wide_arrays = traffic = 0
    attention = "plain"
    for i in instructions:
        names = _NAME.findall(i.rest.split("), ")[0])
        operands = [array for name in names for array in types.get((i.computation, name), [])]
        kind = i.opcode.removesuffix("-start")
        if kind in _COLLECTIVES:
            collectives[kind] += 1
        if i.opcode == "custom-call":
            attention = "cuDNN" if "__cudnn$fmha" in i.rest else "Pallas" if "tpu_custom_call" in i.rest else attention
        if _is_product(i):
            wide_products += any(array.kind == "f32" for array in operands)
        if i.fused or i.opcode in _FREE or i.opcode.endswith("-done"):
            continue
        if i.opcode == "copy" and i.results[0].nbytes >= _LARGE:
            copies[str(i.results[0])] += 1
        wide_arrays += sum(array.kind == "f32" and array.size >= large_elements for array in i.results)
        turns = trips.get(i.computation, 1)
        traffic += turns * sum(_touched(array, turns) for array in (*i.results, *operands))
    return Findings(dict(collectives), attention, dict(copies), wide_products, wide_arrays, traffic)


def _trips(instructions: list[Instruction]) -> dict[str, int]:
    """How often the body of each loop runs. TPUs' compiler writes no count: it is what the condition compares with."""
    inside: dict[str, list[Instruction]] = {}
    for i in instructions:
        inside.setdefault(i.computation, []).append(i)
    trips = {}
    for i in instructions:
        body, condition = _BODY.search(i.rest), _CONDITION.search(i.rest)
        if i.opcode != "while" or body is None:
            continue
        if count := _TRIPS.search(i.rest):
            trips[body[1]] = int(count[1])
        elif condition is not None:
            bounds = [int(j.rest.split(")")[0]) for j in inside[condition[1]] if j.opcode == "constant"]
            if len(bounds) != 1:
                raise ValueError(f"the number of turns of the loop {i.name} is not to be seen: constants {bounds}")
            trips[body[1]] = bounds[0]
    return trips


def _touched(array: Array, turns: int) -> int:
    """Bytes of an array that one turn of a loop touches: its own slice of what is stacked by turns."""
    if array.in_core:
        return 0
    stacked = turns > 1 and len(array.shape) > 1 and array.shape[0] == turns
    return array.nbytes // (turns if stacked else 1)


def _is_product(i: Instruction) -> bool:
    called = i.opcode == "custom-call" and ("__cublas$" in i.rest or "__cudnn$conv" in i.rest)
    return i.opcode in ("dot", "convolution") or called


def _instructions(text: str) -> Iterator[Instruction]:
    fused = set(re.findall(r"fusion\(.*calls=%([\w.\-]+)", text))
    computation = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        elif match := _INSTRUCTION.match(line):
            name, result, opcode, rest = match.groups()
            arrays = [
                Array(kind, tuple(int(n) for n in shape.split(",") if n), "S(1)" in layout)
                for kind, shape, layout in _ARRAY.findall(result)
            ]
            yield Instruction(computation, name, arrays, opcode, rest, computation in fused)
