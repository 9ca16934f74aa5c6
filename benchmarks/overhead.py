"""What HTTP, queues, base64 and encoding cost: of a request's time, and of the processor's.

`.venv/bin/python -m benchmarks.overhead` takes about two minutes on an idle machine; flags after `--` go to main.py. It
starts the server with a clock on every call of the model (benchmarks/timed_server.py) and tells

- of requests one after the other, which part of the time between asking and the last byte no call of the model was under
  way: nothing but HTTP, queues, joins, encoding and waking up is left then, and what of it the model's work hides costs
  no one any time;
- of a busy server, which part of the processor time the server spent outside of the model's calls and of the threads of
  XLA's compute pool, thread by thread.

Reading the text (numbers, markup) counts as HTTP; cutting it and looking up how it sounds counts as the model.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from typing import Any

import httpx

from benchmarks import load
from benchmarks.client import closed_loop, one_by_one
from benchmarks.load import TEXTS
from benchmarks.report import environment, print_last_line
from tests.server import server_of

PARTS = {
    "MainThread": "event loop: HTTP, JSON, base64",
    "workers": "bodies to requests, numbers to words",
    "request-queue": "order of requests",
    "preprocess": "preparing, beside the model",
    "inference": "scheduling steps",
    "postprocess": "joining and encoding",
}


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What came to a report of the timed server between two moments."""
    numbers = {key: after[key] - before[key] for key in ("covered", "process", "native")}
    threads: Counter[str] = Counter()
    for number, (name, seconds) in after["threads"].items():
        threads[name] += seconds - before["threads"].get(number, [name, 0.0])[1]
    inside = {name: seconds - before["in calls"].get(name, 0.0) for name, seconds in after["in calls"].items()}
    calls = {
        name: [now - then for now, then in zip(entry, before["calls"].get(name, [0, 0, 0]), strict=True)]
        for name, entry in after["calls"].items()
    }
    return {**numbers, "threads": threads, "in calls": inside, "calls": calls}


def shares(spent: dict[str, Any]) -> dict[str, float]:
    """Of the process's processor time: the model's, and what each thread spent beside the model.

    Threads that ended in between are in nobody's account but the process's; theirs is "the rest".
    """
    whole = spent["process"]
    beside = Counter(spent["threads"])
    beside.subtract(spent["in calls"])
    model = spent["native"] + sum(spent["in calls"].values())
    rest = whole - model - sum(beside.values())
    return {
        "the model": model / whole,
        **{PARTS[name]: beside[name] / whole for name in PARTS},
        "the rest": rest / whole,
        "outside of the model": 1 - model / whole,
    }


def times(url: str) -> dict[str, Any]:
    report: dict[str, Any] = httpx.get(f"{url}/benchmark/times").json()
    return report


def idle(url: str, kind: str, rounds: int) -> dict[str, Any]:
    """Requests one after the other."""
    before = times(url)
    replies = asyncio.run(one_by_one(url, [(kind, text) for text in TEXTS[kind]] * rounds))
    spent = difference(before, times(url))
    seconds = sum(reply.ended for reply in replies)
    return {
        "requests": len(replies),
        "seconds a request": seconds / len(replies),
        "no call of the model under way": 1 - spent["covered"] / seconds,
        "processor": shares(spent),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="how often every text goes to the idle server")
    parser.add_argument("--seconds", type=float, default=30, help="of a busy server")
    parser.add_argument("--clients", type=int, default=8, help="that always have a request under way")
    parser.add_argument("flags", nargs="*", help="flags of main.py, after --")
    options = parser.parse_args()
    results: dict[str, Any] = {"options": vars(options)}
    command = (sys.executable, "-m", "benchmarks.timed_server", "--port", "0", *options.flags)
    with server_of(command) as server:
        server.wait_until_ready()
        url = server.url
        asyncio.run(one_by_one(url, [(kind, texts[0]) for kind, texts in TEXTS.items()]))  # warms up
        print(f"{'requests, one by one':22} {'n':>3} {'each, s':>8} {'no call of the model under way':>31}")
        for kind in TEXTS:
            results[kind] = run = idle(url, kind, options.rounds)
            n, each, alone, _ = run.values()
            print(f"{kind:22} {n:3} {each:8.2f} {alone:31.1%}")
        before = times(url)
        cards = load.deal(random.Random(0))
        rate = asyncio.run(closed_loop(url, cards, clients=options.clients, seconds=options.seconds, timeout_s=300))
        spent = difference(before, times(url))
    results["busy"] = {"audio seconds a second": rate, "processor": shares(spent), "calls": spent["calls"]}
    print(f"\nprocessor time of the server{'one by one, long':>28} {f'{options.clients} clients':>12}")
    for name, share in results["busy"]["processor"].items():
        print(f"{name:38} {results['long']['processor'][name]:17.2%} {share:12.2%}")
    print(f"\n{'calls of the model, busy':26} {'n':>6} {'wall, ms':>9} {'on its own thread, ms':>22}   each")
    for name, (count, wall, cpu) in spent["calls"].items():
        if count:
            print(f"{name:26} {count:6} {1e3 * wall / count:9.2f} {1e3 * cpu / count:22.2f}")
    print_last_line("overhead", environment("jax", "jaxlib", "uvicorn", "fastapi"), results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
