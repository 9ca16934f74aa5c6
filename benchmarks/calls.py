"""What calls of the shipped voice cost on this machine: the costs that `benchmarks.virtual --costs` reads.

`.venv/bin/python -m benchmarks.calls > costs.json` takes half a minute; nothing else may run. Medians of calls of one row,
one after the other, each waited for; the null pass that a prefill may need is the same program again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.load import percentile
from benchmarks.report import environment, print_last_line
from f5_tts_server.embedded.config import ASSETS, CONFIG
from f5_tts_server.inference_types import Plan, StepRow
from f5_tts_server.loading import load_programs
from f5_tts_server.settings import read_settings
from f5_tts_server.text import TextError

WORDS = "The road over the hill is closed so take the bridge instead and follow the river for three miles".split()


def plan_for(frontend: Any, reference: Any, shortest: int, longest: int) -> Plan:
    """A segment that fills a bucket as well as words can."""
    text, plan = "", None
    for word in itertools.cycle(WORDS):
        text = f"{text} {word}".strip()
        try:
            longer: Plan = frontend.plan(text, reference, speed=1.0, seconds=None)
        except TextError:  # longer than anything that the model is compiled for
            break
        if longer.frames > longest:
            break
        plan = longer
    assert plan is not None and plan.frames > shortest, "no number of words fits the bucket"
    return plan


def measure(rounds: int) -> dict[str, Any]:
    """Median seconds of each call, by name."""
    programs: Any = load_programs(read_settings([]))
    programs.warm_up(lambda done, of: None)
    voice = json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"][0]
    clip = (ASSETS / voice["audio"]).read_bytes()
    reference = programs.frontend.prepare_reference(clip, voice["text"])
    schedule = programs.schedule(CONFIG.sampling.nfe, CONFIG.sampling.sway)
    states = {bucket: programs.new_state(bucket) for bucket in programs.buckets}
    seconds: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[name].append(time.monotonic() - began)

    plans = {
        bucket: plan_for(programs.frontend, reference, shortest, bucket)
        for shortest, bucket in zip((0, *programs.buckets), programs.buckets, strict=False)
    }
    for number in range(rounds + 1):
        if number == 1:
            seconds.clear()  # the first round knows no null pass and warms everything
        for bucket, plan in plans.items():
            with timed(f"prefill {bucket}"):
                made = programs.prefill(plan, reference, seed=number, segment_index=0, guided=True)
                made.conditional.block_until_ready()
                made.start.block_until_ready()
            state = programs.insert(states[bucket], made, 0)
            for index in range(CONFIG.sampling.nfe):
                with timed(f"step {bucket}"):
                    state = programs.step(bucket, state, [StepRow(0, schedule, index, CONFIG.sampling.cfg_strength)])
                    state.done.block_until_ready()
            states[bucket] = state
            with timed(f"take {bucket}"):
                mel = programs.take(state, 0, plan)
                _ = mel.vocoder_input  # waits
            block = programs.vocode_block
            for start in range(0, plan.frames - plan.ref_frames - block, block):
                with timed("vocode"):
                    programs.vocode(mel, start, start + block)
    medians = {name: percentile(each, 50) for name, each in seconds.items()}
    return {
        "buckets": programs.buckets,
        **{
            name: [round(medians[f"{name} {bucket}"], 5) for bucket in programs.buckets]
            for name in ("step", "prefill", "take")
        },
        "vocode": round(medians["vocode"], 5),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print_last_line("calls", environment("jax", "jaxlib"), {"costs": measure(options.rounds)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
