"""Requests to an engine of the toy model, and what is read of their tickets."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import (
    AudioChunk,
    Done,
    Failed,
    GenerationRequest,
    RequestError,
    Samples,
    Speech,
    VoiceClip,
)
from f5_tts_server.tts_engine import RequestTicket
from tests.clips import file, speech
from tests.toy_programs import ToyPrograms, expected

NFE = 8
_ids = itertools.count()


def clip(seconds: float = 1.0) -> VoiceClip:
    return VoiceClip(file(speech(seconds)), "some words")


CLIP = clip()
REF_FRAMES = 93


def request(text: str = "Hello there, how are you today?", **changes: Any) -> GenerationRequest:
    made = GenerationRequest(
        parts=(Speech(text, CLIP),), request_id=f"r{next(_ids)}", seed=5, nfe=NFE, format="pcm", timeout_s=30
    )
    return dataclasses.replace(made, **changes)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


async def collect(ticket: RequestTicket) -> tuple[list[AudioChunk], Done | Failed]:
    events = [event async for event in ticket]
    terminal = [event for event in events if not isinstance(event, AudioChunk)]
    assert len(terminal) == 1 and events[-1] is terminal[0], "there must be exactly one terminal event, the last"
    chunks = [event for event in events if isinstance(event, AudioChunk)]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    return chunks, terminal[0]


def pcm(chunks: list[AudioChunk]) -> Samples:
    data = b"".join(chunk.data for chunk in chunks)
    return (np.frombuffer(data, "<i2") / 32767).astype(np.float32)


async def audio(ticket: RequestTicket) -> Samples:
    chunks, end = await collect(ticket)
    assert isinstance(end, Done), end
    return pcm(chunks)


async def error(ticket: RequestTicket) -> RequestError:
    _, end = await collect(ticket)
    assert isinstance(end, Failed)
    return end.error


def by_hand(
    toy: ToyPrograms, asked: GenerationRequest, first_seconds: float = EngineOptions().first_segment_s
) -> Samples:
    return expected(
        toy,
        *asked.parts,
        seed=asked.seed,
        nfe=asked.nfe,
        cfg=asked.cfg_strength,
        sway=asked.sway,
        first_seconds=first_seconds,
        ref_frames=REF_FRAMES,
    )
