"""What is open and how fast it is worked off, against sums done by hand."""

from __future__ import annotations

import pytest

from f5_tts_server.engine.cost import FRAMES_PER_SECOND, Ledger, Open
from f5_tts_server.inference_types import Speech, VoiceClip

CLIP = VoiceClip(b"", "")
REFERENCE, FIRST, LATER = 300, 100, 500  # frames
NFE = 4


def learned() -> Ledger:
    """A ledger that has seen one kind of request for long: segments of 20 and 100 bytes, 10,000 frame-steps a second, a
    vocoder that takes 1 ms a frame."""
    ledger = Ledger(1.0)
    for job in range(200):
        ledger.expect(job, [Speech("x" * 120, CLIP)], NFE)
        ledger.plan(job, "x" * 20, 1.0, REFERENCE + FIRST, FIRST)
        ledger.plan(job, "x" * 100, 1.0, REFERENCE + LATER, LATER)
        ledger.advance({job: 400}, 0.04, full=True)
        ledger.vocoded(job, 64, 0.064)
        ledger.close(job)
    return ledger


def planned(ledger: Ledger) -> list[float]:
    return [piece.work for piece in ledger.open(1000).planned]


def test_a_text_that_has_just_come() -> None:
    ledger = learned()
    ledger.expect(1000, [Speech("x" * 70, CLIP), Speech("x" * 100, CLIP, speed=2.0)], NFE)
    seen = ledger.open(1000)
    assert not seen.planned
    first, *later = seen.expected
    assert first.work == pytest.approx(400 * NFE / 10_000 + 100 * 1e-3, rel=1e-3)
    assert first.audio == pytest.approx(FIRST / FRAMES_PER_SECOND, rel=1e-3)
    # 70 + 100 / 2 bytes less the 20 of the first segment are as much as one later segment, in pieces that grow.
    work, audio = sum(piece.work for piece in later), sum(piece.audio for piece in later)
    assert work == pytest.approx(800 * NFE / 10_000 + 500 * 1e-3, rel=1e-3)
    assert audio == pytest.approx(LATER / FRAMES_PER_SECOND, rel=1e-3)
    assert [piece.audio for piece in later[:2]] == pytest.approx([1.6 * first.audio, 1.6**2 * first.audio])
    assert ledger.seconds_for_all() == pytest.approx(first.work + work)


def test_work_that_is_done_is_open_no_more() -> None:
    ledger = learned()
    ledger.expect(1000, [Speech("x" * 20, CLIP)], NFE)
    ledger.plan(1000, "x" * 20, 1.0, 400, 100)
    assert planned(ledger) == pytest.approx([400 * NFE / 10_000 + 0.1], rel=1e-3)
    for _ in range(NFE):
        ledger.advance({1000: 400}, 0.04, full=True)
    assert planned(ledger) == pytest.approx([0.1], rel=1e-3)
    ledger.vocoded(1000, 60, None)
    assert planned(ledger) == pytest.approx([0.04], rel=1e-3)
    ledger.vocoded(1000, 40, None)
    assert not planned(ledger)
    assert ledger.seconds_for_all() == pytest.approx(0, abs=1e-9)


def test_segments_are_worked_off_in_their_order() -> None:
    ledger = learned()
    ledger.expect(1000, [Speech("x" * 40, CLIP)], NFE)
    ledger.plan(1000, "x" * 20, 1.0, 400, 100)
    ledger.plan(1000, "x" * 20, 1.0, 400, 100)
    ledger.advance({1000: 5 * 400}, 0.2, full=True)
    assert planned(ledger) == pytest.approx([0.1, 3 * 400 / 10_000 + 0.1], rel=1e-3)
    ledger.vocoded(1000, 100, None)
    assert planned(ledger) == pytest.approx([3 * 400 / 10_000 + 0.1], rel=1e-3)


def test_a_device_with_room_left_is_not_taken_for_slow() -> None:
    """Turns of one row on a device that takes eight say nothing of how much it could do."""
    ledger = learned()
    ledger.expect(1000, [Speech("x" * 120, CLIP)], NFE)
    before = ledger.seconds_for_all()
    for _ in range(50):
        ledger.advance({1: 100}, 0.04, full=False)
    assert ledger.seconds_for_all() == before
    ledger.advance({1: 4000}, 0.04, full=False)  # but it is at least as fast as it was seen to be
    assert ledger.seconds_for_all() < before


def test_what_is_closed_costs_nothing() -> None:
    ledger = learned()
    ledger.expect(1000, [Speech("x" * 120, CLIP)], NFE)
    ledger.close(1000)
    assert ledger.seconds_for_all() == 0
    assert ledger.open(1000) == Open((), ())
