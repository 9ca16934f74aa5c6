"""Replicas behind Ray Serve, whose devices are simulated: `make replicas`.

Every replica runs the toy model, whose step of up to four segments takes `STEP_S`; what is real are the engine, the HTTP
application, Ray and the clients. Beside Ray's two front ends, its Python proxy and its HAProxy, the same server without
Ray. Processor time is that of all processes but the clients', for each chunk of a quarter of a second of audio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from fastapi import FastAPI

from benchmarks.client import closed_loop, connected, open_loop, speak
from benchmarks.load import Ask, Reply, deal, figures, poisson
from benchmarks.report import ROOT, environment, print_last_line

STEP_S = 0.02  # of four segments: about an eighth of an H100's speed for F5TTS_v1_Base
STEPS = 16
TOY: dict[str, Any] = {"step_s": STEP_S, "vocode_s": 0.0005, "frame_budget": 4096, "slots": 8}
CLIENTS = 8  # for each replica
SECONDS = 10.0
FRONTS = ("none", "proxy", "haproxy")
PORT = 8123
CHUNK_S = 0.25
LONG = "The river went on past the mill and under the bridge. " * 40
STREAMS = 6


def build() -> FastAPI:
    """The application with a simulated device, as each replica makes it."""
    from f5_tts_server.app import create_app
    from f5_tts_server.inference_types import SamplingDefaults
    from f5_tts_server.settings import Settings
    from tests.toy_programs import ToyPrograms

    settings = Settings(model="toy", compilation_cache=None, chunk_size=CHUNK_S)
    return create_app(settings, lambda _: ToyPrograms(**TOY), lambda _: SamplingDefaults(nfe=STEPS))


@contextmanager
def served(front: str, replicas: int) -> Iterator[tuple[str, Callable[..., None]]]:
    """The address of so many ready replicas, and what changes their deployment."""
    if front == "none":
        from tests.server import server_of

        command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.replicas:build", "--port", "0"]
        with server_of(command, cwd=ROOT, environment=dict(os.environ)) as server:
            server.wait_until_ready()
            yield server.url, _unchangeable
        return
    import ray
    from ray import serve

    from deploy.ray_serve import deployment

    os.environ["PYTHONPATH"] = str(ROOT)  # of the workers
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})

    def deploy(count: int = replicas, revision: str = "1") -> None:
        """Another revision makes Ray replace every replica."""
        actor = {"num_cpus": 0.1, "runtime_env": {"env_vars": {"REVISION": revision}}}
        speech = deployment(build, autoscaling_config=None, num_replicas=count, ray_actor_options=actor)
        serve.run(speech, name="speech", route_prefix="/")

    deploy()
    url = f"http://127.0.0.1:{PORT}"
    try:
        _wait_until_ready(url)
        yield url, deploy
    finally:
        serve.shutdown()
        ray.shutdown()


def _unchangeable(*_: Any) -> None:
    raise AssertionError("one server without Ray is not redeployed")


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # no port yet
        time.sleep(0.2)
    raise SystemExit("the replicas did not become ready")


def _processor_seconds() -> dict[str, float]:
    """Processor time so far of this process's children and theirs, by what they are."""
    seconds: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            name, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:  # it has ended since
            continue
        kind = "replicas" if "ServeReplica" in name or "replicas:build" in name else "others"
        kind = "proxy" if "ProxyActor" in name or "haproxy" in name.lower() else kind
        seconds[kind] += times.user + times.system
    return dict(seconds)


def load(url: str, replicas: int) -> dict[str, Any]:
    """What the replicas make when all are busy, what it costs, and the first audio at 0.6 of it."""
    before, began = _processor_seconds(), time.monotonic()
    cards = deal(random.Random(0))
    rate = asyncio.run(closed_loop(url, cards, clients=CLIENTS * replicas, seconds=SECONDS, timeout_s=300))
    passed = time.monotonic() - began
    chunks = rate * passed / CHUNK_S
    cost = {kind: (after - before.get(kind, 0.0)) / chunks * 1e3 for kind, after in _processor_seconds().items()}
    audio = 6.0  # of an average request of the mix, roughly: only the number of arrivals depends on it
    replies, _ = asyncio.run(open_loop(url, poisson(0.6 * rate / audio, SECONDS, 1), 300))
    return {"audio seconds a second": rate, "ms of processor a chunk": cost, **figures(replies, goal_s=1.0)}


def disturbed(url: str, disturb: Callable[[], None]) -> dict[str, Any]:
    """Long streams, disturbed when all of them have begun: how each ended, and what a request after it is told."""

    async def one(client: httpx.AsyncClient, seed: int, heard: asyncio.Event) -> str:
        ask = Ask(0.0, "long", LONG, seed)
        try:
            reply = await speak(client, ask, time.monotonic(), 300, lambda _: heard.set())
        except httpx.HTTPError as error:
            return type(error).__name__
        return "whole" if reply.ok else str(reply.error)

    async def all_of_them() -> dict[str, Any]:
        async with connected(url) as client:
            heard = [asyncio.Event() for _ in range(STREAMS)]
            streams = [asyncio.create_task(one(client, seed, event)) for seed, event in enumerate(heard)]
            await asyncio.gather(*(event.wait() for event in heard))
            changing = asyncio.create_task(asyncio.to_thread(disturb))
            await asyncio.sleep(0.5)
            after: list[str] = []
            for seed in range(10):
                reply: Reply | str
                try:
                    reply = await speak(client, Ask(0.0, "short", "Hello you.", seed), time.monotonic(), 60)
                    after.append("whole" if reply.ok else str(reply.error))
                except httpx.HTTPError as error:
                    after.append(type(error).__name__)
                await asyncio.sleep(0.5)
            ends = await asyncio.gather(*streams)
            await changing
            return {"streams": dict(Counter(ends)), "ten requests meanwhile": dict(Counter(after))}

    return asyncio.run(all_of_them())


def kill_a_replica() -> None:
    """SIGKILL to the first one."""
    for process in psutil.Process().children(recursive=True):
        if any("ServeReplica" in word for word in process.cmdline()):
            process.send_signal(signal.SIGKILL)
            return
    raise AssertionError("there is no replica")


def measure(front: str, replicas: int) -> dict[str, Any]:
    """One line of the table; with two replicas behind Ray the disturbances too."""
    with served(front, replicas) as (url, deploy):
        results = load(url, replicas)
        if front != "none" and replicas == 2:
            results["rolling update"] = disturbed(url, lambda: deploy(2, "2"))
            results["killed"] = disturbed(url, kill_a_replica)
            _wait_until_ready(url)
            results["scaled down"] = disturbed(url, lambda: deploy(1, "2"))
        return results


def _in_a_process(front: str, replicas: int) -> dict[str, Any]:
    """Ray reads its variables when it is imported: each line has a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        command = [sys.executable, "-m", "benchmarks.replicas", "--front", front, "--replicas", str(replicas)]
        variables = {"RAY_SERVE_ENABLE_HA_PROXY": "1" if front == "haproxy" else "0", "RAY_USAGE_STATS_ENABLED": "0"}
        subprocess.run([*command, "--out", str(out)], check=True, env=os.environ | variables)
        results: dict[str, Any] = json.loads(out.read_text("utf-8"))
        return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front", choices=FRONTS, help="only this one, in this process")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.front:
        arguments.out.write_text(json.dumps(measure(arguments.front, arguments.replicas)), "utf-8")
        return
    results = {}
    print("| front end | replicas | audio s/s | first audio p50 / p95 | ms of processor a chunk: replicas, proxy |")
    print("|---|---|---|---|---|")
    for front in FRONTS:
        for replicas in (1,) if front == "none" else (1, 2, 4):
            found = results[f"{front} {replicas}"] = _in_a_process(front, replicas)
            cost, first = found["ms of processor a chunk"], found["first audio, s"]
            print(
                f"| {front} | {replicas} | {found['audio seconds a second']:.0f} | {first['p50']:.2f} / "
                f"{first['p95']:.2f} s | {cost['replicas']:.2f}, {cost.get('proxy', 0):.2f} |",
                flush=True,
            )
    for name, found in results.items():
        for disturbance in ("rolling update", "killed", "scaled down"):
            if disturbance in found:
                print(f"{name}, {disturbance}: {found[disturbance]}")
    print_last_line("replicas", environment("ray", "fastapi", "uvicorn"), results)


if __name__ == "__main__":
    main()
