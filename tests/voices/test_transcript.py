"""Whether a clip says its transcript, on the reference clips that ship."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from f5_tts_server.recognizer.align import align
from f5_tts_server.voices.transcript import check

ASSETS = Path("f5_tts_server/embedded/assets")
VOICES = {voice["id"]: voice for voice in json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]}
FIRST, SECOND = list(VOICES)[:2]


def clip(name: str) -> np.ndarray:
    samples, rate = soundfile.read(ASSETS / VOICES[name]["audio"], dtype="float32")
    assert rate == 24_000
    return samples


@pytest.mark.parametrize("name", VOICES)
def test_a_clip_says_its_own_text(name: str) -> None:
    found = check(clip(name), VOICES[name]["text"])
    assert found is not None and found.fits and not found.doubtful and found.proposal is None, found


def test_a_clip_says_no_other_text() -> None:
    found = check(clip(FIRST), VOICES[SECOND]["text"])
    assert found is not None and not found.fits and (found.doubtful or found.score == 0), found


def test_what_the_text_lacks_is_to_be_cut_off_the_clip() -> None:
    first, second = (np.pad(clip(name), (0, 7_200)) for name in (FIRST, SECOND))
    words = align(first, VOICES[FIRST]["text"])
    found = check(np.concatenate([first, second]), VOICES[FIRST]["text"])
    assert found is not None and not found.fits
    assert found.proposal is not None and found.proposal.startswith("keep the clip up to ")
    seconds = float(found.proposal.split()[5])
    assert words[-1].end <= seconds <= words[-1].end + 0.15
    before = check(np.concatenate([second, first]), VOICES[FIRST]["text"])
    assert before is not None and before.proposal is not None
    assert before.proposal.startswith("keep the clip from ")
    seconds = float(before.proposal.split()[4])
    assert words[0].start - 0.15 <= seconds - len(second) / 24_000 <= words[0].start


def test_what_is_not_heard_is_to_be_left_out_of_the_text() -> None:
    more = VOICES[FIRST]["text"].rstrip(".") + ", seventeen kangaroos."
    found = check(clip(FIRST), more)
    assert found is not None and not found.fits
    assert found.proposal is not None and "seventeen kangaroos" in found.proposal
    assert {re.sub(r"\W", "", word.text) for word in found.doubtful} & {"seventeen", "kangaroos"}


def test_a_text_that_there_is_no_time_for_does_not_fit() -> None:
    """Two phonemes of three in their least length were once taken to be speech: nothing like it was trained on."""
    found = check(clip(FIRST)[:24_000], VOICES[FIRST]["text"] * 3)
    assert found is not None and not found.fits and found.score == 0 and found.proposal is None


def test_other_languages_are_not_judged() -> None:
    assert check(clip(FIRST), "Das ist nicht auf Englisch und wird nicht beurteilt.") is None
    assert check(clip(FIRST), "漢字") is None
    assert check(clip(FIRST), "…") is None
