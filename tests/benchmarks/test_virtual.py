"""What the engine's order of work is for, in virtual time: the same figures on every machine."""

from __future__ import annotations

from benchmarks import load
from benchmarks.first_come import FirstComeEngine
from benchmarks.virtual import GOAL_S, VOCODE_S, clairvoyant, run
from f5_tts_server.tts_engine import TTSEngine

REQUESTS_A_SECOND = 1.95  # the capacity that `benchmarks.virtual` finds


def test_near_capacity_listeners_are_kept_fed_and_hear_something_soon() -> None:
    """At 0.9 of capacity a fourth of all listeners once had an underrun, because early first words were bought with silence."""
    asks = [load.poisson(0.9 * REQUESTS_A_SECOND, 40, seed) for seed in (1, 2, 3)]
    ours = [reply for some in asks for reply in run(some, TTSEngine)]
    whole = [reply.as_whole() for some in asks for reply in run(some, FirstComeEngine)]
    figures, others = load.figures(ours, GOAL_S), load.figures(whole, GOAL_S)
    assert not figures["failed"] and not figures["refused"]
    assert figures["underruns"] <= 0.03 * len(ours)
    assert figures["goodput"] >= 0.9
    assert figures["first audio, s"]["p95"] <= 0.35 * others["first audio, s"]["p95"]


def test_a_burst_is_served_without_silences() -> None:
    replies = [reply for seed in range(4) for reply in run(load.burst(16, seed), TTSEngine)]
    figures = load.figures(replies, GOAL_S)
    assert not figures["failed"] and figures["underruns"] <= 0.05 * len(replies)


def test_the_shortest_delay_of_all_is_that_of_the_work_that_must_come_first() -> None:
    """A request alone begins when its first segment is made; of equal ones at once the last waits for all of those."""
    alone = clairvoyant(load.burst(1, 0))
    assert 0.1 < alone < 0.3
    text = load.TEXTS["short"][0]  # of one segment, so that only blocks of the vocoder can wait
    same = [load.Ask(0.0, "short", text, number) for number in range(5)]
    one = clairvoyant(same[:1])
    assert 5 * one - 25 * VOCODE_S <= clairvoyant(same) <= 5 * one + 25 * VOCODE_S
