"""The engine that the load benchmark compares with does serve one request after the other."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.first_come import FirstComeEngine
from engine.options import EngineOptions
from inference_types import Failed, GenerationRequest, Speech, Ticket, VoiceClip
from tests.server import wav_clip
from tests.toy_programs import ToyPrograms
from tts_engine import TTSEngine

WORDS = "one two three four five six seven eight nine ten"
NAMES = ("long", "short 0", "short 1", "short 2")


def request(name: str, text: str) -> GenerationRequest:
    parts = (Speech(text, VoiceClip(wav_clip(), "Some words.")),)
    return GenerationRequest(parts=parts, request_id=name, seed=0, nfe=4)


@pytest.mark.parametrize(
    ("engine_type", "ends"), [(FirstComeEngine, NAMES), (TTSEngine, ("short 0", "short 1", "short 2", "long"))]
)
def test_the_order_in_which_requests_end(engine_type: type[TTSEngine], ends: tuple[str, ...]) -> None:
    ended: list[str] = []

    async def listen(name: str, ticket: Ticket) -> None:
        async for event in ticket:
            assert not isinstance(event, Failed), event
        ended.append(name)

    async def run() -> None:
        engine = engine_type(lambda: ToyPrograms(step_s=0.005), EngineOptions())
        engine.start()
        try:
            while not engine.ready:  # noqa: ASYNC110 - changed by a thread
                await asyncio.sleep(0.01)
            tickets = [engine.submit(request(name, WORDS if "short" in name else 12 * f"{WORDS}. ")) for name in NAMES]
            await asyncio.gather(*(listen(name, ticket) for name, ticket in zip(NAMES, tickets, strict=True)))
        finally:
            engine.stop()

    asyncio.run(run())
    assert tuple(ended) == ends
