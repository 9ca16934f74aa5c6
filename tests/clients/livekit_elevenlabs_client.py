"""LiveKit Agents' ElevenLabs plugin, pointed at a server: `livekit_elevenlabs_client.py URL ENCODING`.

Speaks a text that is written word by word, twice over one connection, and a whole one; prints the samples of each and
the rate.
"""

import asyncio
import json
import sys

import aiohttp
from livekit.plugins.elevenlabs import TTS

TEXT = "The first sentence is here. The second one follows it."


async def main(url: str, encoding: str) -> None:
    rate, counts = 0, []
    async with aiohttp.ClientSession() as session:
        tts = TTS(base_url=f"{url}/v1", api_key="anything", voice_id="ada", encoding=encoding, http_session=session)
        for _ in range(2):
            stream = tts.stream()
            for word in TEXT.split():
                stream.push_text(f"{word} ")
            stream.end_input()
            samples = 0
            async for audio in stream:
                samples += audio.frame.samples_per_channel
                rate = audio.frame.sample_rate
            counts.append(samples)
            await stream.aclose()
        samples = 0
        async with tts.synthesize(TEXT) as whole:
            async for audio in whole:
                samples += audio.frame.samples_per_channel
        counts.append(samples)
        await tts.aclose()
    print(json.dumps({"samples": counts, "rate": rate}))


asyncio.run(main(*sys.argv[1:]))
