"""When a request's listener runs out of audio: what every deadline of the engine rests on."""

from __future__ import annotations

import threading


class Playback:
    """A listener who plays a clip from its first chunk on, without pause, while it is made. Safe for any thread.

    Args:
        due: when the clip should begin. A clip that nobody hears before it is whole keeps this as its beginning.
        live: whether somebody listens while the clip is made.
    """

    def __init__(self, *, due: float, live: bool) -> None:
        self.live = live
        self.first_audio: float | None = None
        self.seconds = 0.0  # sent
        self.underruns = 0  # times that the listener ran out of audio before the clip's end
        self.underrun_time = 0.0  # for how long in all
        self._begin = due  # of the clip on the listener's clock; moves back by every silence
        self._lock = threading.Lock()

    def due(self, position: float) -> float:
        """When the audio from ``position`` (seconds into the clip) on must be there."""
        return self._begin + position

    def sent(self, now: float, seconds: float) -> float:
        """A chunk of ``seconds`` of audio has been sent; gives the seconds for which the listener had nothing before."""
        with self._lock:
            silence = 0.0
            if self.first_audio is None:
                self.first_audio = now
                if self.live:
                    self._begin = now
            elif self.live and now > self.due(self.seconds):
                silence = now - self.due(self.seconds)
                self._begin += silence
                self.underruns += 1
                self.underrun_time += silence
            self.seconds += seconds
            return silence

    def text_came(self, due: float, position: float) -> None:
        """The audio from ``position`` on had no text until now, so that it can be there by ``due`` at the soonest."""
        with self._lock:
            self._begin = max(self._begin, due - position)
