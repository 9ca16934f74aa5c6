"""What is read of compiled programs, and the compilation itself where the compilers are installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compiled_text import Findings, findings

ROOT = Path(__file__).parents[2]
TEXT = """\
HloModule jit_step, is_scheduled=true

%fused_computation (p: bf16[1024,1024]) -> f32[1024,1024] {
  %p = bf16[1024,1024]{1,0} parameter(0)
  ROOT %wide = f32[1024,1024]{1,0} convert(%p)
}

%body (arg: (s32[], bf16[1024,1024], bf16[3,1024,1024])) -> (s32[], bf16[1024,1024], bf16[3,1024,1024]) {
  %arg = (s32[], bf16[1024,1024]{1,0}, bf16[3,1024,1024]{2,1,0}) parameter(0)
  %x = bf16[1024,1024]{1,0:T(8,128)} get-tuple-element(%arg), index=1
  %w = bf16[3,1024,1024]{2,1,0} get-tuple-element(%arg), index=2
  %scaled = bf16[1024,1024]{1,0} fusion(%w, %x), kind=kLoop, calls=%other_computation
  %sum = bf16[1024,1024]{1,0} all-reduce(%scaled), replica_groups={{0,1}}, to_apply=%add
  ROOT %out = (s32[], bf16[1024,1024]{1,0}, bf16[3,1024,1024]{2,1,0}) tuple(%x, %sum, %w)
}

%cond (carried: (s32[], bf16[1024,1024], bf16[3,1024,1024])) -> pred[] {
  %carried = (s32[], bf16[1024,1024]{1,0}, bf16[3,1024,1024]{2,1,0}) parameter(0)
  %turn = s32[] get-tuple-element(%carried), index=0
  %turns = s32[]{:T(128)} constant(3)
  ROOT %more = pred[] compare(%turn, %turns), direction=LT
}

ENTRY %main (a: bf16[1024,1024]) -> f32[1024,1024] {
  %a = bf16[1024,1024]{1,0} parameter(0)
  %again = bf16[1024,1024]{1,0} copy(%a)
  %flash = (bf16[8,8]{1,0}, u8[0]{0}) custom-call(%again), custom_call_target="__cudnn$fmhaSoftmax"
  %loop = (s32[], bf16[1024,1024]{1,0}, bf16[3,1024,1024]{2,1,0}) while(%again), condition=%cond, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %result = f32[1024,1024]{1,0} fusion(%again), kind=kLoop, calls=%fused_computation
  ROOT %product = f32[1024,1024]{1,0} dot(%result, %result), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""


COUNT = ', backend_config={"known_trip_count":{"n":"3"}}'


@pytest.mark.parametrize("text", [TEXT, TEXT.replace(COUNT, "")], ids=["counted", "compared"])
def test_what_the_text_of_a_program_tells(text: str) -> None:
    """Counted by hand, the loop's turns by its own count or, as in TPUs' programs, by what its condition compares with:
    those loops were once taken to run one time, so that a layer stood for all.

    An array of bfloat16 has 2 MiB; of the stack of three a turn of the loop reads one."""
    two, four = 2 << 20, 4 << 20
    outside = 2 * two + (two + 128) + (four + two) + 3 * four + 9  # copy, custom call, fusion, product, compare
    inside = 3 * two + 2 * two  # fusion: result, its slice of the stack, x; all-reduce
    assert COUNT in TEXT
    assert findings(text, 1 << 20) == Findings(
        collectives={"all-reduce": 1},
        attention="cuDNN",
        copies={"bf16[1024,1024]": 1},
        wide_products=1,
        wide_arrays=2,
        traffic=outside + 3 * inside,
    )


def test_what_lies_in_a_tpu_core_is_no_traffic() -> None:
    """A copy within it is told apart from one in the device's memory, which is some twenty times slower."""
    text = """\
ENTRY %main (a: bf16[1024,1024]) -> bf16[1024,1024] {
  %a = bf16[1024,1024]{1,0:T(8,128)(2,1)} parameter(0)
  %near = bf16[1024,1024]{0,1:T(8,128)(2,1)S(1)} copy(%a)
  %turned = bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)} copy(%near)
  ROOT %far = bf16[1024,1024]{0,1:T(8,128)(2,1)} copy(%turned)
}
"""
    found = findings(text, 1 << 20)
    assert found.copies == {"bf16[1024,1024] in core": 2, "bf16[1024,1024]": 1}
    assert found.traffic == 2 * (2 << 20)  # read once, written once


def test_a_step_that_copies_its_state_is_named() -> None:
    """On TPUs slots lay innermost: the state was donated, and yet all of it was copied to another layout and back."""
    from benchmarks.accelerators import state_kept

    record = {"target": "v5e 1x1", "model": "F5TTS_v1_Base", "frames": 938, "batch": 2, "state": 100}
    held = {"bytes": {"donated": 100}}
    assert state_kept({**record, **held, "copies": {"bf16[4,938,1024]": 2}}) == "yes"
    assert state_kept({**record, **held, "copies": {"f32[8,938,100] in core": 1}}) == "NO"
    assert state_kept({**record, **held, "copies": {"bf16[8,2,938,1024]": 1}}) == "NO"
    assert state_kept({**record, "bytes": {"donated": 99}, "copies": {}}) == "NO"


def test_a_new_table_keeps_the_section_that_people_write() -> None:
    from benchmarks.accelerators import closing, document

    text = document([]) + "\n## What was found\n\n- A finding.\n"
    assert closing(text) == "\n## What was found\n\n- A finding.\n"
    assert closing(document([])) == ""


@pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None,
    reason="needs requirements-accelerators.txt (make accelerators)",
)
def test_the_step_of_the_base_model_compiled_for_one_h100(tmp_path: Path) -> None:
    """In bfloat16 throughout, with cuDNN's attention, into the state it is given; and not compiled a second time."""
    results, table = tmp_path / "results.jsonl", tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.accelerators", "--results", str(results)]
    case = ["--targets", "h100 1x1", "--models", "F5TTS_v1_Base", "--frames", "469", "--batches", "2", "--steps-only"]
    for _ in range(2):
        subprocess.run([*command, *case], cwd=ROOT, check=True)
    (record,) = map(json.loads, results.read_text().splitlines())
    assert record["attention"] == "cuDNN"
    assert record["bytes"]["donated"] >= record["state"] == 8 * (469 * (4 * 100 + 4 * 1024) + 4)
    assert (record["wide_products"], record["wide_arrays"], record["copies"], record["collectives"]) == (0, 0, {}, {})
    subprocess.run([*command, "--table", str(table)], cwd=ROOT, check=True)
    assert "| 469 | 2 |" in table.read_text()
    assert "times are estimates, not measurements" in table.read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs requirements-accelerators.txt (make accelerators)"
)
def test_the_step_of_the_base_model_compiled_for_one_tpu(tmp_path: Path) -> None:
    """With attention in one kernel. Its temporaries were 877 MB: all scores at once, and weights copied as integers."""
    from benchmarks.accelerators import state_kept

    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.accelerators", "--results", str(results), "--steps-only"]
    case = ["--targets", "v5e 1x1", "--models", "F5TTS_v1_Base", "--frames", "469", "--batches", "2"]
    subprocess.run([*command, *case], cwd=ROOT, check=True)
    (record,) = map(json.loads, results.read_text().splitlines())
    assert record["attention"] == "Pallas"
    assert record["bytes"]["donated"] >= record["state"]
    assert (record["wide_products"], record["wide_arrays"], record["collectives"]) == (0, 0, {})
    assert record["bytes"]["temporary"] < 32e6
    assert state_kept(record) == "yes"
    assert all(count <= 2 for count in record["copies"].values()), "only the convolutions of positions, once a step"
