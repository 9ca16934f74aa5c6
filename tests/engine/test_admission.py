"""Who may begin, against cases worked by hand and against a device that works in the order of dues."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from f5_tts_server.engine import admission
from f5_tts_server.engine.admission import Outlook, can_begin
from f5_tts_server.engine.cost import Piece


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule itself, without what it keeps in hand."""
    monkeypatch.setattr(admission, "_MARGIN", 0.0)


def newcomer(*later: Piece, first: float = 0.2) -> Outlook:
    """One whose first second of audio takes ``first``."""
    return Outlook(due=0.0, pieces=(Piece(first, 1.0), *later), heard=False)


def listener(runs_out: float, *pieces: Piece) -> Outlook:
    return Outlook(due=runs_out, pieces=pieces, heard=True)


def test_an_idle_device_begins_at_once() -> None:
    assert can_begin(0.0, [], newcomer(Piece(0.5, 5.0)))


def test_a_listener_who_is_about_to_run_out_comes_first() -> None:
    """His segment takes all the time until he runs out: 0.2 s for somebody else would be a silence of 0.2 s."""
    assert not can_begin(0.0, [listener(1.0, Piece(0.9, 2.0))], newcomer())
    assert can_begin(0.0, [listener(1.0, Piece(0.7, 2.0))], newcomer())


def test_what_is_due_later_than_the_newcomers_first_words_counts_too() -> None:
    listeners = [listener(0.6 + n, Piece(0.3, 2.0), Piece(1.0, 4.0)) for n in range(2)]
    assert can_begin(0.0, listeners, newcomer())
    assert not can_begin(0.0, listeners, newcomer(Piece(3.0, 4.0)))


def test_a_segment_is_due_when_the_audio_before_it_is_over() -> None:
    """All that was planned of a request counted as due with its first piece: somebody with 4 s of audio on the way looked
    as if all of it had to be made at once, and others waited for nothing."""
    planned = listener(0.5, Piece(0.2, 2.0), Piece(0.3, 2.0))
    assert can_begin(0.0, [planned], newcomer())
    assert not can_begin(0.0, [listener(0.5, Piece(0.5, 4.0))], newcomer())


def test_one_who_is_late_already_is_heard_from_when_his_first_audio_is_there() -> None:
    """A request that had to wait was due long ago; what follows its first audio is not late for that."""
    waited = Outlook(due=-2.0, pieces=(Piece(0.2, 1.0), Piece(0.4, 2.0)), heard=False)
    assert can_begin(0.0, [waited], newcomer())


def test_of_many_who_come_at_once_the_first_is_heard_before_the_last() -> None:
    """Everyone of a burst was thought to be heard only when the first audio of all was there, and many ran dry."""
    begun = [newcomer(Piece(0.3, 2.0)) for _ in range(2)]
    assert can_begin(0.0, begun, newcomer())  # the first of them is heard from 0.2 on, the rest is due at 1.2
    assert not can_begin(0.0, [newcomer(Piece(0.3, 2.0)) for _ in range(4)], newcomer())


def test_one_who_cannot_be_kept_fed_even_alone_does_not_wait_for_it() -> None:
    """On a device that is slower than speech everybody would wait for everybody before, for nothing."""
    assert can_begin(0.0, [listener(0.1, Piece(5.0, 2.0))], newcomer(Piece(20.0, 5.0)))


def test_clips_that_nobody_hears_while_they_are_made_are_not_protected_but_count() -> None:
    whole = Outlook(due=1.0, pieces=(Piece(5.0, 10.0),), heard=False, live=False)
    assert can_begin(0.0, [whole], newcomer())
    assert not can_begin(0.0, [whole, listener(2.0, Piece(0.1, 2.0))], newcomer())


def test_a_long_one_that_has_just_come_leaves_room_for_others() -> None:
    """With 2 s of work after its first audio, 0.4 of the device must stay free if it has not waited at all; short ones, and those
    that nobody listens to, need not care."""
    begun = [listener(2.0, Piece(0.6, 3.0))]
    long, short = newcomer(Piece(0.5, 7.0), Piece(1.5, 7.0)), newcomer()
    assert can_begin(0.0, begun, long)  # 0.7 s of work until 1.2 s, 1.3 s until 2 s
    assert not can_begin(0.0, begun, long, patience=1.0)  # but the latter is more than 0.6 of the time
    assert can_begin(0.0, begun, long, patience=0.5)
    assert can_begin(0.0, begun, short, patience=1.0)
    assert can_begin(0.0, begun, replace(long, live=False, due=10.0), patience=1.0)


@pytest.mark.parametrize("seed", range(200))
def test_nobody_who_was_admitted_falls_silent(seed: int) -> None:
    """A device that does one thing after the other in the order of dues, with nothing new to come."""
    rng = random.Random(seed)

    def pieces(most: int) -> list[Piece]:
        return [Piece(rng.uniform(0, 1), rng.uniform(1, 4)) for _ in range(rng.randint(1, most))]

    listeners = [listener(rng.uniform(0, 5), *pieces(3)) for _ in range(rng.randint(0, 6))]
    fresh = newcomer(*pieces(4), first=rng.uniform(0.1, 0.5))
    if not can_begin(0.0, listeners, fresh):
        return
    began = replace(fresh, due=fresh.pieces[0].work)  # when it is heard, for it is due before all others
    now = 0.0
    for moment, work, matters in sorted(
        (
            (moment, piece.work, not one.hopeless)
            for one in (*listeners, began)
            for moment, piece in zip(due(one), one.pieces, strict=True)
        ),
        key=lambda each: 0.0 if each[0] == began.due else each[0],
    ):
        now += work
        assert not matters or now <= moment + 1e-9, f"seed {seed}: a silence that could be foreseen"


def due(one: Outlook) -> Iterator[float]:
    moment = one.due
    for piece in one.pieces:
        yield moment
        moment += piece.audio
