"""SRT and VTT: what is in the files, and the line of what is wrong in them."""

from __future__ import annotations

import pytest

from f5_tts_server.text import TextError
from f5_tts_server.text.subtitles import Subtitle, read_subtitles

SRT = """1
00:00:01,000 --> 00:00:02,500
ANN: Is the <i>kettle</i> on?

2
00:01:02,500 --> 01:00:04,000
{\\an8}Note: it has been
on since noon.
"""

VTT = """WEBVTT - a film
Kind: captions

NOTE nobody
says this

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:10%
<v.loud Ann>Tea &amp; <c.red>toast</c>?</v>

100:00:02.500 --> 100:00:04.000
<v Bob  Jones>No,
<00:03.000>thanks.
"""


def read(text: str, *speakers: str, most: int = 10, longest: float = 1e6) -> list[Subtitle]:
    return read_subtitles(text, speakers=speakers, most=most, longest=longest)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_cues_of_a_subrip_file(ends: str) -> None:
    """A name before a colon is a speaker only where it is known as one."""
    assert read("\ufeff" + SRT.replace("\n", ends), "Ann") == [
        Subtitle(1, 2, 1.0, 2.5, "ANN", "Is the kettle on?"),
        Subtitle(2, 6, 62.5, 3604.0, None, "Note: it has been on since noon."),
    ]


def test_the_cues_of_a_webvtt_file() -> None:
    assert read(VTT) == [
        Subtitle(1, 11, 1.0, 2.5, "Ann", "Tea & toast?"),
        Subtitle(2, 14, 360002.5, 360004.0, "Bob Jones", "No, thanks."),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no cue"),
        ("WEBVTT\n\nNOTE only\n", "no cue"),
        (SRT.replace("2\n00:01", "two\n00:01"), "line 5: a cue's number"),
        (SRT.replace("00:01:02,500", "00:01:62,500"), "line 6: .* is no line of times"),
        (SRT.replace("00:01:02,500", "00:00:00,500"), "line 6: the cue begins before the one above"),
        (SRT.replace("00:00:02,500", "00:00:01,000"), "line 2: the cue ends at 1 s, not after"),
        (SRT.replace("\n\n2\n", "\n2\n"), "line 5: a blank line must come before"),
        ("1\n", "line 2: a line of times"),
        ("WEBVTT\n00:01.000 --> 00:02.000\nHello.", "line 1: a blank line must come before"),
        (VTT.replace("No,", "<v Ann>No,"), "line 14: two speakers in one cue"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(TextError, match=told):
        read(text)


def test_files_are_bounded() -> None:
    with pytest.raises(TextError, match="line 5: there are more than 1 cues"):
        read(SRT, most=1)
    with pytest.raises(TextError, match="line 6: the cue ends after 3604 s; the limit is 1200 s"):
        read(SRT, longest=1200)


@pytest.mark.parametrize("text", ["<" * 200_000, "<v" + " " * 200_000, "{\\" * 100_000, "&" * 200_000])
def test_hostile_cues_are_read_in_linear_time(text: str) -> None:
    """The test's own time limit is what would fail: quadratic work on 200 000 characters takes minutes."""
    read(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{text}\n")
