"""What OpenTelemetry traces cost: processor time of a server for a stream, with and without an exporter.

`python -m benchmarks.tracing`: servers of the toy model, in processes of their own, in turn without and with traces, which
a collector on loopback takes in. The model costs next to nothing, so the ratio is that of the server's own work.
"""

from __future__ import annotations

import argparse
import http.server
import os
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from benchmarks.report import environment, print_last_line
from tests.server import running

TEXT = "A sentence of some words is said here. And then a second one, which is a little longer than the first one was."
WARM_UP = 20  # streams


@contextmanager
def collector() -> Iterator[str]:
    """The address of one that reads and forgets what is exported."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def cost(streams: int, endpoint: str | None) -> float:
    """Seconds of a processor that a server takes for one stream."""
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    if endpoint is not None:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    with running(toy={}) as server, httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:

        def speak(count: int) -> float:
            for _ in range(count):
                reply = client.post(
                    "/v1/generate/stream", json={"gen_text": TEXT, "num_inference_steps": 16, "seed": 1}
                )
                assert '"is_final": true' in reply.text, reply.text[:200]
            times = psutil.Process(server.process.pid).cpu_times()
            return times.user + times.system

        before = speak(WARM_UP)
        return (speak(streams) - before) / streams


def main() -> None:
    parser = argparse.ArgumentParser(description="What traces cost, in processor time.")
    parser.add_argument("--streams", type=int, default=200, help="of each server")
    parser.add_argument("--rounds", type=int, default=2, help="servers of each kind")
    options = parser.parse_args()
    with collector() as endpoint:
        pairs = [(cost(options.streams, None), cost(options.streams, endpoint)) for _ in range(options.rounds)]
    without, traced = (statistics.median(side) for side in zip(*pairs, strict=True))
    for off, on in pairs:
        print(f"{1000 * off:.1f} ms of a processor for a stream, {1000 * on:.1f} with traces: {on / off:.2f} times")
    results = {"without_s": round(without, 5), "traced_s": round(traced, 5), "ratio": round(traced / without, 3)}
    print_last_line("tracing", environment("opentelemetry-sdk"), results)


if __name__ == "__main__":
    main()
