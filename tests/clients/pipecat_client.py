"""Pipecat's OpenAI speech service in a pipeline, pointed at a server: `pipecat_client.py URL`; prints samples and rate."""

import asyncio
import json
import sys

from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService


class Listener(FrameProcessor):
    """Counts the audio that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = 0
        self.rate = 0
        self.errors: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.samples += len(frame.audio) // 2
            self.rate = frame.sample_rate
        if isinstance(frame, ErrorFrame):
            self.errors.append(str(frame.error))
        await self.push_frame(frame, direction)


async def main(url: str) -> None:
    service = OpenAITTSService(
        api_key="anything", base_url=f"{url}/v1", settings=OpenAITTSService.Settings(voice="alloy", model="tts-1")
    )
    listener = Listener()
    task = PipelineTask(Pipeline([service, listener]), params=PipelineParams(audio_out_sample_rate=24_000))
    await task.queue_frames([TTSSpeakFrame("The first sentence is here. The second one follows it."), EndFrame()])
    await PipelineRunner(handle_sigint=False).run(task)
    print(json.dumps({"samples": listener.samples, "rate": listener.rate, "errors": listener.errors}))


asyncio.run(main(sys.argv[1]))
