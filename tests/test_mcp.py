"""The MCP tool, called by the official SDK's client: in this process, and over standard input and output."""

from __future__ import annotations

import sys
from pathlib import Path

import mcp
import pytest
import soundfile

from f5_tts_server.mcp_server import SpeechFailed, inside, server
from tests.server import serving
from tests.toy_programs import ToyPrograms


@pytest.mark.anyio
async def test_a_text_becomes_a_file(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", ToyPrograms()) as running:
        async with mcp.Client(server(running.url, None, tmp_path)) as client:
            (tool,) = (await client.list_tools()).tools
            assert tool.name == "speak"
            reply = await client.call_tool("speak", {"text": "Hello there.", "file": "out/hello.wav"})
            assert not reply.is_error, reply
            assert soundfile.info(tmp_path / "out" / "hello.wav").duration > 0.1
            for fields, words in (
                ({"file": "../x.wav"}, "outside"),
                ({"file": "x.exe"}, "must end in"),
                ({"file": "x.wav", "voice": "nobody"}, "'nobody'"),
            ):
                reply = await client.call_tool("speak", {"text": "Hello.", **fields})
                assert reply.is_error and words in str(reply.content)
    assert not (tmp_path.parent / "x.wav").exists()


@pytest.mark.anyio
async def test_over_standard_input_and_output(tmp_path: Path) -> None:
    command = ["-m", "f5_tts_server", "mcp", "--url", "http://127.0.0.1:9", "--folder", str(tmp_path)]
    async with mcp.Client(mcp.StdioServerParameters(command=sys.executable, args=command)) as client:
        reply = await client.call_tool("speak", {"text": "Hello.", "file": "x.wav"})
        assert reply.is_error and "does not answer" in str(reply.content)


@pytest.mark.parametrize("file", ["/etc/x.wav", "a/../../x.wav", "", "."])
def test_files_stay_in_the_folder(tmp_path: Path, file: str) -> None:
    with pytest.raises(SpeechFailed, match="outside"):
        inside(tmp_path, file)
