"""The models that requests may choose from: those of the models file, or the one of the settings.

A models file is YAML:

    default: english            # of requests that name none; left out, the first
    models:
      - name: english
        weights: embedded
      - name: german
        weights: models/german.safetensors   # beside this file; or hf://owner/repo/file, or a released model's name
        config: F5TTS_v1_Base
        vocab: models/vocab.txt
        vocoder: models/vocos
        dtype: bfloat16
        load: first-use         # or start
        aliases: [de, tts-1]
        defaults: {voice: anna, quality: fast, guidance_scale: 1.5}
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from f5_tts_server.f5.hub import ModelFilesError
from f5_tts_server.inference_types import RequestError, SamplingDefaults
from f5_tts_server.limits import CFG_MAX, STEPS_MAX
from f5_tts_server.quality import Quality, sampling_of
from f5_tts_server.settings import Settings

MOST_MODELS = 64
MOST_BYTES = 1 << 20

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,100}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Defaults(_Strict):
    """What requests to a model that say nothing else are made with."""

    voice: Annotated[str, Field(min_length=1)] | None = None  # id, name or mix; else the server's
    quality: Quality | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=STEPS_MAX)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=CFG_MAX, allow_inf_nan=False)] | None = None
    use_sway_sampling: bool | None = None


NO_DEFAULTS = Defaults()


class _Entry(_Strict):
    name: ModelName
    weights: str = Field(min_length=1)
    config: str | None = None
    vocab: str | None = None
    vocoder: str | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    load: Literal["start", "first-use"] = "start"
    aliases: tuple[ModelName, ...] = Field((), max_length=16, strict=False)
    defaults: Defaults = NO_DEFAULTS


class _File(_Strict):
    default: ModelName | None = None
    models: tuple[_Entry, ...] = Field(min_length=1, max_length=MOST_MODELS, strict=False)


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model. ``settings`` are the server's with this model in them; ``recommended`` is the model's own sampling."""

    name: str
    settings: Settings
    recommended: SamplingDefaults
    aliases: tuple[str, ...] = ()
    at_start: bool = True
    defaults: Defaults = NO_DEFAULTS

    def sampling(self, quality: Quality | None = None, *, thrifty: bool = False) -> SamplingDefaults:
        """What a request is made with that leaves all but perhaps the ``quality`` open.

        A quality that the request names counts for all of it. Else the entry's defaults count, then the quality that the
        operator chose, then what the model recommends, or if ``thrifty`` the balanced quality where that takes fewer
        steps.
        """
        if quality is not None:
            return sampling_of(quality, self.recommended)
        own = self.defaults
        chosen = own.quality or self.settings.quality
        base = self.recommended if chosen is None else sampling_of(chosen, self.recommended)
        balanced = sampling_of("balanced", self.recommended)
        if thrifty and chosen is None and balanced.nfe < base.nfe:
            base = balanced
        return SamplingDefaults(
            nfe=base.nfe if own.num_inference_steps is None else own.num_inference_steps,
            cfg_strength=base.cfg_strength if own.guidance_scale is None else own.guidance_scale,
            sway=base.sway if own.use_sway_sampling is None else own.use_sway_sampling,
        )


class Catalogue:
    """The models by name and alias.

    Args:
        entries: the first is the default one.
        any_name: whether a protocol's clients may send the names of other servers' models and get the only one.
    """

    def __init__(self, entries: Sequence[CatalogueEntry], *, any_name: bool = False) -> None:
        self.entries = tuple(entries)
        self._any_name = any_name
        self._by_name = {name: entry for entry in self.entries for name in (entry.name, *entry.aliases)}

    @property
    def default(self) -> CatalogueEntry:
        return self.entries[0]

    @property
    def names(self) -> tuple[str, ...]:
        """All names that requests may use."""
        return tuple(self._by_name)

    def find(self, name: str | None, *, foreign: bool = False) -> CatalogueEntry:
        """The model of a request; ``foreign``: of a protocol that is not ours. Raises RequestError (404)."""
        if name is None or (foreign and self._any_name):
            return self.default
        if (entry := self._by_name.get(name)) is not None:
            return entry
        known = ", ".join(self._by_name)
        raise RequestError(404, "model_not_found", f"model {name[:100]!r} is unknown here; there is {known}", "model")


def catalogue(settings: Settings, recommended: Callable[[Settings], SamplingDefaults]) -> Catalogue:
    """What the settings say may be spoken with. Raises ValueError naming each fault of a models file."""
    if settings.models_file is None:
        names = ("tts-1", "tts-1-hd")  # which clients of OpenAI's API ask for
        return Catalogue([CatalogueEntry(settings.model, settings, recommended(settings), names)], any_name=True)
    path = settings.models_file.expanduser()
    read = _read(path)
    entries = []
    for number, entry in enumerate(read.models):
        chosen = settings.model_copy(
            update={
                "model": _beside(path, entry.weights),
                "config": entry.config if entry.config is None else _beside(path, entry.config),
                "vocab": entry.vocab if entry.vocab is None else _beside(path, entry.vocab),
                "vocoder": entry.vocoder if entry.vocoder is None else _beside(path, entry.vocoder),
                "dtype": entry.dtype or settings.dtype,
            }
        )
        try:
            sampling = recommended(chosen)
        except (OSError, ValueError) as error:
            field = error.field if isinstance(error, ModelFilesError) else "config"
            raise ValueError(f"{path}: models[{number}] ({entry.name}): {field}: {error}") from error
        at_start = entry.load == "start"
        entries.append(CatalogueEntry(entry.name, chosen, sampling, entry.aliases, at_start, entry.defaults))
    default = read.default or entries[0].name
    return Catalogue(sorted(entries, key=lambda entry: entry.name != default))


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"models_file {path} cannot be read: {error.strerror}") from error
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES} bytes")
    try:
        document = yaml.load(text, _UniqueKeys)  # a SafeLoader
        read = _File.model_validate(document)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    except ValidationError as error:
        # What is left of a list without its faulty entries is too short as well.
        faults = [f for f in error.errors() if f["type"] != "too_short" or not f["input"]]
        raise ValueError("\n".join(f"{path}: {_fault(document, fault)}" for fault in faults)) from error
    owners: dict[str, int] = {}
    for number, entry in enumerate(read.models):
        for field, name in (("name", entry.name), *(("aliases", alias) for alias in entry.aliases)):
            if name in owners:
                first = f"models[{owners[name]}] ({read.models[owners[name]].name})"
                raise ValueError(f"{path}: models[{number}] ({entry.name}): {field}: {name!r} is a name of {first}")
            owners[name] = number
    if read.default is not None and read.default not in {entry.name for entry in read.models}:
        names = ", ".join(entry.name for entry in read.models)
        raise ValueError(f"{path}: default: {read.default!r} is no model's name; they are {names}")
    return read


def _fault(document: Any, fault: Any) -> str:
    """Where in the file, and what."""
    kind: type[BaseModel]
    match fault["loc"]:
        case ("models", int(number), *rest):
            entry = document["models"][number]
            name = f" ({entry['name']})" if isinstance(entry, dict) and "name" in entry else ""
            parts = (f"models[{number}]{name}", ".".join(map(str, rest)))
            kind = Defaults if len(rest) > 1 else _Entry
        case loc:
            parts = (".".join(map(str, loc)), "")
            kind = _File
    where = ": ".join(part for part in parts if part)
    return f"{where}: {_in_words(fault, kind)}" if where else _in_words(fault, kind)


def _in_words(fault: Any, kind: type[BaseModel]) -> str:
    given = fault["input"]
    value = f"not {reprlib.repr(given)}"
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden" | "invalid_key":
            return f"is no field here; there are {', '.join(kind.model_fields)}"
        case "model_type" if given is None and kind is _File:
            return "the file is empty; it must have a list `models`"
        case "model_type":
            return f"must be a mapping, {value}"
        case "tuple_type":
            return f"must be a list, {value}"
        case "too_short":
            return "must have at least one entry"
        case "too_long":
            return f"must have at most {fault['ctx']['max_length']} entries, not {fault['ctx']['actual_length']}"
        case "string_type" if isinstance(given, bool | int | float):
            return f"must be text, {value}, as which YAML reads it without quotes"
        case "string_type":
            return f"must be text, {value}"
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"must be 1 to 100 letters, digits and . _ - /, {value}"
        case _:
            return f"{fault['msg'].replace('Input should', 'must', 1)}, {value}"


def _beside(file: Path, name: str) -> str:
    """A path of the file's, seen from its folder, where something lies there; else the name as it is."""
    path = Path(name).expanduser()
    beside = file.parent / path
    return str(beside) if not path.is_absolute() and beside.exists() else name


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<: its keys may be replaced
                continue
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
            seen.add(str(key))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)  # type: ignore[no-untyped-call]
        return mapping
