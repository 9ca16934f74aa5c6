"""Whether a request can be begun without its listener, or one who listens already, running out of audio.

Each request is a row of pieces of work, each with the moment by which it must be done. If all are done in the order of
those moments, which is how the engine works, a piece is in time when everything that is due no later than it fits into
the time until then. No clock, no threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_PIECE_S = 4.0  # seconds of audio in a piece of what is not planned yet: about a segment
_MARGIN = 0.05  # of work that an estimate may be short of
_MARGIN_S = 0.05  # for what is under way and cannot be interrupted


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a request still takes. Times in seconds on the engine's clock, work in seconds of the device.

    ``first`` of work makes the audio that must be there by ``due``; ``rest`` makes ``audio`` seconds that are to follow
    it, heard from ``follows`` on. ``heard``: the listener has begun to listen, and a delay would be a silence.
    """

    due: float
    first: float
    follows: float
    rest: float
    audio: float
    heard: bool
    live: bool = True

    @property
    def hopeless(self) -> bool:
        """The device makes this audio more slowly than it is heard, even if it does nothing else."""
        return self.rest > self.audio


def can_begin(now: float, begun: Sequence[Outlook], newcomer: Outlook) -> bool:
    """Whether everybody who listens, and the newcomer from its first audio on, will be in time."""
    if newcomer.hopeless:
        return True  # waiting would not help it
    if newcomer.live:
        due = max(newcomer.due, now)
        earlier = sum(work for other in begun for moment, work, _ in _pieces(other) if moment <= due)
        heard_from = max(now + (earlier + newcomer.first) * (1 + _MARGIN), due)
        newcomer = replace(newcomer, due=due, follows=newcomer.follows - newcomer.due + heard_from)
    pieces = sorted(piece for outlook in [*begun, newcomer] for piece in _pieces(outlook))
    total = 0.0
    for moment, work, matters in pieces:
        total += work
        if matters and now + total * (1 + _MARGIN) + _MARGIN_S > moment:
            return False
    return True


def _pieces(outlook: Outlook) -> Iterator[tuple[float, float, bool]]:
    """When each piece must be done, its work, and whether a delay of it would be heard as a silence."""
    matters = outlook.live and not outlook.hopeless
    if outlook.first:
        yield outlook.due, outlook.first, matters and outlook.heard
    left, at = outlook.audio, outlook.follows
    while left > 0:
        seconds = min(left, _PIECE_S)
        yield at, outlook.rest * seconds / outlook.audio, matters
        left -= seconds
        at += seconds
