"""Texts of several lengths, and what a step is told of a slot, for tests of the compiled programs."""

from __future__ import annotations

from dataclasses import dataclass

from f5_tts_server.f5.programs import Schedule

TEXTS = ("One.", "Two words here.", "A somewhat longer text that fills more frames.", "And another of them, yes.")


@dataclass(frozen=True)
class Row:
    slot: int
    schedule: Schedule
    index: int
    cfg_strength: float
