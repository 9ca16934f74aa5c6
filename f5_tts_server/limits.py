"""What a request may ask for, in numbers. Bodies, marks in the text and the engine's own check all read them here."""

from __future__ import annotations

SPEED_MIN, SPEED_MAX = 0.25, 4.0
STEPS_MAX = 64
CFG_MAX = 10.0
PAUSE_MAX_S = 10.0
SECONDS_MIN, SECONDS_MAX = 0.2, 600.0
SEED_MAX = 2**32 - 1
PARTS_MAX = 1000
REFERENCE_TEXT_MAX = 2000  # characters
