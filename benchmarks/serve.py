"""The server under load, over HTTP: requests that come at random, against one request after the other.

`.venv/bin/python -m benchmarks.serve` takes about eight minutes; `--quick` looks at one rate for a few seconds. Flags
after `--` go to main.py. Three rows for each load:

- `steps`: the server as it ships, which chooses between requests at every Euler step;
- `in turn`: its engine set to serve one request after the other (benchmarks/first_come.py), still streaming;
- `in turn, whole`: the same replies for clients that are given the clip when it is complete.

The capacity is measured first: whole decks of requests that come all at once, so that it is that of the mix exactly and the
device is busy to the end (counted over some seconds of clients that always ask, it was off by up to 10 %, for the
requests that happened to fall into them). Every row then gets the same arrivals, at shares of the capacity of `steps`.

Beside each row stands how long the flow took for a second of audio, by the server's own metrics. It does not depend on the
load, so where it differs from what it was while the capacity was measured, the machine was not as fast and the row's load
was another than it says. `benchmarks.virtual --first-seed 1 --seeds 1` foretells the rows from the costs of calls alone.
The clients run on the same machine and take their part of it, which is told.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks import load
from benchmarks.client import one_by_one, open_loop
from benchmarks.load import MIX, TEXTS, Ask
from benchmarks.report import environment, print_last_line
from tests.server import ServerProcess, server_of

PROGRAMS = {"steps": ("main.py",), "in turn": ("-m", "benchmarks.first_come")}
SEED = 1
FLOOD_TIMEOUT_S = 300.0
GOAL_S = 1.0  # first audio within this is good

HEADER = (
    f"{'load':>6} {'row':15} {'n':>3}  {'first audio p50/p95/p99':>24}  {'last audio p50/p95/p99':>24}  {'rtf':>5} "
    f"{'audio s/s':>9} {'underruns':>9} {'silent':>7} {'refused':>7} {'failed':>6} {'good':>5}  {'livez p50/p99, ms':>17} "
    f"{'flow':>6}"
)


def row(name: str, row: str, run: dict[str, Any]) -> str:
    """One line of the table; times in seconds."""
    first, last = ("/".join(f"{v:.2f}" for v in run[key].values()) for key in ("first audio, s", "last audio, s"))
    livez = "/".join(f"{v:.0f}" for v in run["livez, ms"].values())
    return (
        f"{name:>6} {row:15} {run['requests']:3}  {first:>24}  {last:>24}  {run['real-time factor']:5.2f} "
        f"{run['audio seconds a second']:9.2f} {run['underruns']:9} {run['silent, s']:7.1f} {run['refused']:7} "
        f"{run['failed']:6} {run['goodput']:5.0%}  {livez:>17} {run['flow, s for a second of audio']:6.3f}"
    )


class Bench:
    """One invocation's measurements and what they add up to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: dict[str, Any] = {"options": vars(options), "load average": os.getloadavg()}

    def run(self) -> dict[str, Any]:
        """Both servers stay up and take turns, so that what else the machine does meets both alike."""
        with ExitStack() as stack:
            servers = {}
            for order, program in PROGRAMS.items():
                command = (sys.executable, *program, "--port", "0", *self.options.flags)
                servers[order] = stack.enter_context(server_of(command))
                servers[order].wait_until_ready()
            for server in servers.values():  # warms up
                asyncio.run(one_by_one(server.url, self._texts()))
            self._idle(servers["steps"].url)
            requests_a_second = self._capacity(servers)
            loads = {
                f"{share:g}": load.poisson(share * requests_a_second, self.options.seconds, SEED)
                for share in self.options.rates
            }
            loads["burst"] = load.burst(self.options.burst, SEED)
            print(f"\n{HEADER}")
            self.results["runs"] = [
                run
                for name, asks in loads.items()
                for order in PROGRAMS
                for run in self._load(name, asks, order, servers[order])
            ]
        return self.results

    def _capacity(self, servers: dict[str, ServerProcess]) -> float:
        """Requests a second at which `steps` is busy; prints and keeps every order's audio seconds a second."""
        flood = load.burst(self.options.decks * sum(MIX.values()), SEED)
        rates, flows = {}, {}
        for order, server in servers.items():
            with _flow(server) as flow:
                replies, _ = asyncio.run(open_loop(server.url, flood, timeout_s=FLOOD_TIMEOUT_S))
            if not all(reply.ok for reply in replies):
                raise SystemExit(f"a request of the flood failed: {[r.error or r.status for r in replies if not r.ok]}")
            rates[order] = sum(reply.duration for reply in replies) / max(reply.last for reply in replies)
            flows[order] = flow[0]
        requests_a_second = rates["steps"] / self.mean_audio
        self.results["capacity, audio seconds a second"] = rates
        self.results["capacity, requests a second"] = requests_a_second
        self.results["capacity: flow, s for a second of audio"] = flows
        print(
            f"an average request: {self.mean_audio:.2f} s of audio; capacity: {rates['steps']:.2f} audio seconds a "
            f"second, {requests_a_second:.2f} requests a second; in turn: {rates['in turn']:.2f} audio seconds a second; "
            f"flow for a second of audio: {flows['steps']:.3f} s"
        )
        return requests_a_second

    def _load(self, name: str, asks: list[Ask], order: str, server: ServerProcess) -> Iterator[dict[str, Any]]:
        """One load on one server."""
        time.sleep(1)  # what was cancelled or has just ended is let go of
        cpu, began = time.process_time(), time.monotonic()
        with _flow(server) as flow:
            replies, probes = asyncio.run(open_loop(server.url, asks, self.options.timeout))
        cpu = (time.process_time() - cpu) / (time.monotonic() - began) / (os.cpu_count() or 1)
        kept = {order: replies}
        if order != "steps":
            kept[f"{order}, whole"] = [reply.as_whole() for reply in replies]
        for label, some in kept.items():
            run = {
                "load": name,
                "row": label,
                **load.figures(some, GOAL_S),
                "livez, ms": {f"p{p}": 1e3 * load.percentile(probes, p) for p in (50, 99)},
                "flow, s for a second of audio": flow[0],
                "clients' share of the processor": cpu,
            }
            print(row(name, label, run), flush=True)
            yield run

    def _texts(self) -> list[tuple[str, str]]:
        return [(kind, text) for kind in MIX for text in TEXTS[kind][: self.options.idle_texts]]

    def _idle(self, url: str) -> None:
        """Every text once, one after the other: figures of an idle server, and how long each text's audio is."""
        replies = asyncio.run(one_by_one(url, self._texts()))
        print(f"{'idle server':12} {'n':>3} {'audio, s':>9} {'first audio, s':>15} {'last / duration':>16}   (medians)")
        idle = {}
        for kind in MIX:
            some = [reply for reply in replies if reply.ask.kind == kind]
            idle[kind] = {
                "n": len(some),
                "audio, s": load.percentile([r.duration for r in some], 50),
                "first audio, s": load.percentile([r.first for r in some], 50),
                "last audio / duration": load.percentile([r.last / r.duration for r in some], 50),
            }
            n, audio, first, last = idle[kind].values()
            print(f"{kind:12} {n:3} {audio:9.2f} {first:15.2f} {last:16.2f}")
        self.results["idle"] = idle
        self.mean_audio = load.mean_audio({reply.ask.text: reply.duration for reply in replies})
        self.results["mean audio of a request, s"] = self.mean_audio


@contextmanager
def _flow(server: ServerProcess) -> Iterator[list[float]]:
    """Seconds of turns of the flow for each second of audio that ended in the block; told when it ends."""

    def told() -> tuple[float, float]:
        return server.metric("f5_step_seconds_sum"), server.metric("f5_audio_seconds_total")

    seconds: list[float] = []
    before = told()
    yield seconds
    turns, audio = (after - earlier for after, earlier in zip(told(), before, strict=True))
    seconds.append(turns / audio if audio else math.nan)


def compare(results: dict[str, Any]) -> None:
    """What choosing at every step is worth, load by load."""
    runs = {(run["load"], run["row"]): run for run in results["runs"]}
    print("\nsteps against in turn: p95 of first audio (whole clips; streamed), audio seconds a second")
    for (name, label), steps in runs.items():
        if label != "steps":
            continue
        turn, whole = runs[name, "in turn"], runs[name, "in turn, whole"]
        firsts = [steps["first audio, s"]["p95"] / other["first audio, s"]["p95"] for other in (whole, turn)]
        audio = steps["audio seconds a second"] / turn["audio seconds a second"]
        print(f"{name:>6} {firsts[0]:8.2f} ×; {firsts[1]:5.2f} ×  {audio:9.3f} ×")
    rates = results["capacity, audio seconds a second"]
    print(f"{'whole decks at once':>24}  {rates['steps'] / rates['in turn']:9.3f} ×")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.3, 0.6, 0.9, 1.2], help="shares of the capacity")
    parser.add_argument("--seconds", type=float, default=40, help="of arrivals at each rate")
    parser.add_argument("--decks", type=int, default=4, help="of ten requests that come at once, for the capacity")
    parser.add_argument("--burst", type=int, default=16, help="requests that come at once")
    parser.add_argument("--timeout", type=float, default=30, help="timeout_s of requests")
    parser.add_argument("--idle-texts", type=int, default=5, help="texts of each kind for the idle server")
    parser.add_argument("--quick", action="store_true", help="a smoke test: 0.9 for five seconds, the rest small")
    parser.add_argument("flags", nargs="*", help="flags of main.py, after --")
    options = parser.parse_args()
    if options.quick:
        options.rates, options.seconds, options.decks = [0.9], 5.0, 1
        options.burst, options.idle_texts = 4, 1
    results = Bench(options).run()
    compare(results)
    print_last_line("serve", environment("jax", "jaxlib", "uvicorn", "fastapi", "httpx"), results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
