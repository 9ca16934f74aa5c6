"""The listener's clock, against the benchmark's own account of when a player is silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import Chunk, stalls
from f5_tts_server.engine.playback import Playback


@given(chunks=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), min_size=1, max_size=12))
def test_silences_are_those_of_a_player(chunks: list[tuple[int, int]]) -> None:
    playback, now, came = Playback(due=3.0, live=True), 0.0, []
    for after, seconds in chunks:
        now += after / 4
        came.append(Chunk(now, seconds / 4))
        playback.sent(now, seconds / 4)
    silences = stalls(came)  # quarters are exact in binary
    assert (playback.underruns, playback.underrun_time) == (len(silences), sum(silences))
    # What comes next must be there when everything that came has been played, silences included.
    assert playback.due(playback.seconds) == came[0].at + sum(chunk.seconds for chunk in came) + sum(silences)


def test_before_the_first_audio_the_beginning_is_when_it_should_come() -> None:
    playback = Playback(due=5.0, live=True)
    assert (playback.due(0.0), playback.due(2.0)) == (5.0, 7.0)
    playback.sent(9.0, 1.0)
    assert playback.due(1.0) == 10.0


def test_nobody_hears_a_clip_before_it_is_whole() -> None:
    playback = Playback(due=10.0, live=False)
    playback.sent(1.0, 1.0)
    playback.sent(100.0, 1.0)
    assert (playback.underruns, playback.due(2.0)) == (0, 12.0)


def test_text_that_comes_late_is_no_underrun() -> None:
    playback = Playback(due=0.0, live=True)
    playback.sent(1.0, 2.0)
    playback.text_came(due=7.3, position=2.0)  # the listener had heard all at 3
    assert playback.due(2.0) == pytest.approx(7.3)
    playback.sent(7.2, 1.0)
    assert playback.underruns == 0
    playback.text_came(due=7.4, position=3.0)  # still playing until 8.3
    assert playback.due(3.0) == pytest.approx(8.3)
