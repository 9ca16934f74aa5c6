"""Compiles every program that a server would run for GPUs and TPUs that are not there, and says what came out.

`make accelerators`, or `.venv-accelerators/bin/python -m benchmarks.accelerators`. Nothing is run on any device and no
weight is made: programs are compiled for shapes. A line of JSON is written for each program as soon as it is compiled,
and what a file of results already holds is not compiled again; `--table` makes a Markdown document of such a file.

Times are estimates from the number of operations, the bytes that the compiled operations touch and what the makers
say their devices do. They are no measurements: nothing is known here of how near a real device comes to them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Before JAX is imported: libtpu otherwise asks the network which TPU this is, and lets one process a machine compile.
# The host's own backend is the CPU.
os.environ.update(
    JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", TPU_ACCELERATOR_TYPE="v5litepod-1",
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
)  # fmt: skip

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from benchmarks.arithmetic import step_flops
from benchmarks.compiled_text import findings
from benchmarks.random_model import alphabet
from f5_tts_server.f5.config import CONFIGS, ModelConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.programs import Programs
from f5_tts_server.f5.text import PinyinFrontend
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocos import Vocos, VocosConfig

MODELS = ("F5TTS_v1_Base", "E2TTS_Base")
FRAMES, BATCHES, SLOTS = (938, 469, 1875), (1, 8, 2, 4), 8

# XLA's description of one H100, for a compiler that cannot ask it.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84978434048
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Chip:
    """What its maker says of one device."""

    name: str
    flops: float  # bfloat16 operations a second
    bandwidth: float  # bytes a second
    memory: float  # bytes


CHIPS = {
    "h100": Chip("H100 SXM", 989e12, 3.35e12, 80e9),
    "v5e": Chip("TPU v5e", 197e12, 819e9, 16e9),
    "v6e": Chip("TPU v6e", 918e12, 1640e9, 32e9),
}


@dataclass(frozen=True)
class Target:
    """Devices of one chip as a mesh of (data, model)."""

    chip: str
    topology: str
    data: int
    model: int

    @property
    def name(self) -> str:
        return f"{self.chip} {self.data}x{self.model}"

    def mesh(self) -> Mesh:
        if self.chip == "h100":
            topology = topologies.get_topology_desc(
                platform="cuda", topology_name="h100", target_config=H100, topology=f"1x1x{self.topology}"
            )
        else:
            topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{self.chip}:{self.topology}")
        devices: Any = np.array(topology.devices).reshape(self.data, self.model)
        return Mesh(devices, ("data", "model"), axis_types=(AxisType.Auto,) * 2)


TARGETS = (
    Target("h100", "1", 1, 1),
    Target("v5e", "1x1", 1, 1),
    Target("v6e", "1x1", 1, 1),
    Target("h100", "2", 2, 1),
    Target("h100", "2", 1, 2),
    Target("h100", "4", 4, 1),
    Target("h100", "4", 1, 4),
    Target("v5e", "2x2", 4, 1),
    Target("v5e", "2x2", 1, 4),
    Target("v6e", "2x2", 4, 1),
    Target("v6e", "2x2", 1, 4),
    Target("v5e", "2x4", 8, 1),
    Target("v6e", "2x4", 8, 1),
    Target("v5e", "2x4", 2, 4),
    Target("v6e", "2x4", 2, 4),
)


@dataclass(frozen=True)
class Case:
    """Where, of what and how large: programs for a bucket of `frames` and steps of `batch` segments."""

    target: Target
    model: str
    frames: int
    batch: int

    def programs(self) -> Programs:
        """What the server would compile, from shapes alone. Over several devices every slot is advanced at once."""
        mesh, config = self.target.mesh(), CONFIGS[self.model]
        slots = self.batch if self.target.data > 1 else SLOTS
        return Programs(
            shapes_of(config, Platform.of(mesh)), mesh, buckets=(self.frames,), slots=slots, step_sizes=(self.batch,)
        )


def shapes_of(config: ModelConfig, platform: Platform) -> SpeechModel:
    """A model whose arrays are shapes: the backbone in bfloat16, Vocos at its released size."""
    build = DiT if config.backbone.backbone == "DiT" else UNetT
    return SpeechModel(
        config=config,
        backbone=nnx.eval_shape(
            lambda: build(config.backbone, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16, platform=platform)
        ),
        vocoder=nnx.eval_shape(lambda: Vocos(VocosConfig(), rngs=nnx.Rngs(0))),
        frontend=PinyinFrontend(alphabet(config.backbone.text_num_embeds), config.mel, max_frames=4096),
    )


def compiled(case: Case, wanted: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """A record of each program of a case whose name is `wanted`; a program that does not compile has an `error`."""
    programs = case.programs()
    config = CONFIGS[case.model].backbone
    for key, lowered in programs.lowered():
        name = str(key[0])
        if name not in wanted:
            continue
        record: dict[str, Any] = {
            "target": case.target.name, "model": case.model, "frames": case.frames, "batch": case.batch,
            "program": name, "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        }  # fmt: skip
        started = time.process_time()
        try:
            program = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            yield {**record, "error": str(error)[:400]}
            continue
        record["compiled_in_cpu_s"] = round(time.process_time() - started, 1)
        memory: Any = program.memory_analysis()
        record["bytes"] = {
            "arguments": memory.argument_size_in_bytes, "results": memory.output_size_in_bytes,
            "temporary": memory.temp_size_in_bytes, "donated": memory.alias_size_in_bytes,
        }  # fmt: skip
        rows = max(1, 2 * case.batch // case.target.data)
        record.update(asdict(findings(str(program.as_text()), rows * case.frames * config.dim)))
        if name == "step":
            record["state"] = state_bytes(case)
            record["flops"] = step_flops(config, case.frames, 2 * case.batch) / case.target.data / case.target.model
        yield record


def state_bytes(case: Case) -> int:
    """Bytes of one device's share of the state."""
    config = CONFIGS[case.model].backbone
    slots = case.batch // case.target.data if case.target.data > 1 else SLOTS
    return slots * (case.frames * (4 * config.mel_dim + 2 * 2 * config.dim) + 4)


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    ).stdout.strip()


def cases(targets: list[str], models: list[str], frames: list[int], batches: list[int]) -> Iterator[Case]:
    """The most telling first; a batch that does not divide by the devices over which slots are spread is left out."""
    for target in TARGETS:
        for n in frames:
            for batch in batches:
                for model in models:
                    if target.name in targets and batch % target.data == 0:
                        yield Case(target, model, n, batch)


ONCE = ("modulations", "vocode", "noise")  # the same for every batch and bucket but for what the noise is cut from
BUCKET = ("insert", "take", "fix")  # the same for every batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [target.name for target in TARGETS]
    parser.add_argument("--targets", nargs="+", choices=names, default=names, metavar="TARGET", help=", ".join(names))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--frames", nargs="+", type=int, default=list(FRAMES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help=f"1 to {SLOTS}")
    parser.add_argument("--steps-only", action="store_true", help="of each case only the step, by far the most work")
    parser.add_argument("--results", type=Path, default=Path("accelerators.jsonl"), help="lines of JSON, added to")
    parser.add_argument("--table", type=Path, help="write this Markdown document of the results and compile nothing")
    options = parser.parse_args()
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    records = [json.loads(line) for line in lines]
    if options.table:
        written = options.table.read_text() if options.table.exists() else ""
        options.table.write_text(document(records) + closing(written))
        return 0
    jax.config.update("jax_traceback_in_locations_limit", 0)
    done = {identity(record) for record in records}
    failed = 0
    for case in cases(options.targets, options.models, options.frames, options.batches):
        every = ("step",) if options.steps_only else ("step", *BUCKET, *ONCE)
        wanted = tuple(name for name in every if identity(asdict_case(case, name)) not in done)
        for record in compiled(case, wanted) if wanted else ():
            done.add(identity(record))
            failed += "error" in record
            print(line_of(record), flush=True)
            with options.results.open("a") as file:
                file.write(json.dumps(record) + "\n")
    return 1 if failed else 0


def asdict_case(case: Case, program: str) -> dict[str, Any]:
    return {
        "target": case.target.name,
        "model": case.model,
        "frames": case.frames,
        "batch": case.batch,
        "program": program,
    }


def identity(record: dict[str, Any]) -> tuple[Any, ...]:
    """What a program is the same by."""
    program = record["program"]
    where = (record["target"], record["model"], program)
    return where if program in ONCE else (*where, record["frames"]) if program in BUCKET else (
        *where, record["frames"], record["batch"]
    )  # fmt: skip


# ---- what is shown


@dataclass(frozen=True)
class Estimate:
    """From above and below: products and memory traffic wholly side by side, or one after the other."""

    compute: float  # seconds
    traffic: float  # seconds

    @property
    def shortest(self) -> float:
        return max(self.compute, self.traffic)

    @property
    def longest(self) -> float:
        return self.compute + self.traffic

    def __str__(self) -> str:
        return f"{self.shortest * 1e3:.2f} – {self.longest * 1e3:.2f}"

    @property
    def share(self) -> str:
        return f"{self.compute / self.longest:.0%} – {self.compute / self.shortest:.0%}"


def estimate(record: dict[str, Any]) -> Estimate:
    chip = CHIPS[record["target"].split()[0]]
    return Estimate(record["flops"] / chip.flops, record["traffic"] / chip.bandwidth)


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def peak_bytes(record: dict[str, Any]) -> int:
    """What a device must hold while the program runs; donated arguments are results too."""
    held = record["bytes"]
    return int(held["arguments"] + held["results"] + held["temporary"] - held["donated"])


def state_kept(record: dict[str, Any]) -> str:
    """Whether the compiled step writes into the state that it is given, and copies none of it whole."""
    config, data = CONFIGS[record["model"]].backbone, int(record["target"].split()[1].split("x")[0])
    slots, n = record["batch"] // data if data > 1 else SLOTS, record["frames"]
    arrays = (f"f32[{slots},{n},{config.mel_dim}]", f"bf16[{slots},2,{n},{config.dim}]")
    copied = any(array.removesuffix(" in core") in arrays for array in record["copies"])
    return "yes" if record["bytes"]["donated"] >= record["state"] and not copied else "NO"


def line_of(record: dict[str, Any]) -> str:
    where = "{target:9} {model:13} {frames:5} × {batch} {program:11}".format(**record)
    if "error" in record:
        return f"{where} DOES NOT COMPILE: {record['error']}"
    text = f"{where} {peak_bytes(record) / 1e6:7.0f} MB, collectives {listed(record['collectives'])}"
    if record["program"] == "step":
        text += f", attention {record['attention']}, in place {state_kept(record)}, estimated {estimate(record)} ms"
    return text


def closing(written: str) -> str:
    """The last section of the document as it is: it is written by people."""
    _, heading, rest = written.partition(CLOSING)
    return heading + rest


def document(records: list[dict[str, Any]]) -> str:
    steps = [record for record in records if record["program"] == "step"]
    others = [record for record in records if record["program"] != "step"]
    dates, commits = ({record[name] for record in records} for name in ("date", "commit"))
    broken = [record for record in records if "error" in record]
    parts = [
        INTRODUCTION.format(
            date=", ".join(sorted(dates)), commits=", ".join(sorted(commits)), count=len(records), broken=len(broken)
        ),
        *(f"- {line_of(record)}\n" for record in broken),
    ]
    for target in TARGETS:
        for model in MODELS:
            rows = [r for r in steps if (r["target"], r["model"]) == (target.name, model) and "error" not in r]
            if rows:
                parts.append(f"\n## {CHIPS[target.chip].name}, mesh {target.data}x{target.model}: {model}\n\n{HEADER}")
                parts += [_row(r) for r in sorted(rows, key=lambda r: (r["frames"], r["batch"]))]
    if others:
        parts.append(f"\n## The other programs\n\n{OTHER_HEADER}")
        parts += [_other_row(record) for record in others if "error" not in record]
    return "".join(parts)


CLOSING = "\n## What was found\n"
INTRODUCTION = """# Compiled for accelerators that are not there

Every program that a server would run, compiled in bfloat16 by XLA for devices of which only a description was there
({date}, commits {commits}): `make accelerators`, then
`.venv-accelerators/bin/python -m benchmarks.accelerators --table docs/accelerators.md`. {count} programs; {broken} do not
compile. Nothing was run: **times are estimates, not measurements**. The shorter one is the larger of the operations at
the maker's peak rate and the compiled operations' memory traffic at the maker's bandwidth, the longer one their sum; the
share of peak is what that would mean. Neither knows launch times, caches or how well a kernel does. Collectives are
counted in the text of the program: what stands in the loop over layers runs once a layer. Memory is one device's: weights,
state of 8 slots (over several devices: of as many slots as the batch), tables of the schedules, results and temporaries.
A guided step of `batch` segments runs `2 · batch` rows. "In place": the step writes into the state that it is given.
"Copies": "in core" are those into a TPU core's own memory, from where it computes, and are no traffic. "Float32":
products that read float32, and arrays as large as the hidden state that are written as float32.
"""
HEADER = (
    "| frames | batch | memory, MB | of it temporary | in place | attention | collectives | copies over 1 MiB | float32 "
    "| estimate, ms | share of peak, estimated |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)
OTHER_HEADER = (
    "| devices | model | program | frames | memory, MB | of it temporary | collectives |\n"
    "|---|---|---|---|---|---|---|\n"
)


def _row(r: dict[str, Any]) -> str:
    e = estimate(r)
    wide = f"{r['wide_products']} products, {r['wide_arrays']} arrays"
    cells = (
        r["frames"], r["batch"], f"{peak_bytes(r) / 1e6:.0f}", f"{r['bytes']['temporary'] / 1e6:.0f}", state_kept(r),
        r["attention"], listed(r["collectives"]), listed(r["copies"]), wide, e, e.share,
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _other_row(r: dict[str, Any]) -> str:
    frames = "any" if r["program"] in ONCE else r["frames"]
    cells = (
        r["target"], r["model"], r["program"], frames, f"{peak_bytes(r) / 1e6:.0f}",
        f"{r['bytes']['temporary'] / 1e6:.0f}", listed(r["collectives"]),
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |\n"


if __name__ == "__main__":
    sys.exit(main())
