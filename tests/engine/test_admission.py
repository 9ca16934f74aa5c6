"""Who may begin, against cases worked by hand and against a device that works in the order of dues."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from f5_tts_server.engine import admission
from f5_tts_server.engine.admission import Outlook, can_begin


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule itself, without what it keeps in hand."""
    monkeypatch.setattr(admission, "_MARGIN", 0.0)
    monkeypatch.setattr(admission, "_MARGIN_S", 0.0)


def newcomer(work: float, audio: float, *, first: float = 0.2) -> Outlook:
    return Outlook(due=0.0, first=first, follows=1.0, rest=work, audio=audio, heard=False)


def listener(runs_out: float, work: float, *, rest: float = 0.0, audio: float = 0.0) -> Outlook:
    return Outlook(due=runs_out, first=work, follows=runs_out + 2.0, rest=rest, audio=audio, heard=True)


def test_an_idle_device_begins_at_once() -> None:
    assert can_begin(0.0, [], newcomer(work=0.5, audio=5.0))


def test_a_listener_who_is_about_to_run_out_comes_first() -> None:
    """His segment takes all the time until he runs out: 0.2 s for somebody else would be a silence of 0.2 s."""
    assert not can_begin(0.0, [listener(runs_out=1.0, work=0.9)], newcomer(0.0, 0.0))
    assert can_begin(0.0, [listener(runs_out=1.0, work=0.7)], newcomer(0.0, 0.0))


def test_what_is_due_later_than_the_newcomers_first_words_counts_too() -> None:
    listeners = [listener(runs_out=0.6 + n, work=0.3, rest=1.0, audio=4.0) for n in range(2)]
    assert can_begin(0.0, listeners, newcomer(work=0.0, audio=0.0))
    assert not can_begin(0.0, listeners, newcomer(work=3.0, audio=4.0))


def test_one_who_cannot_be_kept_fed_even_alone_does_not_wait_for_it() -> None:
    """On a device that is slower than speech everybody would wait for everybody before, for nothing."""
    slow = newcomer(work=20.0, audio=5.0)
    assert can_begin(0.0, [listener(runs_out=0.1, work=5.0)], slow)


def test_clips_that_nobody_hears_while_they_are_made_are_not_protected_but_count() -> None:
    whole = Outlook(due=1.0, first=5.0, follows=11.0, rest=0.0, audio=0.0, heard=False, live=False)
    assert can_begin(0.0, [whole], newcomer(0.0, 0.0))
    assert not can_begin(0.0, [whole, listener(runs_out=2.0, work=0.1)], newcomer(0.0, 0.0))


@pytest.mark.parametrize("seed", range(200))
def test_nobody_who_was_admitted_falls_silent(seed: int) -> None:
    """A device that does one thing after the other in the order of dues, with nothing new to come."""
    rng = random.Random(seed)
    listeners = [
        listener(rng.uniform(0, 5), rng.uniform(0, 1), rest=rng.uniform(0, 2), audio=rng.uniform(2, 9))
        for _ in range(rng.randint(0, 6))
    ]
    fresh = newcomer(rng.uniform(0, 2), rng.uniform(2, 9), first=rng.uniform(0.1, 0.5))
    if not can_begin(0.0, listeners, fresh):
        return
    began = replace(fresh, follows=fresh.follows + fresh.first)  # what it is heard from on, for it is due before all
    now = 0.0
    for due, work, matters in sorted(piece for one in [*listeners, began] for piece in admission._pieces(one)):
        now += work
        assert not matters or now <= due + 1e-9, f"seed {seed}: a silence that could be foreseen"
