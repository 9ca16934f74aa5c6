"""What the operator may choose: environment variables ``F5_...`` and, with the same names, flags of ``python main.py``."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, NoDecode, SettingsConfigDict, SettingsError

from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.quality import Quality
from f5_tts_server.remote_files import Origin

PREFIX = "F5_"
MIB = 2**20

# Numbers separated by commas, in the environment and on the command line alike.
Frames = Annotated[tuple[int, ...], NoDecode]
Words = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Serve F5-TTS over HTTP, or make a file of requests offline (--offline)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
        extra="forbid",
        frozen=True,
    )

    # what speaks
    model: str = Field(
        default="embedded",
        description="the embedded voice, a released model (F5TTS_v1_Base, F5TTS_Base, E2TTS_Base), a folder or file, "
        "or hf://owner/repo/file",
    )
    config: str | None = Field(
        default=None,
        description="architecture of a model of one's own: F5TTS_v1_Base, E2TTS_Base, ..., or an official YAML file",
    )
    vocab: str | None = Field(default=None, description="vocabulary file of a model that brings none of its own")
    vocoder: str | None = Field(
        default=None, description="vocoder: a folder or hf://owner/repo; by default the model's own"
    )
    models_file: Path | None = Field(
        default=None,
        description="YAML file of several models that requests choose from, instead of model, config, vocab and vocoder",
    )
    model_idle_s: float | None = Field(
        default=None, gt=0, description="seconds without a request after which a model of the models file is unloaded"
    )
    model_memory_mib: float | None = Field(
        default=None, gt=0, description="memory for loaded models in MiB; idle ones are unloaded to stay within it"
    )
    quality: Quality | None = Field(
        default=None, description="steps, grid and guidance of requests that say nothing of them; else the model's own"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="type of the weights and of what is multiplied with them"
    )
    device_mesh: str = Field(
        default="auto",
        description="devices as DATAxMODEL, such as 1x1 or 4x2: slots over DATA, heads over MODEL; or auto",
    )
    compilation_cache: Path | None = Field(
        default=Path("~/.cache/f5-tts-jax"), description="folder of compiled programs, which make the next start faster"
    )
    voice: str | None = Field(default=None, description="id or name of the voice of requests that name none")
    fallback_voice: str | None = Field(
        default=None, description="id or name of the voice of requests that name an unknown one; else they are refused"
    )
    voices_folder: Path | None = Field(
        default=None, description="folder of uploaded voices; without it uploads are refused"
    )
    reference_hosts: Words = Field(
        default=(),
        description="hosts that ref_audio_url may name, separated by commas, such as files.example.com; over https, unless "
        "written as http://host:port; by default none",
    )
    voice_aliases: Words = Field(
        default=(),
        description="further names of stored voices, as NAME=VOICE separated by commas, such as alloy=ada,nova=cleo",
    )

    jobs_folder: Path | None = Field(
        default=None,
        description="folder of jobs and batches (/v1/jobs, /v1/batches), of this server alone; without it they are refused",
    )
    lexicon: Path | None = Field(
        default=None,
        description="file of words and how they are said: a JSON object, or lines of word, tab, pronunciation",
    )

    # where
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    wyoming_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port for Home Assistant's Wyoming protocol, which has no keys; off by default",
    )
    wyoming_host: str = Field(default="127.0.0.1", description="address for Wyoming")
    log_format: Literal["text", "json"] = Field(default="text", description="lines of text, or JSON objects")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )

    # how much
    max_concurrent_requests: int = Field(default=16, ge=1, le=4096, description="requests that are worked on at a time")
    queue_limit: int = Field(
        default=64, ge=0, le=65536, description="requests that may wait beyond those; more get a 429"
    )
    slots: int | None = Field(default=None, ge=2, le=256, description="segments held on the device per bucket")
    buckets: Frames | None = Field(
        default=None, description="padded lengths in frames (93.75 a second, reference included), separated by commas"
    )
    step_sizes: Frames | None = Field(
        default=None, description="numbers of segments one step program advances, with commas"
    )
    frame_budget: int | None = Field(default=None, ge=1, description="padded frames a turn of steps may advance")
    max_text_chars: int = Field(default=10_000, ge=1, le=1_000_000, description="characters of text in a request")
    max_body_mib: float = Field(default=16.0, gt=0, le=1024, description="size of a request's body in MiB")
    max_connections: int = Field(
        default=512, ge=1, le=65536, description="requests and WebSockets open at a time; more get a 503, probes do not"
    )
    reference_cache_mib: float = Field(default=64.0, ge=0, description="memory for prepared references in MiB")

    # how long
    chunk_size: float = Field(default=0.25, ge=0.01, le=60, description="seconds of audio in an event of a stream")
    first_segment_s: float = Field(
        default=1.0, ge=0.3, le=30, description="seconds of speech in a stream's first segment"
    )
    timeout_s: float = Field(
        default=300.0, gt=0, le=86400, description="seconds a request may take; requests may ask for less"
    )
    receive_timeout_s: float = Field(
        default=20.0,
        gt=0,
        description="seconds a client may take for a request's head, for its body (and 1 more for every 16 KiB), and for "
        "the first message of a WebSocket",
    )
    send_buffer_s: float = Field(default=120.0, ge=1, description="seconds of audio made ahead of a reader")
    stall_timeout_s: float = Field(
        default=30.0, gt=0, description="seconds after which a reader that reads nothing is dropped"
    )
    verify_takes: int = Field(
        default=3, ge=1, le=10, description="times that a segment of a request with verify is made at most"
    )
    verify_extra_s: float = Field(
        default=30.0, ge=0, description="seconds of audio that such a request may have made again in all"
    )
    ping_s: float = Field(default=10.0, gt=0, description="seconds of silence in a stream before a comment ping")
    grace_s: float = Field(default=30.0, ge=0, description="seconds that running requests get after SIGTERM or Ctrl-C")

    # who
    api_keys: Words = Field(default=(), description="keys that clients must send as Bearer, separated by commas")
    api_keys_file: Path | None = Field(
        default=None,
        description="file of further keys, one a line, after its name and a blank if it has one; read again when it changes",
    )
    cors_origins: Words = Field(default=(), description="origins whose pages may call, separated by commas, or *")
    rate_limit: int | None = Field(
        default=None, ge=1, description="requests a minute for each key, or address without keys"
    )

    key_concurrent_requests: int | None = Field(
        default=None, ge=1, description="requests that each key may have open at a time"
    )
    key_audio_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="seconds of audio a minute for each key"
    )

    # instead of serving
    offline: Path | None = Field(
        default=None, description="JSONL file of requests, or a text, to make instead of serving"
    )
    out: Path = Field(
        default=Path("out"),
        description="folder for --offline: a WAV file for each line, and results.jsonl; or the book",
    )

    @field_validator("buckets", "step_sizes", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return tuple(int(word) for word in value.split(",")) if isinstance(value, str) else value

    @field_validator("api_keys", "cors_origins", "voice_aliases", "reference_hosts", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("reference_hosts")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            Origin.of(origin)
        return value

    @field_validator("voice_aliases")
    @classmethod
    def _pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [pair.partition("=")[0].strip().casefold() for pair in value]
        if not all(all(part.strip() for part in pair.partition("=")) for pair in value):
            raise ValueError("must be names and voices joined by =, such as alloy=ada")
        if len(set(names)) < len(names):
            raise ValueError("has a name twice")
        return value

    @field_validator("buckets", "step_sizes")
    @classmethod
    def _ascending(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or value[0] < 1 or list(value) != sorted(set(value))):
            raise ValueError("must be positive numbers in ascending order")
        return value

    @field_validator("device_mesh")
    @classmethod
    def _mesh(cls, value: str) -> str:
        data, _, heads = value.partition("x")
        if value != "auto" and not (data.isdecimal() and heads.isdecimal() and int(data) and int(heads)):
            raise ValueError("must be auto or two numbers joined by x, such as 1x1 or 4x2")
        return value

    @model_validator(mode="after")
    def _one_source_of_models(self) -> Settings:
        single = ("model", "config", "vocab", "vocoder")
        if self.models_file is not None and (given := [name for name in single if name in self.model_fields_set]):
            raise ValueError(f"models_file says what speaks: leave out {', '.join(given)}")
        if self.models_file is None and (self.model_idle_s or self.model_memory_mib):
            raise ValueError("model_idle_s and model_memory_mib are for the models of a models_file")
        return self

    @model_validator(mode="after")
    def _slots_hold_a_step(self) -> Settings:
        if self.slots is not None and self.step_sizes is not None and self.step_sizes[-1] > self.slots:
            raise ValueError(f"step_sizes goes up to {self.step_sizes[-1]}, but there are {self.slots} slots")
        return self

    @property
    def aliases(self) -> dict[str, str]:
        """The voice, by its id or name, of each of `voice_aliases`."""
        pairs = (pair.partition("=") for pair in self.voice_aliases)
        return {name.strip(): voice.strip() for name, _, voice in pairs}

    def engine_options(self) -> EngineOptions:
        return EngineOptions(
            max_concurrent_requests=self.max_concurrent_requests,
            queue_limit=self.queue_limit,
            max_text_chars=self.max_text_chars,
            max_timeout_s=self.timeout_s,
            first_segment_s=self.first_segment_s,
            chunk_s=self.chunk_size,
            send_buffer_s=self.send_buffer_s,
            stall_timeout_s=self.stall_timeout_s,
            reference_cache_bytes=int(self.reference_cache_mib * MIB),
            frame_budget=self.frame_budget,
            key_concurrent=self.key_concurrent_requests,
            key_audio_s=self.key_audio_s,
            verify_takes=self.verify_takes,
            verify_extra_s=self.verify_extra_s,
        )


def read_settings(arguments: list[str] | None = None, *, program: str = "python main.py") -> Settings:
    """Settings from the environment and, if given, command-line arguments, which win; `program` is the command's name.

    Raises SystemExit with one sentence for each unknown or bad value.
    """
    variables = [f"{PREFIX}{name}".upper() for name in Settings.model_fields]
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in variables)
    if unknown:
        for name in unknown:
            print(f"{name}: no such setting; {_nearest(name.upper(), variables, program)}", file=sys.stderr)
        raise SystemExit(2)
    try:
        return Settings() if arguments is None else _parsed(arguments, program)
    except ValidationError as error:
        for fault in error.errors():
            message = fault["msg"].removeprefix("Value error, ")
            if fault["loc"]:
                name = str(fault["loc"][0])
                message = f"{PREFIX}{name.upper()} or {_flag(name)}: {message} (it is {fault['input']!r})"
            print(message, file=sys.stderr)
        raise SystemExit(2) from None
    except SettingsError as error:
        flags = [_flag(name) for name in Settings.model_fields]
        words = [argument.partition("=")[0] for argument in arguments or () if argument.startswith("--")]
        unknown = [word for word in words if word not in flags]
        for word in unknown:
            print(f"{word}: no such flag; {_nearest(word, flags, program)}", file=sys.stderr)
        if not unknown:
            print(f"{error}; {program} --help lists all", file=sys.stderr)
        raise SystemExit(2) from None


def _parsed(arguments: list[str], program: str) -> Settings:
    source = CliSettingsSource[Any](Settings, cli_prog_name=program)
    return CliApp.run(Settings, cli_args=arguments, cli_settings_source=source)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _nearest(word: str, known: list[str], program: str) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else f"{program} --help lists all"
