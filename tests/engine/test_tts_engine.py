"""The four stages together, on the toy model whose samples are known in advance."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f5_tts_server.engine.job import Job
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.formats.encoder import FORMATS
from f5_tts_server.inference_types import (
    INFILL_FADE_FRAMES,
    AudioChunk,
    Cue,
    CuesTooShort,
    Done,
    GenerationRequest,
    Infill,
    Pause,
    Recorded,
    Refused,
    RequestError,
    Speech,
    SpokenWord,
    VoiceClip,
)
from f5_tts_server.tts_engine import EngineState, TTSEngine
from tests.asked import CLIP, NFE, audio, by_hand, clip, collect, error, pcm, request, until
from tests.toy_programs import RATE, Plan, ToyPrograms, target, wave

LONG = "It was a bright cold day in April and the clocks were striking thirteen as the wind blew dust around. " * 4

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(programs: ToyPrograms | None = None, **options: Any) -> AsyncIterator[TTSEngine]:
    toy = programs or ToyPrograms()
    engine = TTSEngine(lambda: toy, EngineOptions(**options))
    engine.start()
    try:
        await until(lambda: engine.state is not EngineState.LOADING)
        yield engine
    finally:
        engine.stop()


@pytest.mark.parametrize("run_ahead", [0, 1])
async def test_samples_are_those_computed_by_hand(run_ahead: int) -> None:
    toy = ToyPrograms(run_ahead=run_ahead)
    async with running(toy) as engine:
        asked = request(LONG)
        ticket = engine.submit(asked)
        await ticket.accepted()
        chunks, end = await collect(ticket)
    assert isinstance(end, Done)
    samples = pcm(chunks)
    np.testing.assert_allclose(samples, by_hand(toy, asked), atol=1e-4)
    assert end.metadata.duration == len(samples) / RATE
    assert end.metadata.total_chunks == len(chunks)
    assert end.metadata.segments > 3
    assert {chunk.samples for chunk in chunks[:-1]} == {RATE // 4}
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_a_request_gives_the_same_bytes_alone_and_among_others() -> None:
    async def speak(others: int) -> bytes:
        async with running() as engine:
            noise = [engine.submit(request(LONG + str(i), nfe=3 + i, seed=i)) for i in range(others)]
            mine = engine.submit(request(LONG, seed=77))
            chunks, _ = await collect(mine)
            for ticket in noise:
                await audio(ticket)
            return b"".join(chunk.data for chunk in chunks)

    assert await speak(0) == await speak(8)


async def test_audio_leaves_while_later_segments_are_still_made() -> None:
    toy = ToyPrograms(step_s=0.005)
    async with running(toy) as engine:
        ticket = engine.submit(request(LONG))
        async for event in ticket:
            assert isinstance(event, AudioChunk)
            break
        made = len(toy.steps)
        ticket.cancel()
    assert made < 3 * NFE, "first audio came only after most of the flow was done"


async def test_a_newcomer_speaks_before_a_long_request_goes_on() -> None:
    toy = ToyPrograms(step_s=0.005, frame_budget=256)
    async with running(toy) as engine:
        long = engine.submit(request(LONG * 5))
        await until(lambda: len(toy.steps) > 3 * NFE)
        before = len(toy.steps)
        newcomer = engine.submit(request("Good day."))
        await audio(newcomer)
        taken = len(toy.steps) - before
        long.cancel()
    # Its own steps, plus what was dispatched while its reference was prepared and its audio sent.
    assert taken <= NFE + 12


async def test_the_same_reference_is_prepared_once() -> None:
    toy = ToyPrograms()
    async with running(toy) as engine:
        await asyncio.gather(*[audio(engine.submit(request(seed=i))) for i in range(8)])
        assert toy.references == 1
        await audio(engine.submit(request(parts=(Speech("Another voice.", clip(2.0)),))))
        assert toy.references == 2


async def test_parts_are_spoken_in_order_with_exact_pauses_and_lengths() -> None:
    async with running() as engine:
        other = clip(1.5)
        parts = (
            Pause(0.25),
            Speech("One two three.", CLIP),
            Pause(0.5),
            Speech("Four five six seven eight nine.", other, seconds=3.0),
            Pause(0.1),
        )
        samples = await audio(engine.submit(request(parts=parts)))
        alone = await audio(engine.submit(request("One two three.")))
        assert len(samples) == round(0.25 * RATE) + len(alone) + round(0.5 * RATE) + 3 * RATE + round(0.1 * RATE)
        assert not samples[: RATE // 4].any()
        np.testing.assert_array_equal(samples[RATE // 4 : RATE // 4 + len(alone)], alone)
        assert not samples[RATE // 4 + len(alone) :][: RATE // 2].any()


async def test_a_fixed_length_holds_over_many_segments() -> None:
    async with running() as engine:
        samples = await audio(engine.submit(request(parts=(Speech(LONG, CLIP, seconds=20.0),))))
        assert len(samples) == 20 * RATE


async def test_text_may_still_be_written_while_it_is_spoken() -> None:
    async with running() as engine:
        ticket = engine.submit(request(parts=(), open=True))
        await ticket.accepted()
        ticket.append(Speech("One two three.", CLIP))
        stream = aiter(ticket)
        heard = [await anext(stream)]
        ticket.append(Pause(0.25))
        ticket.append(Speech("Four five six.", CLIP))
        ticket.finish()
        heard += [event async for event in stream]
        assert isinstance(heard.pop(), Done)
        whole = await audio(
            engine.submit(request(parts=(Speech("One two three.", CLIP), Pause(0.25), Speech("Four five six.", CLIP))))
        )
        np.testing.assert_array_equal(pcm([e for e in heard if isinstance(e, AudioChunk)]), whole)
        with pytest.raises(RequestError, match="has ended"):
            ticket.append(Pause(1))


async def test_a_part_is_heard_to_its_end_while_the_next_is_not_written_yet() -> None:
    async with running() as engine:
        alone = await audio(engine.submit(request("One two three.")))
        ticket = engine.submit(request(parts=(Speech("One two three.", CLIP),), open=True))
        stream = aiter(ticket)
        heard = 0
        while heard < len(alone):
            event = await asyncio.wait_for(anext(stream), 10)
            assert isinstance(event, AudioChunk)
            heard += event.samples
        assert heard == len(alone)
        ticket.cancel()


async def test_a_finished_request_takes_no_more_text() -> None:
    async with running(ToyPrograms(step_s=0.01)) as engine:
        ticket = engine.submit(request())
        with pytest.raises(RequestError, match="takes no more text"):
            ticket.append(Pause(1))
        ticket.finish()
        await audio(ticket)


async def test_an_open_request_that_gets_no_text_expires() -> None:
    async with running() as engine:
        ticket = engine.submit(request(parts=(), open=True, timeout_s=0.3))
        assert (await error(ticket)).code == "deadline_exceeded"


async def test_cancelled_requests_give_up_their_slots_within_a_step() -> None:
    toy = ToyPrograms(step_s=0.02)
    async with running(toy) as engine:
        ticket = engine.submit(request(LONG, nfe=64))
        await until(lambda: len(toy.steps) > 2)
        ticket.cancel()
        made = len(toy.steps)
        assert (await error(ticket)).code == "cancelled"
        await until(lambda: not any(slot["in_use"] for slot in engine.health()["slots"].values()))
        assert len(toy.steps) <= made + 1
        ticket.cancel()  # harmless


async def test_an_expired_request_ends_with_its_limit_named() -> None:
    async with running(ToyPrograms(step_s=0.02)) as engine:
        failure = await error(engine.submit(request(LONG, nfe=64, timeout_s=0.3)))
        assert failure.status == 504 and "timeout_s of 0.3 s" in failure.message


async def test_a_reader_that_stops_reading_is_given_up_and_bounded() -> None:
    toy = ToyPrograms()
    async with running(toy, stall_timeout_s=0.4, send_buffer_s=3.0) as engine:
        ticket = engine.submit(request(LONG * 20))
        await ticket.accepted()
        await until(lambda: not engine.health()["queues"]["active"]["depth"])
        made = sum(len(rows) for _, rows in toy.steps)
        assert made <= NFE * 12, "audio was made far ahead of a reader that does not read"
        assert (await error(ticket)).code == "reader_stalled"


async def test_readers_that_read_nothing_make_nobody_wait() -> None:
    """Twenty clients that read nothing once held every place until each was given up: a request waited for 56 s."""
    async with running(max_concurrent_requests=2, send_buffer_s=3.0, stall_timeout_s=300.0) as engine:
        asleep = [engine.submit(request(LONG * 20, timeout_s=300)) for _ in range(6)]
        asked = request()
        samples = await asyncio.wait_for(audio(engine.submit(asked)), 60)
        assert len(samples) > RATE
        for ticket in asleep:
            ticket.cancel()


async def test_a_long_text_that_is_far_ahead_of_its_listener_makes_nobody_wait() -> None:
    """A client may take in minutes of audio that nobody has heard yet, and once held its place until all was made."""
    async with running(ToyPrograms(step_s=0.002), max_concurrent_requests=1) as engine:
        long = engine.submit(request(LONG * 20))
        reading = asyncio.create_task(audio(long))
        await audio(engine.submit(request()))
        assert not reading.done()
        long.cancel()
        with suppress(AssertionError):  # it did not end well
            await reading


async def test_a_reader_that_wakes_up_gets_everything() -> None:
    toy = ToyPrograms()
    async with running(toy, max_concurrent_requests=1, send_buffer_s=3.0) as engine:
        asked = request(LONG)
        ticket = engine.submit(asked)
        await audio(engine.submit(request()))  # only when the first one rests
        np.testing.assert_allclose(await audio(ticket), by_hand(toy, asked), atol=1e-4)


async def test_requests_whose_text_is_still_being_written_make_nobody_wait() -> None:
    async with running(max_concurrent_requests=2) as engine:
        silent = [engine.submit(request(parts=(), open=True)) for _ in range(4)]
        await asyncio.wait_for(audio(engine.submit(request())), 60)
        for ticket in silent:
            ticket.append(Speech("At last.", CLIP))
            ticket.finish()
            assert len(await audio(ticket)) > RATE // 4


async def test_a_cancelled_request_is_dropped_between_the_pieces_of_its_text() -> None:
    """A long text was cut and planned to its end although nobody waited for it any more."""

    class Piecewise(ToyPrograms):
        pieces = 0

        def plan(self, text: str, reference: Any, *, speed: float, seconds: float | None) -> Plan:
            self.pieces += 1
            if self.pieces == 3:
                ticket.cancel()
            return super().plan(text, reference, speed=speed, seconds=seconds)

    toy = Piecewise()
    async with running(toy) as engine:
        ticket = engine.submit(request(parts=(Speech(LONG * 4, CLIP, seconds=120.0),)))
        assert (await error(ticket)).code == "cancelled"
        await audio(engine.submit(request("Good day.")))
        assert toy.pieces == 4  # and the one of the request after it


async def test_an_encoder_that_cannot_be_made_fails_its_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ran out while a clip was begun, which ended the stage and with it the server."""

    def no_memory(*_: int | None) -> Any:
        raise MemoryError

    monkeypatch.setitem(FORMATS, "opus", dataclasses.replace(FORMATS["opus"], open=no_memory))
    async with running() as engine:
        bad, good = engine.submit(request(LONG, format="opus")), engine.submit(request())
        assert (await error(bad)).code == "internal_error"
        await audio(good)
        assert engine.ready


async def test_a_slow_reader_gets_everything() -> None:
    toy = ToyPrograms()
    async with running(toy, stall_timeout_s=5.0, send_buffer_s=1.0) as engine:
        asked = request(LONG)
        chunks = []
        async for event in engine.submit(asked):
            if isinstance(event, AudioChunk):
                chunks.append(event)
                await asyncio.sleep(0.005)
        np.testing.assert_allclose(pcm(chunks), by_hand(toy, asked), atol=1e-4)


async def test_time_that_the_reader_takes_does_not_count_against_the_deadline() -> None:
    async with running(ToyPrograms(), stall_timeout_s=10.0, send_buffer_s=1.0) as engine:
        ticket = engine.submit(request(LONG * 3, timeout_s=0.8))
        await ticket.accepted()
        stream = aiter(ticket)
        await anext(stream)
        await asyncio.sleep(1.2)
        assert isinstance([event async for event in stream][-1], Done)


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    async with running(ToyPrograms(step_s=0.05), max_concurrent_requests=2, queue_limit=1) as engine:
        tickets = [engine.submit(request(LONG)) for _ in range(3)]
        with pytest.raises(Refused) as refusal:
            engine.submit(request())
        assert refusal.value.status == 429 and refusal.value.retry_after and refusal.value.retry_after >= 1
        for ticket in tickets:
            ticket.cancel()
        await until(lambda: not engine.health()["queues"]["active"]["depth"])
        await audio(engine.submit(request()))


async def test_a_request_that_cannot_be_done_in_time_is_refused_at_once() -> None:
    toy = ToyPrograms(step_s=0.1)
    async with running(toy, queue_limit=50) as engine:
        tickets = [engine.submit(request(LONG * 20, nfe=64, timeout_s=600)) for _ in range(2)]
        await until(lambda: len(toy.steps) > 2)
        with pytest.raises(Refused, match="longer than this request's timeout_s"):
            engine.submit(request(timeout_s=0.5))
        for ticket in tickets:
            ticket.cancel()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nfe": 0}, "nfe"),
        ({"nfe": 65}, "nfe"),
        ({"cfg_strength": float("nan")}, "cfg_strength"),
        ({"seed": -1}, "seed"),
        ({"timeout_s": 1e9}, "timeout_s"),
        ({"format": "midi"}, "format"),
        ({"parts": ()}, "text"),
        ({"parts": (Speech(" \n", CLIP),)}, "text"),
        ({"parts": (Speech("x" * 10_001, CLIP),)}, "text"),
        ({"parts": (Speech("x", CLIP, speed=9),)}, "speed"),
        ({"parts": (Speech("x", CLIP, seconds=1e9),)}, "seconds"),
        ({"parts": (Pause(11),)}, "pause"),
        ({"parts": (Pause(1),) * 1001}, "text"),
    ],
)
async def test_what_is_over_a_limit_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    async with running() as engine:
        with pytest.raises(RequestError) as refusal:
            engine.submit(request(**change))
        assert refusal.value.status == 422 and refusal.value.field == field
        assert refusal.value.message.startswith(field)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (Speech("Hello.", VoiceClip(b"no audio", "x")), "reference"),
        (Speech("Hello.", VoiceClip(CLIP.audio, " ")), "reference"),
        (Speech("...", CLIP), "text"),
        (Speech("Hello.", CLIP, seconds=60.0), "seconds"),
    ],
)
async def test_bad_input_anywhere_in_a_request_is_known_before_it_is_accepted(part: Speech, field: str) -> None:
    async with running() as engine:
        ticket = engine.submit(request(parts=(Speech("First.", CLIP), part)))
        with pytest.raises(RequestError) as refusal:
            await ticket.accepted()
        assert refusal.value.status == 422 and refusal.value.field == field


@pytest.mark.parametrize("fail_late", [False, True])
@pytest.mark.parametrize("stage", ["prefill", "insert", "step", "take", "vocode"])
async def test_a_failing_request_touches_no_other(stage: str, fail_late: bool) -> None:
    toy = ToyPrograms(fail_late=fail_late, run_ahead=int(fail_late), step_s=0.001)
    async with running(toy) as engine:
        asked = [request(LONG, seed=i) for i in range(3)]
        good = [engine.submit(one) for one in asked]
        bad = [engine.submit(request(f"Now fail-{stage} please.")) for _ in range(2)]
        for ticket in bad:
            failure = await error(ticket)
            assert failure.status == 500 and ticket.request_id in failure.message
        for one, ticket in zip(asked, good, strict=True):
            np.testing.assert_allclose(await audio(ticket), by_hand(toy, one), atol=1e-4)
        assert engine.ready


async def test_values_that_are_not_finite_fail_their_request_only() -> None:
    async with running() as engine:
        good, bad = engine.submit(request()), engine.submit(request("This is not-finite."))
        assert (await error(bad)).code == "not_finite"
        await audio(good)


@pytest.mark.parametrize("stage", ["prefill", "step", "vocode"])
async def test_a_dead_stage_fails_everything_and_turns_readiness_off(stage: str) -> None:
    async with running(ToyPrograms(step_s=0.005)) as engine:
        others = [engine.submit(request(LONG)) for _ in range(3)]
        engine.submit(request(f"Now die-{stage}."))
        for ticket in others:
            assert (await error(ticket)).code == "stage_died"
        assert engine.broken and not engine.ready
        with pytest.raises(Refused) as refusal:
            engine.submit(request())
        assert refusal.value.status == 503


async def test_a_device_that_always_fails_ends_the_stage() -> None:
    async with running() as engine:
        tickets = [engine.submit(request("fail-step", seed=i)) for i in range(12)]
        assert {(await error(ticket)).code for ticket in tickets} <= {"internal_error", "stage_died"}
        await until(lambda: engine.broken)


async def test_a_model_that_does_not_load_is_reported() -> None:
    def load() -> ToyPrograms:
        raise FileNotFoundError("no weights at /nowhere")

    engine = TTSEngine(load, EngineOptions())
    engine.start()
    await until(lambda: engine.broken)
    assert "no weights at /nowhere" in engine.health()["failure"]
    engine.stop()


async def test_draining_finishes_what_is_open_and_takes_nothing_in() -> None:
    async with running(ToyPrograms(step_s=0.002)) as engine:
        ticket = engine.submit(request(LONG))
        draining = asyncio.create_task(engine.drain(20))
        await until(lambda: not engine.ready)
        with pytest.raises(Refused) as refusal:
            engine.submit(request())
        assert refusal.value.status == 503
        assert len(await audio(ticket)) > 0
        await draining


async def test_while_draining_nobody_is_told_to_wait_longer_than_that_takes() -> None:
    """A server with 6 s of grace left said `Retry-After: 711`, the time of all the work it would never do."""
    async with running(ToyPrograms(step_s=0.05)) as engine:
        tickets = [engine.submit(request(LONG * 20, nfe=64)) for _ in range(4)]
        draining = asyncio.create_task(engine.drain(2))
        await until(lambda: not engine.ready)
        with pytest.raises(Refused) as refusal:
            engine.submit(request())
        assert refusal.value.retry_after is not None and refusal.value.retry_after <= 2
        for ticket in tickets:
            ticket.cancel()
        await draining


async def test_what_outlasts_the_grace_period_ends_with_an_error() -> None:
    async with running(ToyPrograms(step_s=0.02)) as engine:
        ticket = engine.submit(request(LONG * 4))
        await engine.drain(0.2)
        assert (await error(ticket)).code == "shutting_down"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["plain", "open", "fail-step", "fail-vocode", "expire", "bad"]),
            st.sampled_from(["read", "cancel", "cancel late", "finish"]),
        ),
        min_size=1,
        max_size=12,
        # More of them at once are a broken device, which the engine gives up on.
    ).filter(lambda script: sum(kind == "fail-step" for kind, _ in script) <= 2)
)
def test_every_request_ends_exactly_once(script: list[tuple[str, str]]) -> None:
    """Whatever is submitted, cancelled, failed and finished, in whatever order."""

    async def one(engine: TTSEngine, kind: str, deed: str, number: int) -> None:
        text = f"now {kind} please" if kind.startswith("fail") else f"some words {number} of many"
        special: dict[str, dict[str, Any]] = {
            "open": {"open": True},
            "expire": {"timeout_s": 0.01},
            "bad": {"parts": (Speech("Hello.", VoiceClip(b"no audio", "x")),)},
        }
        changes = special.get(kind, {})
        ticket = engine.submit(request(text, nfe=2 + number % 3, **changes))
        if deed == "cancel":
            ticket.cancel()
        reading = asyncio.create_task(collect(ticket))  # asserts that there is one terminal event, the last
        await asyncio.sleep(0.002 * (number % 4))
        if deed == "cancel late":
            ticket.cancel()
        if kind == "open":
            with suppress(RequestError):
                ticket.append(Speech("and a few more words", CLIP))
            ticket.finish()
        _, end = await reading
        assert isinstance(end, Done) or kind not in ("plain", "open") or deed.startswith("cancel")

    async def all_of_them() -> None:
        async with running(ToyPrograms(step_s=0.001)) as engine:
            await asyncio.gather(*[one(engine, kind, deed, i) for i, (kind, deed) in enumerate(script)])
            await until(lambda: not any(slot["in_use"] for slot in engine.health()["slots"].values()))
            await until(lambda: not engine.health()["queues"]["active"]["depth"])
            assert engine.ready

    asyncio.run(all_of_them())


async def test_the_engine_keeps_nothing_of_requests_that_ended() -> None:
    """Guards against growth with the number of requests served."""
    async with running(reference_cache_bytes=200_000) as engine:
        for i in range(30):
            ticket = engine.submit(request(parts=(Speech("Hello you.", clip(1 + i / 20)),)))
            if i % 3:
                await audio(ticket)
            else:
                ticket.cancel()
        await until(lambda: not engine.health()["queues"]["active"]["depth"])
        assert engine._references.nbytes <= 200_000
        await until(lambda: not engine._ledger._accounts)  # closed just after the reader has its last event
        await audio(engine.submit(request()))  # the postprocess stage drops ended clips when it next looks
        assert all(not depth["depth"] for depth in engine.health()["queues"].values())


async def test_memory_after_five_hundred_requests_is_what_it_was_after_fifty() -> None:
    """Ended requests, their audio and their references must all be gone, a fourth of them cancelled on the way."""
    async with running(reference_cache_bytes=500_000, max_concurrent_requests=8, queue_limit=100) as engine:

        async def serve(numbers: range) -> int:
            for start in numbers[::10]:
                tickets = [
                    engine.submit(request(nfe=1, parts=(Speech(f"Number {i}.", clip(1 + i % 97 / 50)),)))
                    for i in range(start, start + 10)
                ]
                for i, ticket in enumerate(tickets):
                    if i % 4 == 3:
                        ticket.cancel()
                    await collect(ticket)
            gc.collect()
            return psutil.Process().memory_info().rss

        after_fifty = await serve(range(50))
        after_all = await serve(range(50, 500))
        for _ in range(50):  # a stage lets go of a request when it next looks
            jobs = sum(isinstance(thing, Job) for thing in gc.get_objects())
            if jobs <= 8:
                break
            await asyncio.sleep(0.1)
            gc.collect()
    assert jobs <= 8, "ended requests are still held"
    assert after_all - after_fifty < 24 * 2**20, f"grew by {(after_all - after_fifty) / 2**20:.1f} MiB"


async def test_a_text_that_the_voice_cannot_speak_is_the_callers_fault() -> None:
    """What a front end says while it cuts a text was an internal error, a 500."""

    class EnglishOnly(ToyPrograms):
        def split(self, text: str, reference: Any, *, speed: float, first_seconds: float | None) -> Iterator[str]:
            raise ValueError("this voice has no sounds for '你'")

    async with running(EnglishOnly()) as engine:
        failure = await error(engine.submit(request("你好")))
        assert (failure.status, failure.field) == (422, "text")
        assert "no sounds for '你'" in failure.message
        assert engine.ready


async def test_cues_are_heard_in_their_time() -> None:
    """What has room is spoken at its natural length, what has less faster; zeros are between."""
    # 30 characters are two seconds at the toy's rate.
    text = "Thirty characters of a text. A"
    cues = (Cue(1, 0.5, 3.0, 1.4), Cue(2, 3.0, 4.6, 1.4), Cue(3, 13.0, 15.0, 1.4))
    async with running() as engine:
        parts = tuple(Speech(text, CLIP, cue=cue) for cue in cues)
        samples = await audio(engine.submit(request(parts=parts)))
        again = await audio(engine.submit(request(parts=parts)))
        assert engine.metrics.cues._value.get() == 6 and not engine.metrics.overruns._value.get()
    np.testing.assert_array_equal(samples, again)
    assert len(samples) == 15 * RATE
    for start, stop, silent_until in ((0.5, 2.5, 2.98), (3.0, 4.6, 12.98), (13.0, 15.0, 15.0)):
        assert samples[round(start * RATE)] and samples[round((stop - 0.05) * RATE)]
        assert not samples[round((stop + 0.06) * RATE) : round(silent_until * RATE)].any()


async def test_cues_without_enough_time_are_all_named() -> None:
    text = "Thirty characters of a text. A"

    def asked(*, overrun: bool) -> GenerationRequest:
        cues = [Cue(1, 0.0, 1.0, 1.4, overrun), Cue(2, 1.0, 3.0, 1.4, overrun), Cue(3, 3.0, 4.2, 1.4, overrun)]
        return request(parts=tuple(Speech(text, CLIP, cue=cue) for cue in cues))

    async with running() as engine:
        refused = engine.submit(asked(overrun=False))
        with pytest.raises(CuesTooShort, match=r"cue 1 needs 1\.42 s and has 1\.00 s; cue 3 needs 1\.42 s") as told:
            await refused.accepted()
        assert [late.cue for late in told.value.overruns] == [1, 3] and told.value.status == 422
        chunks, end = await collect(engine.submit(asked(overrun=True)))
    assert isinstance(end, Done)
    assert end.metadata.overruns == told.value.overruns
    samples = pcm(chunks)
    assert len(samples) > 4.3 * RATE and samples[round(1.1 * RATE) : round(1.3 * RATE)].any()


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((Speech("Hello.", CLIP, cue=Cue(1, 0, 1)), Speech("Hello.", CLIP)), "either all parts"),
        ((Speech("Hello.", CLIP, cue=Cue(1, 0, 1)), Pause(1.0)), "either all parts"),
        ((Speech("Hello.", CLIP, cue=Cue(1, 2, 1)),), "cue is 1"),
        ((Speech("Hello.", CLIP, cue=Cue(1, 2, 3)), Speech("Hello.", CLIP, cue=Cue(2, 1, 3))), "cue is 1"),
        ((Speech("Hello.", CLIP, cue=Cue(1, 0, 1e9)),), "cue is 1000000000"),
        ((Speech("Hello.", CLIP, cue=Cue(1, 0, 1, fastest=9)),), "speed is 9"),
        (tuple(Speech("Hello.", CLIP, cue=Cue(i, i, i + 1)) for i in range(501)), "501; the limit is 500"),
    ],
)
async def test_cues_are_limited(parts: tuple[Any, ...], told: str) -> None:
    async with running() as engine:
        with pytest.raises(RequestError, match=told):
            engine.submit(request(parts=parts))


async def test_an_edited_recording_keeps_its_samples() -> None:
    """Recorded samples come out as the 16-bit integers they were, loud ones too, which the limiter would bend."""
    integers = np.random.default_rng(8).integers(-32767, 32768, 3 * RATE)
    whole = (integers / 32767).astype(np.float32)
    first, last = RATE, 2 * RATE
    fade = INFILL_FADE_FRAMES * 256
    window = whole[RATE // 2 : RATE // 2 * 5]
    infill = Infill(window, first - RATE // 2, last - RATE // 2, (SpokenWord("So", 0, 0.4),), "Words that are new.", ())
    parts = (Recorded(whole[: first - fade]), infill, Recorded(whole[last + fade :]))
    async with running() as engine:
        chunks, end = await collect(engine.submit(request(parts=parts)))
        only, _ = await collect(engine.submit(request(parts=(Recorded(whole),))))
        assert engine.metrics.infills._value.get() == 1
    assert isinstance(end, Done)
    said = np.frombuffer(b"".join(chunk.data for chunk in chunks), "<i2")
    gap = int(len(infill.text) / 15 * RATE / 256) * 256
    assert len(said) == first + gap + RATE
    np.testing.assert_array_equal(said[: first - fade], integers[: first - fade])
    np.testing.assert_array_equal(said[len(said) - RATE + fade :], integers[last + fade :])
    np.testing.assert_array_equal(np.frombuffer(b"".join(chunk.data for chunk in only), "<i2"), integers)
    # The gap's frames are the toy's second to last but one: one more on either side hears the join.
    frames = gap // 256 + 3
    made = wave(target(infill.text, 5, 0, NFE, 2.0, False, frames))[256:-512]
    np.testing.assert_allclose(said[first : first + gap] / 32767, made, atol=1e-4)


async def test_an_infill_that_is_too_long_is_refused() -> None:
    window = np.ones(2 * RATE, np.float32)
    infill = Infill(window, RATE, RATE, (), "Too long for one segment. " * 10, ())
    async with running() as engine:
        with pytest.raises(RequestError, match="the limit is 1024"):
            await engine.submit(request(parts=(infill,))).accepted()
