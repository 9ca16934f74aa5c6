"""LiteLLM's speech, pointed at a server: `litellm_client.py URL FOLDER FORMAT...`; writes a file of each format."""

import json
import os
import sys
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads its table of prices

import litellm


def main(url: str, folder: str, *formats: str) -> None:
    lengths = {}
    for format in formats:
        reply = litellm.speech(
            model="openai/tts-1",
            voice="ada",
            input="The first sentence is here. The second one follows it.",
            api_base=f"{url}/v1",
            api_key="anything",
            response_format=format,
            speed=1.25,
            max_retries=0,
        )
        (Path(folder) / format).write_bytes(reply.content)
        lengths[format] = len(reply.content)
    print(json.dumps(lengths))


main(*sys.argv[1:])
