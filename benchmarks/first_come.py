"""The server with an engine that serves one request after the other, in order of arrival. For comparison only.

A request's segments are prepared and flow to their end before the next request's; the next one's first segment is
prepared meanwhile, so that the device does not wait between two requests. Everything else, from the HTTP layer to the
vocoder, is the product's. ``python -m benchmarks.first_come FLAGS...``, with the flags of main.py.
"""

from __future__ import annotations

import sys

from f5_tts_server.app import configure_logging, create_app, serve
from f5_tts_server.engine.job import Job
from f5_tts_server.engine.scheduler import Scheduler, _Segment
from f5_tts_server.engine.stages.request_queue import RequestQueue
from f5_tts_server.settings import read_settings
from f5_tts_server.tts_engine import TTSEngine


class FirstComeQueue(RequestQueue):
    """A request becomes active when every segment of those before it has been prepared."""

    def _activate(self) -> list[Job]:
        if any(not job.exhausted for job in self._active.values()) or not self._waiting:
            return []
        if len(self._active) >= self._options.max_concurrent_requests:
            return []
        job = self._waiting.popleft()
        self._active[job.arrival] = job
        job.active = job.preparing = True
        return [job]


class FirstComeScheduler(Scheduler):
    """Segments in the order in which they were prepared, which is that of the requests; no other matters."""

    def _ordered(self, segments: list[_Segment]) -> list[_Segment]:
        return sorted(segments, key=lambda segment: segment.key)


class FirstComeEngine(TTSEngine):
    queue_type = FirstComeQueue
    scheduler_type = FirstComeScheduler


def main(arguments: list[str]) -> int:
    """The command."""
    settings = read_settings(arguments)
    configure_logging(settings.log_level)
    return serve(create_app(settings, engine_type=FirstComeEngine))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
