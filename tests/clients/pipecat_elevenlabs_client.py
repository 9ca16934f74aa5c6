"""Pipecat's ElevenLabs WebSocket service in a pipeline: `pipecat_elevenlabs_client.py URL`; prints samples and rate."""

import asyncio
import json
import sys

from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame, TTSStoppedFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService


class Listener(FrameProcessor):
    """Counts the audio that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = 0
        self.rate = 0
        self.errors: list[str] = []
        self.stopped = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.samples += len(frame.audio) // 2
            self.rate = frame.sample_rate
        if isinstance(frame, ErrorFrame):
            self.errors.append(str(frame.error))
        if isinstance(frame, TTSStoppedFrame):
            self.stopped.set()
        await self.push_frame(frame, direction)


async def main(url: str) -> None:
    service = ElevenLabsTTSService(
        api_key="anything",
        url=url.replace("http", "ws", 1),
        settings=ElevenLabsTTSService.Settings(voice="ada", model="eleven_turbo_v2_5"),
    )
    listener = Listener()
    task = PipelineTask(Pipeline([service, listener]), params=PipelineParams(audio_out_sample_rate=24_000))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    await task.queue_frames([TTSSpeakFrame("The first sentence is here. The second one follows it.")])
    await asyncio.wait_for(listener.stopped.wait(), 30)
    await task.queue_frames([EndFrame()])
    await running
    print(json.dumps({"samples": listener.samples, "rate": listener.rate, "errors": listener.errors}))


asyncio.run(main(sys.argv[1]))
