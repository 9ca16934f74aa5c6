"""The engine that the load benchmark compares with does serve one request after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from benchmarks.first_come import FirstComeEngine
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import Failed, GenerationRequest, Speech, Ticket, VoiceClip
from tests.clips import file, speech
from tests.toy_programs import ToyPrograms

REQUESTS = 5


@dataclass
class Watched(ToyPrograms):
    """Notes whose segments leave their slots."""

    taken: list[str] = field(default_factory=list)

    def take(self, state: Any, slot: int, plan: Any) -> Any:
        self.taken.append(plan.text.partition(" ")[0])
        return super().take(state, slot, plan)


def test_a_request_flows_to_its_end_before_the_next() -> None:
    # As on a CPU: a turn advances one row.
    programs = Watched(step_s=0.001, step_sizes=(1,), frame_budget=1)

    def request(number: int) -> GenerationRequest:
        words = 80 if number == 0 else 8  # the first takes many times as long as the others
        parts = (Speech(" ".join(words * [f"word{number}"]), VoiceClip(file(speech(1.5)), "Some words.")),)
        return GenerationRequest(parts=parts, request_id=str(number), seed=0, nfe=4)

    async def listen(ticket: Ticket) -> None:
        async for event in ticket:
            assert not isinstance(event, Failed), event

    async def run() -> None:
        engine = FirstComeEngine(lambda: programs, EngineOptions())
        engine.start()
        try:
            while not engine.ready:  # noqa: ASYNC110 - changed by a thread
                await asyncio.sleep(0.01)
            await asyncio.gather(*[listen(engine.submit(request(number))) for number in range(REQUESTS)])
        finally:
            engine.stop()

    asyncio.run(run())
    assert programs.taken.count("word0") > 4, "the first request was meant to have many segments"
    assert programs.taken == sorted(programs.taken)
    assert len(set(programs.taken)) == REQUESTS
