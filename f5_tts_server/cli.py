"""The command `f5-tts-serve` and its subcommands `serve`, `offline`, `speak` and `mcp`.

Each subcommand has the flags of what it starts; `f5-tts-serve COMMAND --help` lists them.
"""

from __future__ import annotations

import argparse
import sys

from f5_tts_server import __version__

PROGRAM = "f5-tts-serve"


def _serve(arguments: list[str]) -> int:
    from f5_tts_server.app import main

    return main(arguments, program=f"{PROGRAM} serve")


def _offline(arguments: list[str]) -> int:
    from f5_tts_server.app import main

    if arguments and not arguments[0].startswith("-"):
        arguments = ["--offline", *arguments]
    elif not {"-h", "--help"} & set(arguments):
        print(f"usage: {PROGRAM} offline REQUESTS.jsonl [--out FOLDER] [flags of serve]", file=sys.stderr)
        return 2
    return main(arguments, program=f"{PROGRAM} offline")


def _speak(arguments: list[str]) -> int:
    from f5_tts_server.speak import main

    return main(arguments, program=f"{PROGRAM} speak")


def _mcp(arguments: list[str]) -> int:
    from f5_tts_server.mcp_server import main

    return main(arguments, program=f"{PROGRAM} mcp")


# Imported only when called for: `--help` and `--version` answer without JAX.
COMMANDS = {"serve": _serve, "offline": _offline, "speak": _speak, "mcp": _mcp}


def main(arguments: list[str] | None = None) -> int:
    """The console script; gives the process's exit code."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="F5-TTS on JAX: serve it over HTTP, work off a file of requests, or speak one text.",
        epilog=f"{PROGRAM} COMMAND --help lists the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument(
        "command",
        choices=COMMANDS,
        help="serve over HTTP; REQUESTS.jsonl offline; speak TEXT to a file; mcp: a tool for language models",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="flags of the command")
    given = parser.parse_args(arguments)
    return COMMANDS[given.command](given.arguments)


if __name__ == "__main__":
    sys.exit(main())
