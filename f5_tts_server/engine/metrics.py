"""What the engine counts, as Prometheus metrics in a registry of its own.

Gauges that mirror the engine's state are read when they are scraped; they cannot go stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
_STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_FACTORS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)

disable_created_metrics()  # a time stamp beside every counter, which nobody reads

OUTCOMES = ("done", "cancelled", "expired", "stalled", "rejected", "failed", "refused")


class Metrics:
    """Counters and histograms that the stages write to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._live: _Live | None = None
        self.requests = Counter(
            "f5_requests",
            "Requests by how they ended; refused ones never entered.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in OUTCOMES:  # a counter that has not counted yet shows as 0, not as missing
            self.requests.labels(outcome)
        self.first_audio = Histogram(
            "f5_time_to_first_audio_seconds",
            "From submission to the first audio bytes.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.real_time_factor = Histogram(
            "f5_real_time_factor",
            "Seconds of work for a second of audio, of requests that ended well.",
            buckets=_FACTORS,
            registry=self.registry,
        )
        self.turn_seconds = Histogram(
            "f5_step_seconds", "Time of one turn of Euler steps.", buckets=_STEP_SECONDS, registry=self.registry
        )
        self.rows = Counter("f5_step_rows", "Segments advanced by one step.", registry=self.registry)
        self.underruns = Counter(
            "f5_underruns",
            "Times that a listener who plays from the first chunk on was left without audio.",
            registry=self.registry,
        )
        self.underrun_seconds = Counter(
            "f5_underrun_seconds", "Seconds for which such listeners had no audio.", registry=self.registry
        )
        self.listening_seconds = Counter(
            "f5_listening_seconds", "Seconds of work for the times of words and for verifying.", registry=self.registry
        )
        self.verified = Counter(
            "f5_verified_segments",
            "Segments that were heard before they left: they fitted at once, when made again, or never; or the language is "
            "not known.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("fits", "fits_after", "doubtful", "unknown"):
            self.verified.labels(outcome)
        self.remade_seconds = Counter(
            "f5_remade_audio_seconds", "Seconds of audio of segments that were made again.", registry=self.registry
        )
        self.cues = Counter("f5_cues", "Cues of dubs that were spoken.", registry=self.registry)
        self.overruns = Counter(
            "f5_cue_overruns", "Cues of dubs that had less time than they needed.", registry=self.registry
        )
        self.infills = Counter("f5_infills", "Stretches of recordings that were spoken anew.", registry=self.registry)
        self.key_seconds = Counter(
            "f5_key_audio_seconds", "Seconds of audio made, by key.", ["key"], registry=self.registry
        )
        self.key_characters = Counter(
            "f5_key_characters", "Characters of text taken in, by key.", ["key"], registry=self.registry
        )
        self.audio_seconds = Counter("f5_audio_seconds", "Seconds of audio made.", registry=self.registry)
        self.bytes_out = Counter("f5_audio_bytes", "Bytes of encoded audio handed out.", registry=self.registry)
        self.restarts = Counter(
            "f5_segment_restarts", "Segments begun again after a failed step of their bucket.", registry=self.registry
        )

    def observe(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Add metrics that are read at scrape time; they take the place of those of an engine before."""
        self.forget()
        self._live = _Live(collect)
        self.registry.register(self._live)

    def forget(self) -> None:
        """Drop the metrics that are read at scrape time, with the engine that they are read from."""
        if self._live is not None:
            self.registry.unregister(self._live)
            self._live = None


class _Live:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect

    def describe(self) -> Iterable[Metric]:
        return []


def gauge(name: str, text: str, values: dict[str, float], label: str | None = None) -> Metric:
    """A gauge with one value, or one value for each value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label] if label else None)
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
