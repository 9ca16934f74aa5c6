"""The server with a clock on every call of the model, for benchmarks/overhead.py.

``GET /benchmark/times`` tells, since the process began: seconds in which at least one of the model's calls was under
way, the processor time of the whole process, of each Python thread, of the calls on each thread, and of the threads
that are not Python's (the compute pool of XLA). ``python -m benchmarks.timed_server FLAGS...``, flags of main.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from f5_tts_server.app import configure_logging, create_app, serve
from f5_tts_server.inference_types import Programs
from f5_tts_server.loading import load_programs
from f5_tts_server.settings import Settings, read_settings

HOST_VERBS = ("prepare_reference", "split", "plan")
VERBS = ("schedule", "prefill", "insert", "step", "take", "vocode")


class Times:
    """Seconds spent in calls. Safe for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0
        self._covered = 0.0  # at least one call under way
        self._calls: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])  # number, wall, processor
        self._threads: defaultdict[str, float] = defaultdict(float)  # processor time in calls

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, measured."""

        def run(*args: Any, **kwargs: Any) -> Any:
            began, cpu = time.monotonic(), time.thread_time()
            with self._lock:
                if not self._under_way:
                    self._since = began
                self._under_way += 1
            try:
                return call(*args, **kwargs)
            finally:
                cpu, ended = time.thread_time() - cpu, time.monotonic()
                with self._lock:
                    self._under_way -= 1
                    if not self._under_way:
                        self._covered += ended - self._since
                    entry = self._calls[name]
                    entry[0], entry[1], entry[2] = entry[0] + 1, entry[1] + ended - began, entry[2] + cpu
                    self._threads[threading.current_thread().name] += cpu

        return run

    def report(self) -> dict[str, Any]:
        python = {thread.native_id: thread.name for thread in threading.enumerate()}
        threads: dict[str, list[Any]] = {}  # by number, for threads of one name come and go
        native = 0.0
        for task in Path("/proc/self/task").iterdir():
            number = int(task.name)
            try:
                # The clock of a thread of this process by its number: clock_getcpuclockid(3), Linux's encoding.
                seconds = time.clock_gettime((~number << 3) | 6)
            except OSError:  # it has ended since
                continue
            if number in python:
                threads[task.name] = [_family(python[number]), seconds]
            else:
                native += seconds
        with self._lock:
            return {
                "covered": self._covered,
                "process": time.process_time(),
                "native": native,
                "threads": threads,
                "in calls": {_family(name): seconds for name, seconds in self._threads.items()},
                "calls": {name: list(entry) for name, entry in self._calls.items()},
            }


class Timed:
    """Something whose every call of `verbs` is timed; everything else is its own."""

    def __init__(self, target: Any, verbs: tuple[str, ...], times: Times) -> None:
        self._target = target
        self._times = times
        for verb in verbs:
            setattr(self, verb, times.timed(verb, getattr(target, verb)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


class TimedPrograms(Timed):
    """Programs whose every call is timed."""

    def __init__(self, programs: Programs, times: Times) -> None:
        super().__init__(programs, VERBS, times)
        self.frontend = Timed(programs.frontend, HOST_VERBS, times)

    def fence(self, state: Any) -> Callable[[], object]:
        return self._times.timed("wait for steps", self._target.fence(state))


def _family(name: str) -> str:
    """Worker threads are numbered or named after their pool: one entry for all of them."""
    stages = ("MainThread", "request-queue", "preprocess", "inference", "postprocess")
    return name if name in stages else "workers"


def main(arguments: list[str]) -> int:
    """The command."""
    settings = read_settings(arguments)
    configure_logging(settings.log_level)
    times = Times()

    def load(settings: Settings) -> Programs:
        return cast(Programs, TimedPrograms(load_programs(settings), times))

    app = create_app(settings, load)
    app.add_api_route("/benchmark/times", times.report, include_in_schema=False)
    return serve(app)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
