"""What a request may ask for, in numbers. Bodies, marks in the text and the engine's own check all read them here."""

from __future__ import annotations

SPEED_MIN, SPEED_MAX = 0.25, 4.0
STEPS_MAX = 64
CFG_MAX = 10.0
PAUSE_MAX_S = 10.0
SECONDS_MIN, SECONDS_MAX = 0.2, 600.0
SEED_MAX = 2**32 - 1
PARTS_MAX = 1000
CUES_MAX = 500
SPEAKERS_MAX = 50
TRACK_MAX_S = 1200.0  # in which the last cue ends
RATE_MAX = 1.4  # times the natural rate, for a cue that has little time
RECORDING_MAX_S = 60.0  # that is edited
REFERENCE_TEXT_MAX = 2000  # characters


def structure(json: bytes) -> int:
    """Characters that begin or separate values: what parsing costs, as a string costs little and a value much."""
    return sum(json.count(character) for character in (b"{", b"[", b",", b":", b'"', b"\\"))
