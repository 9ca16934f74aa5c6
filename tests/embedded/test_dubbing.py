"""A dub in the embedded voice: its cues are heard in their time, measured from the sound."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from f5_tts_server.embedded.config import ASSETS, CONFIG
from f5_tts_server.inference_types import AudioChunk, Cue, Done, GenerationRequest, Samples, Speech
from f5_tts_server.loading import load_programs
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import EngineState, TTSEngine
from f5_tts_server.voices.store import VoiceStore

RATE = 24_000
LATE_S = 0.04
CUES = [
    ("ada", 0.0, 1.4, "Is the kettle on?"),
    ("ben", 1.4, 3.3, "It has been on since noon, I think."),
    ("ada", 5.0, 6.0, "Fish and chips?"),
    ("dan", 6.5, 7.35, "How did it happen?"),
    ("cleo", 9.0, 12.0, "She sells sea shells by the sea shore."),
]

pytestmark = pytest.mark.anyio


def sounding(samples: Samples) -> np.ndarray:
    """Which milliseconds are louder than 30 dB below the loudest."""
    power = np.square(samples[: len(samples) // 24 * 24]).reshape(-1, 24).mean(axis=1)
    power = np.convolve(power, np.ones(5) / 5, "same")
    return power > power.max() * 1e-3


async def speak(engine: TTSEngine, request: GenerationRequest) -> tuple[Samples, Done]:
    data = []
    async for event in engine.submit(request):
        if isinstance(event, AudioChunk):
            data.append(event.data)
        else:
            assert isinstance(event, Done), event
            return (np.frombuffer(b"".join(data), "<i2") / 32767).astype(np.float32), event
    raise AssertionError


async def test_cues_begin_and_end_in_their_time() -> None:
    settings = Settings(buckets=(608,), slots=2, device_mesh="1x1")
    engine = TTSEngine(lambda: load_programs(settings), settings.engine_options())
    voices = VoiceStore(None, ASSETS)
    parts = tuple(
        Speech(text, voices.get(voice).clip, cue=Cue(number, start, end, 1.4))
        for number, (voice, start, end, text) in enumerate(CUES, 1)
    )
    sampling = CONFIG.sampling
    request = GenerationRequest(
        parts, "dub", seed=11, nfe=sampling.nfe, cfg_strength=sampling.cfg_strength, sway=sampling.sway, format="pcm"
    )
    engine.start()
    try:
        while engine.state is EngineState.LOADING:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.1)
        samples, done = await speak(engine, request)
        again, _ = await speak(engine, request)
    finally:
        await asyncio.to_thread(engine.stop)
    np.testing.assert_array_equal(samples, again)
    assert done.metadata.overruns == () and len(samples) == 12 * RATE
    loud = sounding(samples)
    for (_, start, end, _), following in zip(CUES, [*(cue[1] for cue in CUES[1:]), 12.0], strict=True):
        first, last = round(start * 1000), round(end * 1000)
        onset = (
            first - 40 + int(np.flatnonzero(loud[max(first - 40, 0) :])[0]) if first else int(np.flatnonzero(loud)[0])
        )
        assert abs(onset - first) <= 40, f"the cue at {start} s begins at {onset / 1000} s"
        silent = samples[round((end + LATE_S) * RATE) : round((following - LATE_S) * RATE)]
        assert not silent.any(), f"the cue until {end} s goes on"
        assert np.flatnonzero(loud[first : last + 40])[-1] > 300, "next to nothing was said"
