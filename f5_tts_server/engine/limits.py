"""Checks that a request keeps to the limits, whichever protocol it came by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from f5_tts_server.formats import UnknownFormat, UnknownRate, check_rates
from f5_tts_server.inference_types import GenerationRequest, Infill, Part, Pause, Speech, invalid_field
from f5_tts_server.limits import (
    CFG_MAX,
    CUES_MAX,
    PARTS_MAX,
    PAUSE_MAX_S,
    SECONDS_MAX,
    SECONDS_MIN,
    SEED_MAX,
    SPEED_MAX,
    SPEED_MIN,
    TRACK_MAX_S,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that the operator or the model sets; ``sample_rate`` is the model's."""

    text_chars: int
    timeout_s: float
    steps: int
    sample_rate: int


def check(request: GenerationRequest, limits: Limits) -> None:
    """Raises `RequestError` (422) naming the first field over a limit."""
    _within("nfe", request.nfe, 1, limits.steps)
    _within("cfg_strength", request.cfg_strength, 0.0, CFG_MAX)
    _within("seed", request.seed, 0, SEED_MAX)
    _within("timeout_s", request.timeout_s, 0.001, limits.timeout_s)
    _check_format(request, limits.sample_rate)
    if not request.parts and not request.open:
        raise invalid_field("text", "text is missing: there is nothing to speak")
    check_parts(request.parts, limits)
    _check_cues(request)


def check_parts(parts: Sequence[Part], limits: Limits, *, chars_before: int = 0, parts_before: int = 0) -> None:
    """The limits of parts; ``..._before`` is what the same request has brought before."""
    if parts_before + len(parts) > PARTS_MAX:
        count = parts_before + len(parts)
        raise invalid_field("text", f"text has {count} parts (voices and pauses); the limit is {PARTS_MAX}")
    chars = chars_before
    for part in parts:
        if isinstance(part, Speech):
            chars += len(part.text)
            _within("speed", part.speed, SPEED_MIN, SPEED_MAX)
            if not part.text.strip():
                raise invalid_field("text", "text is empty: there is nothing to speak")
            if part.seconds is not None:
                _within("seconds", part.seconds, SECONDS_MIN, SECONDS_MAX)
        elif isinstance(part, Infill):
            chars += len(part.text)
        elif isinstance(part, Pause):
            _within("pause", part.seconds, 0.0, PAUSE_MAX_S)
    if chars > limits.text_chars:
        raise invalid_field("text", f"text has {chars} characters; the limit is {limits.text_chars}")


def _check_cues(request: GenerationRequest) -> None:
    spoken = [part for part in request.parts if isinstance(part, Speech)]
    cues = [part.cue for part in spoken if part.cue is not None]
    if not cues:
        return
    if len(cues) < len(request.parts) or request.open:
        raise invalid_field("cue", "cue: either all parts of a request have one, and it is not open, or none has")
    if len(cues) > CUES_MAX:
        raise invalid_field("cue", f"cue: there are {len(cues)}; the limit is {CUES_MAX}")
    begun = 0.0
    for part, cue in zip(spoken, cues, strict=True):
        _within("cue", cue.end, cue.start, TRACK_MAX_S)
        _within("cue", cue.start, begun, cue.end)
        _within("speed", part.speed * cue.fastest, part.speed, SPEED_MAX)
        begun = cue.start


def _check_format(request: GenerationRequest, model_rate: int) -> None:
    try:
        check_rates(request.format, request.sample_rate, request.bit_rate, model_rate)
    except UnknownFormat as error:
        raise invalid_field("format", str(error)) from error
    except UnknownRate as error:
        raise invalid_field(error.field, str(error)) from error


def _within(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise invalid_field(field, f"{field} is {value}; it must be between {low} and {high}")
