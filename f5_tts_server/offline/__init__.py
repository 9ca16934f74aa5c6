"""Offline mode: a file of requests, or a book, made through the same engine instead of serving."""

from __future__ import annotations

import sys

from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.offline.book import KINDS, make_book
from f5_tts_server.offline.lines import RESULTS, Lines
from f5_tts_server.pool import ModelPool
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import TTSEngine

__all__ = ["RESULTS", "run"]


def run(engine: TTSEngine | ModelPool, builder: RequestBuilder, settings: Settings) -> int:
    """Work off ``settings.offline`` into ``settings.out``; gives the process's exit code.

    0 when all is made; 1 when something failed, the model did not load, or a file could not be read or written; 130 after
    Ctrl-C or SIGTERM.
    """
    assert settings.offline is not None  # or main would have started the server
    try:
        settings.out.mkdir(parents=True, exist_ok=True)
        if settings.offline.suffix.lower() in KINDS:
            return make_book(engine, builder, settings)
        return Lines(engine, builder, settings).work(settings.offline.read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        print(f"--offline {settings.offline}: {error}", file=sys.stderr)
        return 1
