"""How much each caller has open, and how much audio it may still have. Callers are names, never keys."""

from __future__ import annotations

import math
import threading
from collections import Counter

from f5_tts_server.inference_types import Refused


class Usage:
    """Bounds of callers; safe to use from any thread. The caller "" has no name and no bounds.

    `concurrent`: requests of a caller at a time. `audio_s`: seconds of audio a minute for a caller, which may be overdrawn
    by requests under way. None is no limit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._left: dict[str, tuple[float, float]] = {}  # seconds of audio, and when that was

    def refusal(self, caller: str, now: float, *, concurrent: int | None, audio_s: float | None) -> Refused | None:
        """Why a caller may not ask for more now, if so."""
        if not caller:
            return None
        with self._lock:
            count = self._open[caller]
            left = self._allowance(caller, now, audio_s)
        if concurrent is not None and count >= concurrent:
            told = f"{count} requests with this key are open, which is its limit"
            return Refused(429, "too_many_requests_of_key", told, 1)
        if audio_s is not None and left <= 0:
            wait = math.floor(-left * 60 / audio_s) + 1
            told = f"this key's {audio_s:g} s of audio a minute are used up; more is allowed in {wait} s"
            return Refused(429, "audio_limit_exceeded", told, wait)
        return None

    def began(self, caller: str) -> None:
        """A request was taken in."""
        if caller:
            with self._lock:
                self._open[caller] += 1

    def ended(self, caller: str, seconds: float, now: float, *, audio_s: float | None) -> None:
        """A request has ended, however, and so much audio was made for it."""
        if not caller:
            return
        with self._lock:
            self._open[caller] -= 1
            self._open += Counter()  # without the names that are at 0
            if audio_s is not None:
                self._left[caller] = (self._allowance(caller, now, audio_s) - seconds, now)

    def _allowance(self, caller: str, now: float, audio_s: float | None) -> float:
        """Fills up evenly, to a minute's at most; called with the lock held."""
        if audio_s is None:
            return math.inf
        left, since = self._left.get(caller, (audio_s, now))
        return min(audio_s, left + (now - since) * audio_s / 60)
