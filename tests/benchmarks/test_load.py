"""The load benchmark's arithmetic, against cases worked by hand."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import islice

import pytest

from benchmarks.load import MIX, TEXTS, Ask, Chunk, Reply, burst, deal, figures, mean_audio, percentile, poisson, stalls


def reply(*chunks: tuple[float, float], due: float = 0.0, status: int = 200, error: str | None = None) -> Reply:
    ended = chunks[-1][0] if chunks else 0.1
    return Reply(Ask(due, "short", "", 0), status, tuple(Chunk(*chunk) for chunk in chunks), ended, error)


def test_percentiles_are_values_that_occurred() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]  # the textbook case of the nearest rank
    assert [percentile(values, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile(list(range(1, 101)), 99) == 99
    assert math.isnan(percentile([], 50))


@pytest.mark.parametrize(
    ("chunks", "silences"),
    [
        ([], []),
        ([(0.3, 1.0)], []),
        # Each comes before what went before it has been played, the third at the very moment.
        ([(0.3, 1.0), (1.2, 0.5), (1.8, 1.0)], []),
        # Played until 1.3, silent until 2, played until 3; then silent from 3 to 3.5.
        ([(0.3, 1.0), (2.0, 1.0), (3.5, 0.5)], [0.7, 0.5]),
        # The silence moves the rest of the clip back: at 2.5 the second chunk is still playing, until 3.
        ([(0.3, 1.0), (2.0, 1.0), (2.5, 0.5), (3.4, 1.0)], [0.7]),
        # A long first chunk covers a slow second one.
        ([(0.0, 5.0), (4.0, 1.0), (5.9, 1.0)], []),
    ],
)
def test_a_player_is_silent_when_it_has_played_all_that_came(
    chunks: list[tuple[float, float]], silences: list[float]
) -> None:
    assert stalls([Chunk(*chunk) for chunk in chunks]) == pytest.approx(silences)


def test_a_whole_clip_is_one_chunk_at_its_end() -> None:
    whole = reply((0.3, 1.0), (5.0, 2.0)).as_whole()
    assert whole.chunks == (Chunk(5.0, 3.0),)
    assert not stalls(whole.chunks)


def test_figures() -> None:
    replies = [
        reply((0.5, 1.0), (1.0, 1.0)),  # good
        reply((0.4, 1.0), (2.0, 1.0), due=2.0),  # silent from 1.4 to 2.0
        reply((1.5, 4.0), due=3.0),  # late
        reply(status=429, error="too_late", due=4.0),
        reply((0.5, 1.0), due=5.0, error="deadline_exceeded"),
    ]
    run = figures(replies, goal_s=1.0)
    assert run["requests"] == 5
    assert run["first audio, s"] == {"p50": 0.5, "p95": 1.5, "p99": 1.5}
    assert run["last audio, s"] == {"p50": 1.5, "p95": 2.0, "p99": 2.0}
    assert run["real-time factor"] == pytest.approx(0.5)  # of 1.0/2, 2.0/2 and 1.5/4
    assert (run["underruns"], run["silent, s"]) == (1, pytest.approx(0.6))
    assert (run["refused"], run["failed"], run["errors"]) == (1, 1, ["deadline_exceeded"])
    assert run["goodput"] == pytest.approx(1 / 5)
    assert run["audio seconds"] == pytest.approx(9)
    assert run["audio seconds a second"] == pytest.approx(9 / 5.5)  # from 0 to the last reply's end at 5 + 0.5


def test_ten_requests_are_the_mix_and_texts_come_in_turn() -> None:
    cards = list(islice(deal(random.Random(3)), 100))
    for ten in range(0, 100, 10):
        assert Counter(kind for kind, _ in cards[ten : ten + 10]) == MIX
    for kind, texts in TEXTS.items():
        dealt = [text for k, text in cards if k == kind]
        for start in range(0, len(dealt) - len(texts) + 1, len(texts)):
            assert sorted(dealt[start : start + len(texts)]) == sorted(texts)


def test_paragraphs_have_about_sixty_words() -> None:
    assert all(50 <= len(text.split()) <= 65 for text in TEXTS["long"])


def test_arrivals_repeat_with_their_seed_and_are_as_many_as_expected() -> None:
    asks = poisson(1.5, 40, seed=1)
    assert asks == poisson(1.5, 40, seed=1) != poisson(1.5, 40, seed=2)
    assert len(asks) == 60
    assert [ask.due for ask in asks] == sorted(ask.due for ask in asks)
    assert all(0 <= ask.due <= 40 for ask in asks)


def test_gaps_between_arrivals_are_spread_like_a_poisson_process() -> None:
    asks = poisson(2.0, 2000, seed=4)
    gaps = [b.due - a.due for a, b in zip(asks, asks[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.5, rel=0.01)
    # Of an exponential distribution e^-1 exceeds the mean and e^-3 three times the mean.
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.03)
    assert sum(gap > 3 * mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-3), abs=0.015)


def test_a_burst_comes_at_once() -> None:
    asks = burst(16, seed=1)
    assert len(asks) == 16 and {ask.due for ask in asks} == {0.0}
    assert len({ask.seed for ask in asks}) == 16


def test_mean_audio_weighs_kinds_by_the_mix() -> None:
    durations = {TEXTS["short"][0]: 1.0, TEXTS["short"][1]: 3.0, TEXTS["medium"][0]: 5.0, TEXTS["long"][0]: 20.0}
    assert mean_audio(durations) == pytest.approx(0.6 * 2 + 0.3 * 5 + 0.1 * 20)
