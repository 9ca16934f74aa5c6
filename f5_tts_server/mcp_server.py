"""`f5-tts-serve mcp`: a Model Context Protocol server over standard input and output, with one tool that speaks to a file.

It calls a running server over HTTP, so that it starts at once and holds no model.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx2
from pydantic import Field

if TYPE_CHECKING:
    from mcp.server import MCPServer

FORMATS = ("wav", "mp3", "flac", "opus", "aac")
TIMEOUT_S = 600.0


class SpeechFailed(Exception):
    """Why no file was written, in a sentence for whoever asked."""


def server(url: str, key: str | None, folder: Path) -> MCPServer:
    """The server with its tool.

    Args:
        url: of a running F5-TTS server.
        key: its API key, if it wants one.
        folder: files are written inside it, nowhere else.
    """
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    made = MCPServer("f5-tts", instructions="Speaks text into audio files.")

    @made.tool()
    async def speak(
        text: Annotated[str, Field(min_length=1, max_length=100_000, description="what to say")],
        file: Annotated[str, Field(max_length=200, description="file to write, such as hello.wav or notes/hello.mp3")],
        voice: Annotated[str | None, Field(max_length=64, description="a stored voice, by name or id")] = None,
        speed: Annotated[float, Field(ge=0.25, le=4.0, description="above 1 speaks faster")] = 1.0,
    ) -> str:
        """Speak a text into an audio file; its ending says the format: wav, mp3, flac, opus or aac."""
        try:
            path = inside(folder, file)
            body = {"gen_text": text, "speed_factor": speed, "response_format": path.suffix[1:].lower()}
            audio, seconds = await _clip(url, key, body | ({"voice": voice} if voice else {}))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(audio)
        except (SpeechFailed, OSError) as error:
            raise ToolError(str(error)) from error
        return f"wrote {path}: {seconds:.1f} s of speech, {len(audio)} bytes"

    return made


def inside(folder: Path, file: str) -> Path:
    """The path of a file in a folder. Raises SpeechFailed for one outside, and for an ending that is no format."""
    root = folder.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root) or path == root:
        raise SpeechFailed(f"file {file!r} is outside of {root}")
    if path.suffix[1:].lower() not in FORMATS:
        raise SpeechFailed(f"file {file!r} must end in .{', .'.join(FORMATS)}")
    return path


async def _clip(url: str, key: str | None, body: dict[str, object]) -> tuple[bytes, float]:
    """A whole clip and its seconds. Raises SpeechFailed."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            reply = await client.post(f"{url.rstrip('/')}/v1/generate", json=body, headers=headers)
        facts = reply.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise SpeechFailed(f"the F5-TTS server at {url} does not answer: {error or type(error).__name__}") from error
    if reply.status_code != 200:
        raise SpeechFailed(f"the F5-TTS server says: {facts.get('error', {}).get('message', reply.status_code)}")
    return base64.b64decode(facts["audio_base64"]), float(facts["duration"])


def main(arguments: list[str], program: str) -> int:
    """Serve until standard input ends; gives the process's exit code."""
    parser = argparse.ArgumentParser(program, description="An MCP server with one tool: speak a text into a file.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running server")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="files are written inside it (default: the current one)"
    )
    options = parser.parse_args(arguments)
    try:
        made = server(options.url, os.environ.get("MCP_SPEECH_KEY"), options.folder)
    except ImportError:
        print(f"{program} needs the package mcp: pip install -r requirements-mcp.txt", file=sys.stderr)
        return 2
    made.run("stdio")
    return 0
