"""What routers are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from anyio import CapacityLimiter
from prometheus_client import CollectorRegistry

from f5_tts_server.api.access import Access
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.catalogue import Catalogue
from f5_tts_server.inference_types import Engine
from f5_tts_server.remote_files import Fetcher
from f5_tts_server.settings import Settings
from f5_tts_server.text import Lexicon
from f5_tts_server.text.lexicon import CheckTranscription
from f5_tts_server.voices.consents import ConsentFolder
from f5_tts_server.voices.dictionaries import DictionaryFolder
from f5_tts_server.voices.store import VoiceStore
from f5_tts_server.voices.transcription import Transcriber


class Metrics(Protocol):
    """What an engine counts."""

    @property
    def registry(self) -> CollectorRegistry: ...


class ServedEngine(Engine, Protocol):
    """An engine as probes see it too."""

    @property
    def metrics(self) -> Metrics: ...

    @property
    def ready(self) -> bool:
        """Whether requests are taken in."""

    @property
    def broken(self) -> bool:
        """Whether a stage has died."""

    def health(self) -> dict[str, Any]:
        """The state of threads, queues and slots, as `api.probes.EngineHealth` describes it."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routers work with; made once by the application. ``sample_rate`` is the model's, in hertz.

    ``lexicon`` is the server's own; ``check_transcription`` refuses, by a ValueError, what the model cannot speak.
    ``fetcher`` gets references that requests name by URL. ``measuring``: uploads that are decoded at a time; the others
    wait, without a thread.
    """

    settings: Settings
    engine: ServedEngine
    voices: VoiceStore
    transcriber: Transcriber
    models: Catalogue
    access: Access
    lexicon: Lexicon
    check_transcription: CheckTranscription
    consents: ConsentFolder
    dictionaries: DictionaryFolder
    fetcher: Fetcher
    sample_rate: int = 24_000
    measuring: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))

    @property
    def builder(self) -> RequestBuilder:
        """What makes the engine's requests of the protocols' bodies."""
        settings = self.settings
        return RequestBuilder(
            self.voices,
            self.transcriber,
            self.models,
            settings.timeout_s,
            settings.fallback_voice,
            self.lexicon,
            self.check_transcription,
            self.fetcher,
        )
