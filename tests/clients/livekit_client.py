"""LiveKit Agents' OpenAI plugin, pointed at a server: `livekit_client.py URL FORMAT MODEL`; prints samples and rate.

The plugin asks for an audio stream from `tts-1` and for events from other models.
"""

import asyncio
import json
import sys

import openai
from livekit.plugins.openai import TTS


async def main(url: str, format: str, model: str) -> None:
    client = openai.AsyncClient(base_url=f"{url}/v1", api_key="anything", max_retries=0)
    tts = TTS(model=model, voice="alloy", client=client, response_format=format)
    samples, rate = 0, 0
    async with tts.synthesize("The first sentence is here. The second one follows it.") as stream:
        async for audio in stream:
            samples += audio.frame.samples_per_channel
            rate = audio.frame.sample_rate
    await tts.aclose()
    await client.close()
    print(json.dumps({"samples": samples, "rate": rate}))


asyncio.run(main(*sys.argv[1:]))
