"""Pieces of audio to one file with chapter marks: M4B (AAC in MP4) or MP3 (ID3v2 chapters), through PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import soundfile

BookFormat = Literal["m4b", "mp3"]

MEDIA_TYPES: dict[str, str] = {"m4b": "audio/mp4", "mp3": "audio/mpeg"}

PIECE_PAUSE_S = 0.35
CHAPTER_PAUSE_S = 1.2

_CONTAINERS = {"m4b": ("ipod", "aac", 64_000), "mp3": ("mp3", "mp3", 64_000)}
_BLOCK = 48_000  # samples that are in memory at a time
_MILLISECONDS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of a book: its title and the FLAC files that it is made of, in order, all of one rate."""

    title: str
    files: Sequence[Path]


def flac(pcm: bytes, rate: int) -> bytes:
    """A piece's file of 16-bit samples. It says its length, which FLAC that is streamed does not."""
    made = io.BytesIO()
    soundfile.write(made, np.frombuffer(pcm, "<i2"), rate, format="FLAC")
    return made.getvalue()


def write_book(path: Path, sections: Sequence[Section], *, format: BookFormat, title: str) -> None:
    """Make the file, with a chapter mark for each section. Blocks; raises OSError.

    All lengths are read before anything is encoded, as chapter marks stand at the beginning.
    """
    rate = soundfile.info(str(sections[0].files[0])).samplerate
    container_name, codec, bit_rate = _CONTAINERS[format]
    with av.open(str(path), "w", format=container_name) as container:
        container.metadata["title"] = title
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        container.set_chapters(_marks(sections, rate))
        resampler = av.AudioResampler("fltp" if codec == "aac" else "s16p", "mono", rate)
        at = 0
        for block in _blocks(sections, rate):
            frame = av.AudioFrame.from_ndarray(block[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += len(block)
            for planar in resampler.resample(frame):
                container.mux(stream.encode(planar))
        container.mux(stream.encode(None))


def _marks(sections: Sequence[Section], rate: int) -> list[dict[str, Any]]:
    marks: list[dict[str, Any]] = []
    at = 0
    for number, section in enumerate(sections):
        begin = at
        at += sum(soundfile.info(str(file)).frames for file in section.files)
        at += round(rate * PIECE_PAUSE_S) * (len(section.files) - 1) + round(rate * CHAPTER_PAUSE_S)
        marks.append(
            {
                "id": number,
                "start": begin * 1000 // rate,
                "end": at * 1000 // rate,
                "time_base": _MILLISECONDS,
                "metadata": {"title": section.title},
            }
        )
    return marks


def _blocks(sections: Iterable[Section], rate: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int16]]]:
    for section in sections:
        for number, file in enumerate(section.files):
            if number:
                yield np.zeros(round(rate * PIECE_PAUSE_S), np.int16)
            yield from soundfile.blocks(str(file), _BLOCK, dtype="int16")
        yield np.zeros(round(rate * CHAPTER_PAUSE_S), np.int16)
