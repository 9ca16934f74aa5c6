"""Whether a request can be begun without its listener, or one who listens already, running out of audio.

Each request is a row of pieces of work, each with the moment by which it must be done. If all are done in the order of
those moments, which is how the engine works, a piece is in time when everything that is due no later than it fits into
the time until then. No clock, no threads.

A long clip that has begun must be kept supplied for as long as it is heard, and those who come meanwhile find less of the
device. So it begins only if a share of the device stays free for them, the larger the more work it has after its first
audio (trunk reservation, as in telephone networks); the longer it waits, the less is asked of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from f5_tts_server.engine.cost import Piece

_MARGIN = 0.05  # of work that an estimate may be short of
_RESERVE_A_SECOND = 0.2  # of the device that stays free, for each second of work after the first audio
_RESERVE_MOST = 0.4


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a request still takes: pieces of work, each due when the audio of those before it is over.

    ``due``: of the first of them, in seconds on the engine's clock. ``heard``: the listener has begun to listen, and a
    delay would be a silence. ``live``: somebody listens, or will, while the clip is made.
    """

    due: float
    pieces: tuple[Piece, ...]
    heard: bool
    live: bool = True

    @property
    def hopeless(self) -> bool:
        """The device makes this audio more slowly than it is heard, even if it does nothing else."""
        later = self.pieces[1:]
        return sum(piece.work for piece in later) > sum(piece.audio for piece in later)

    @property
    def work(self) -> float:
        return sum(piece.work for piece in self.pieces)


def can_begin(now: float, begun: Sequence[Outlook], newcomer: Outlook, *, patience: float = 0.0) -> bool:
    """Whether everybody who listens, and the newcomer from its first audio on, will be in time.

    ``patience``: of what is kept free for others, how much is asked of the newcomer: from 1, of one that has just come, to 0.
    """
    if newcomer.hopeless:
        return True  # waiting would not help it
    reserve = patience * _reserve(newcomer)
    outlooks = [*begun, replace(newcomer, due=max(newcomer.due, now))]
    heard_from = _heard_from(now, outlooks)
    pieces = sorted(
        piece for outlook, begin in zip(outlooks, heard_from, strict=True) for piece in _timed(outlook, begin)
    )
    total = 0.0
    for moment, seconds, matters in pieces:
        total += seconds
        if matters and now + total * (1 + _MARGIN) + reserve * max(moment - now, 0.0) > moment:
            return False
    return True


def _reserve(newcomer: Outlook) -> float:
    """The share of the device that must stay free if this one begins; what nobody listens to yields to everybody."""
    later = sum(piece.work for piece in newcomer.pieces[1:])
    return min(_RESERVE_A_SECOND * later, _RESERVE_MOST) if newcomer.live else 0.0


def _heard_from(now: float, outlooks: Sequence[Outlook]) -> list[float]:
    """When each one's first piece will be heard: when it is due, or when it and all that goes before it is done."""
    moments = [outlook.due for outlook in outlooks]
    work = [
        (moment, order, number, seconds)
        for order, outlook in enumerate(outlooks)
        for number, (moment, seconds, _) in enumerate(_timed(outlook, outlook.due))
    ]
    total = 0.0
    for moment, order, number, seconds in sorted(work):
        total += seconds
        outlook = outlooks[order]
        if outlook.live and not (outlook.heard or number):
            moments[order] = max(moment, now + total * (1 + _MARGIN))
    return moments


def _timed(outlook: Outlook, heard_from: float) -> Iterator[tuple[float, float, bool]]:
    """When each piece must be done, its work, and whether a delay of it would be heard as a silence."""
    matters = outlook.live and not outlook.hopeless
    moment = heard_from
    for number, piece in enumerate(outlook.pieces):
        yield moment if number else outlook.due, piece.work, matters and (outlook.heard or number > 0)
        moment += piece.audio
