"""Requests with `verify` in the engine: a listener with a closed form, and what it makes of the toy model by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import FITS, Done, GenerationRequest, Samples, TimedWord
from f5_tts_server.tts_engine import EngineState, TTSEngine
from tests.asked import NFE, REF_FRAMES, collect, error, pcm, request, until
from tests.toy_programs import RATE, ToyPrograms, expected, target, wave

LONG = "It was a bright cold day in April and the clocks were striking thirteen as the wind blew dust around. " * 3

pytestmark = pytest.mark.anyio


class Listener:
    """Judges by the first sample, which in the toy model depends on the seed and lies between -0.5 and 0.5."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.loaded = 0

    def load(self) -> None:
        assert not self.heard
        self.loaded += 1

    def knows(self, text: str) -> bool:
        return not text.startswith("Das")

    def words(self, text: str, samples: Samples) -> tuple[TimedWord, ...] | None:
        return None

    def score(self, text: str, samples: Samples) -> float | None:
        self.heard.append(text)
        return float(samples[0]) + 0.5


class NeverPleased(Listener):
    def score(self, text: str, samples: Samples) -> float:
        super().score(text, samples)
        return (float(samples[0]) + 0.5) / 3


@asynccontextmanager
async def running(listener: Listener, programs: ToyPrograms | None = None, **options: Any) -> AsyncIterator[TTSEngine]:
    toy = programs or ToyPrograms()
    engine = TTSEngine(lambda: toy, EngineOptions(**options), listener=listener)
    engine.start()
    try:
        await until(lambda: engine.state is not EngineState.LOADING)
        yield engine
    finally:
        engine.stop()


def scores(asked: GenerationRequest, piece: str, index: int, takes: int) -> list[float]:
    """What the listener says of a segment's takes, in the order of their seeds."""
    return [
        float(wave(target(piece, asked.seed + take, index, NFE, asked.cfg_strength, asked.sway, 1))[0]) + 0.5
        for take in range(takes)
    ]


def chosen(asked: GenerationRequest, piece: str, index: int, takes: int = 3) -> tuple[int, float, int]:
    """By hand: seeds after the request's until one fits, else the best; its score, and how many takes there were."""
    found = scores(asked, piece, index, takes)
    made = next((number for number, score in enumerate(found, 1) if score >= FITS), takes)
    best = int(np.argmax(found[:made]))
    return asked.seed + best, found[best], made


def by_hand(asked: GenerationRequest, takes: int = 3) -> Samples:
    return expected(
        ToyPrograms(),
        *asked.parts,
        seed=asked.seed,
        nfe=asked.nfe,
        cfg=asked.cfg_strength,
        sway=asked.sway,
        first_seconds=EngineOptions().first_segment_s,
        ref_frames=REF_FRAMES,
        seed_of=lambda piece, index: chosen(asked, piece, index, takes)[0],
    )


@pytest.mark.parametrize("others", [0, 6])
async def test_what_does_not_fit_is_made_again_with_the_next_seeds(others: int) -> None:
    """The samples are those worked out by hand, whoever else is speaking, and the metadata tells what was heard."""
    asked = request(LONG, seed=11, verify=True)
    async with running(Listener()) as engine:
        beside = [engine.submit(request(LONG + str(n), nfe=3 + n, seed=n, verify=n % 2 == 0)) for n in range(others)]
        chunks, end = await collect(engine.submit(asked))
        for ticket in beside:
            await collect(ticket)
    assert isinstance(end, Done)
    np.testing.assert_allclose(pcm(chunks), by_hand(asked), atol=1e-4)
    told = end.metadata.verified
    by_hand_told = [chosen(asked, one.text, index) for index, one in enumerate(told)]
    assert [one.takes for one in told] == [made for _, _, made in by_hand_told]
    assert [one.score for one in told] == pytest.approx([score for _, score, _ in by_hand_told], abs=1e-6)
    assert len(told) == end.metadata.segments > 3 and " ".join(one.text for one in told) == LONG.strip()
    assert len({one.takes for one in told}) > 1, "the seed shows nothing: choose another"
    assert [one.start for one in told] == sorted(one.start for one in told)


async def test_without_verify_nothing_is_heard_and_a_seed_that_fits_gives_the_same_samples() -> None:
    listener = Listener()
    async with running(listener) as engine:
        plain, end = await collect(engine.submit(request("Good day.", seed=3)))
        assert not listener.heard and isinstance(end, Done) and end.metadata.verified == ()
        fitting = next(seed for seed in range(99) if scores(request(seed=seed), "Good day.", 0, 1)[0] >= FITS)
        pair = [
            await collect(engine.submit(request("Good day.", seed=fitting, verify=verify))) for verify in (False, True)
        ]
    assert pcm(pair[0][0]).tolist() == pcm(pair[1][0]).tolist() and listener.heard == ["Good day."]
    assert len(plain) == len(pair[0][0])


async def test_the_listener_is_loaded_before_the_engine_is_ready() -> None:
    """The first request with `verify` read the dictionary and both networks while its listener waited."""
    listener = Listener()
    async with running(listener) as engine:
        assert engine.state is EngineState.READY and listener.loaded == 1


@pytest.mark.parametrize(("options", "takes"), [({"verify_takes": 1}, 1), ({"verify_extra_s": 0.0}, 1), ({}, 3)])
async def test_a_segment_that_never_fits_is_made_so_often_and_the_best_is_sent(
    options: dict[str, Any], takes: int
) -> None:
    asked, listener = request("Good day to you.", seed=8, verify=True), NeverPleased()
    async with running(listener, **options) as engine:
        chunks, end = await collect(engine.submit(asked))
        metric = engine.metrics.registry.get_sample_value("f5_verified_segments_total", {"outcome": "doubtful"})
    assert isinstance(end, Done) and metric == 1
    found = scores(asked, "Good day to you.", 0, takes)
    assert end.metadata.verified[0].takes == takes == len(listener.heard)
    assert end.metadata.verified[0].score == pytest.approx(max(found) / 3, abs=1e-6)
    assert pcm(chunks)[0] == pytest.approx(max(found) - 0.5, abs=1e-4)


async def test_all_segments_of_a_request_share_the_seconds_that_may_be_made_again() -> None:
    listener = NeverPleased()
    async with running(listener, verify_extra_s=4.0) as engine:
        _, end = await collect(engine.submit(request(LONG, verify=True)))
        remade = engine.metrics.registry.get_sample_value("f5_remade_audio_seconds_total")
    assert isinstance(end, Done) and remade is not None and 0 < remade <= 4.0
    takes = [one.takes for one in end.metadata.verified]
    assert takes[0] == 3 and 1 in takes


async def test_no_chunk_leaves_before_its_segment_is_heard() -> None:
    listener, sent = Listener(), 0
    async with running(listener, ToyPrograms(vocode_s=0.002), chunk_s=0.05) as engine:
        async for event in engine.submit(request(LONG, verify=True)):
            if not isinstance(event, Done):
                heard = sum(max(8, int(len(text) / 15 * RATE / 256)) for text in set(listener.heard)) * 256
                sent += getattr(event, "samples", 0)
                assert sent <= heard


async def test_a_language_that_is_not_known_is_sent_as_it_comes() -> None:
    listener = Listener()
    async with running(listener) as engine:
        _, end = await collect(engine.submit(request("Das ist Deutsch.", verify=True)))
    assert isinstance(end, Done) and not listener.heard
    assert [(one.score, one.takes) for one in end.metadata.verified] == [(None, 1)]


async def test_who_leaves_is_not_made_again() -> None:
    """A request that would be made ten times a segment stops between two steps when its client goes away."""
    listener, toy = NeverPleased(), ToyPrograms(step_s=0.005)
    async with running(listener, toy, verify_takes=10, verify_extra_s=1e6) as engine:
        ticket = engine.submit(request(LONG, verify=True))
        await until(lambda: len(listener.heard) >= 2)
        ticket.cancel()
        assert (await error(ticket)).code == "cancelled"
        await until(lambda: engine.health()["queues"]["active"]["depth"] == 0)
        steps = len(toy.steps)
        await asyncio.sleep(0.1)
        assert len(toy.steps) <= steps + 2
        _, end = await collect(engine.submit(request("Good day.")))
    assert isinstance(end, Done)


async def test_a_listener_that_fails_fails_its_request_alone() -> None:
    class Deaf(Listener):
        def score(self, text: str, samples: Samples) -> float | None:
            if re.search("thunder", text):
                raise RuntimeError("deaf")
            return None

    async with running(Deaf()) as engine:
        failed, fine = engine.submit(request("There is thunder.", verify=True)), engine.submit(request(verify=True))
        assert (await error(failed)).code == "internal_error"
        _, end = await collect(fine)
    assert isinstance(end, Done) and end.metadata.verified[0].score is None


async def test_a_segment_whose_second_making_fails_fails_its_request() -> None:
    class Once(ToyPrograms):
        def prefill(self, plan: Any, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Any:
            if seed != 5:
                raise RuntimeError("told to fail")
            return super().prefill(plan, reference, seed=seed, segment_index=segment_index, guided=guided)

    async with running(NeverPleased(), Once()) as engine:
        assert (await error(engine.submit(request(verify=True)))).code == "internal_error"
        _, end = await collect(engine.submit(request()))
    assert isinstance(end, Done)
