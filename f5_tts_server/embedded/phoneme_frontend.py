"""The embedded voice's text front end: phonemes with predicted lengths, so that the backbone need not align text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f5_tts_server import given_sounds
from f5_tts_server.embedded.lengths import FRAMES_A_TOKEN, LengthModel, allocate
from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES, phonemes, said, silent_letters, written_words
from f5_tts_server.embedded.phonemes import words as words_and_pauses
from f5_tts_server.embedded.pronunciation import known_words, transcribe_words
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Frontend, Gap, Reference, SegmentPlan, Word, too_long_to_fill
from f5_tts_server.f5.text import Vocab
from f5_tts_server.text import TextError, clauses

LONGEST_FRAMES = 960
"""Reference and speech together: what the voice was trained on, and so what a segment is kept to where it can be."""

_SHORTEST_BUDGET = 250  # frames of speech in a segment, however long the reference is
_LEAD, _TAIL = 11.0, 19.0  # frames of silence around each segment, which the cross-fade of neighbours consumes
_STRETCH = 0.7, 1.4  # bounds of what lengths are scaled by
_JOIN = 1.0  # frames between a join and the new words
_GROWTH = 1.6  # of each early segment over the one before
_NAMED = 12  # characters that an error names
# Longer ones may be cut, as those of scripts without blanks, but no given pronunciation is.
_WORD = re.compile(rf"(?:{given_sounds.SAID}|\S){{1,200}}")
_SAID = re.compile(given_sounds.SAID)


@dataclass(frozen=True)
class _Timing:
    """A reference's text, read once for all segments that are spoken after it."""

    sounds: list[str]  # its phonemes and pauses
    rate: float  # words a minute at which they would last as long as the clip
    scale: float  # by which their lengths are still stretched beyond the rates that the model knows
    lengths: NDArray[np.float32]  # frames of each


class PhonemeFrontend(Frontend):
    """Phonemes of the reference's text and the new one, each as many tokens as it lasts.

    The speaking rate is the reference's: the one at which its own text would last as long as its clip.
    """

    def __init__(self, vocab: Vocab, lengths: LengthModel, mel: MelConfig, *, max_frames: int) -> None:
        """`max_frames`: of reference and speech together, the longest segment that the model is compiled for."""
        self._vocab, self._lengths, self._mel, self._max_frames = vocab, lengths, mel, max_frames
        self._timing_of = lru_cache(maxsize=256)(self._time_reference)

    @classmethod
    def load(cls, folder: Path, mel: MelConfig, *, max_frames: int) -> PhonemeFrontend:
        """From a folder with `vocab.txt` and `lengths.safetensors`."""
        known_words()  # reads the dictionary now, half a second, instead of in the first request
        lengths = LengthModel.load(folder / "lengths.safetensors")
        return cls(Vocab.load(folder / "vocab.txt"), lengths, mel, max_frames=max_frames)

    def split(self, text: str, reference: Reference, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        """Sentences, joined while they fit a segment; longer ones are cut after a clause or, failing that, a word.

        None where there is nothing to speak: only punctuation and emoji. Raises TextError for letters of other scripts:
        a word that is silently left out is worse than an error.
        """
        _refuse_other_scripts(text)
        _check_given(text)
        longest = self._budget(reference)
        limit = longest
        if first_seconds is not None:
            limit = min(longest, first_seconds * self._mel.sample_rate / self._mel.hop)
        current: list[str] = []  # what is not heard goes with what is
        length, heard = 0.0, False
        for piece, frames, sounds in self._pieces(text, reference, speed, min(longest, 2 * limit), longest):
            if heard and sounds and length + frames > limit:
                yield " ".join(current)
                limit = min(longest, limit * _GROWTH)
                current, length, heard = [], 0.0, False
            current.append(piece)
            length += frames
            heard = heard or sounds > 0
        if heard:
            yield " ".join(current)

    def plan(self, text: str, reference: Reference, *, speed: float, seconds: float | None) -> SegmentPlan:
        """Tokens and frames of one segment; `seconds` is kept to the sample frame.

        Raises TextError for a blank text, a segment beyond `max_frames`, and more sounds than the time asked for or
        the reference's clip can hold.
        """
        if not text.strip():
            raise TextError("the text is empty")
        heard = self._timing(reference)
        reference_frames = len(reference.samples) // self._mel.hop
        if reference_frames < FRAMES_A_TOKEN * len(heard.sounds):
            raise TextError(
                f"the reference's text has {len(heard.sounds)} sounds, too many for a clip of "
                f"{self._seconds(reference_frames)} s; it must be what is said in the clip"
            )
        spoken = phonemes(text)
        symbols = [".", *_sounds(spoken)]
        lengths = self._speech_lengths(spoken, reference, speed)
        shortest = FRAMES_A_TOKEN * (len(symbols) + 1)
        if seconds is None:
            wanted = max(round(float(lengths.sum())), shortest)
        else:
            # g frames are heard as g - 1: a centred analysis has one frame more than there are hops.
            wanted = round(seconds * self._mel.sample_rate / self._mel.hop) + 1
            if wanted < shortest:
                raise TextError(
                    f"the text {given_sounds.written(text)[:40]!r} has {len(symbols) - 1} sounds and needs "
                    f"{self._seconds(shortest)} s or more, not {seconds:g} s"
                )
        frames = reference_frames + wanted
        if frames > self._max_frames:
            raise TextError(
                f"the text {given_sounds.written(text)[:40]!r} needs {frames} frames with its reference "
                f"({self._seconds(frames)} s); "
                f"at most {self._max_frames} ({self._seconds(self._max_frames)} s) fit one segment"
            )
        shared = np.concatenate([heard.lengths, lengths * (wanted / float(lengths.sum()))])
        shared[-1] -= frames % FRAMES_A_TOKEN  # upsampling gives what does not divide to the last token
        counts = allocate(shared, frames // FRAMES_A_TOKEN)
        tokens = np.repeat(self._vocab.ids([*heard.sounds, *symbols]), counts)
        overhang = reference.mel[reference_frames:frames]
        ends = FRAMES_A_TOKEN * np.cumsum(counts)[len(heard.sounds) :] - reference_frames
        quiet = round((_LEAD + _TAIL) * wanted / float(lengths.sum()))
        return SegmentPlan(
            text,
            tokens,
            ref_frames=reference_frames,
            frames=frames,
            overhang=overhang,
            quiet_frames=quiet,
            words=self._words(text, ends),
        )

    def _words(self, text: str, ends: NDArray[np.int64]) -> tuple[Word, ...]:
        """When each word is said: `ends` are the frames at which the pause before the text and its symbols end."""
        seconds_a_frame = self._mel.hop / self._mel.sample_rate
        spoken, spans, at = [], [], 0
        for item in said(text):
            if not item.pause:
                spoken.append(item)
                spans.append((float(ends[at]) * seconds_a_frame, float(ends[at + len(item.sounds)]) * seconds_a_frame))
            at += len(item.sounds)
        return tuple(
            Word(text[first:last], first, last, spans[indices[0]][0], spans[indices[-1]][1])
            for first, last, indices in written_words(text, spoken)
        )

    def _fill(self, gap: Gap, text: str) -> tuple[NDArray[np.int32], int]:
        """Words of the recording last as long as they do in it, new ones as long as the model says at that rate."""
        _refuse_other_scripts(text)
        new = [(word, 0.0, 0.0) for word in text.split()]
        laid = [(*_said(word), start, end) for word, start, end in (*gap.before, *new, *gap.after)]
        fresh = range(len(gap.before), len(gap.before) + len(new))
        around = [word for index, word in enumerate(laid) if index not in fresh and word[0]]
        rate, scale = self._lengths.fit_rate(
            _in_a_row([(sounds, "") for sounds, *_ in around]), round(sum(end - start for *_, start, end in around))
        )
        predicted = self._lengths.frames(_in_a_row([(sounds, mark) for sounds, mark, *_ in laid]), rate)
        predicted = predicted * np.float32(np.clip(scale, *_STRETCH))
        line = _Line()
        length, at = 0, 0
        for index, (sounds, mark, start, end) in enumerate(laid):
            own, at = predicted[at : at + len(sounds)], at + len(sounds) + bool(mark)
            if index in fresh:
                if index == fresh.start:
                    line.pause_until(gap.left + _JOIN)
                line.add(sounds, own)
                if mark and index + 1 < fresh.stop:
                    line.pause_until(line.end + float(predicted[at - 1]))
            else:
                offset = 0 if index < fresh.start else gap.left + length
                line.pause_until(start + offset)
                if sounds:
                    line.add(sounds, own * ((end + offset - line.end) / float(own.sum())))
            if index + 1 == fresh.stop:
                length = max(round(line.end + _JOIN) - gap.left, 1)
                length += gap.frames(length) % FRAMES_A_TOKEN
        frames = gap.frames(length)
        if frames > self._max_frames:
            raise too_long_to_fill(text, self._seconds(frames), self._seconds(self._max_frames))
        line.pause_until(frames)
        counts = allocate(np.maximum(line.lengths, 0.1), frames // FRAMES_A_TOKEN)
        return np.repeat(self._vocab.ids(line.symbols), counts), length

    def _timing(self, reference: Reference) -> _Timing:
        return self._timing_of(reference.text, len(reference.samples) // self._mel.hop)

    def _time_reference(self, text: str, frames: int) -> _Timing:
        symbols = phonemes(text)
        rate, scale = self._lengths.fit_rate(symbols, frames)
        return _Timing(_sounds(symbols), rate, scale, self._lengths.frames(symbols, rate) * scale)

    def _speech_lengths(self, symbols: list[str], reference: Reference, speed: float) -> NDArray[np.float32]:
        """Frames of a pause, each of the symbols but boundaries, at the reference's rate × speed; the last is a pause."""
        heard = self._timing(reference)
        # A clip with silence in it looks slow; speech is not stretched as far as that.
        spoken = self._lengths.frames(symbols, heard.rate) * np.float32(np.clip(heard.scale, *_STRETCH) / speed)
        spoken[-1] = _TAIL
        return np.concatenate([[np.float32(_LEAD)], spoken])

    def _measure(self, text: str, reference: Reference, speed: float) -> tuple[float, int]:
        """How many frames `plan` gives a text, without the silence around it, and how many sounds it has."""
        symbols = phonemes(text)
        lengths = self._speech_lengths(symbols, reference, speed)
        frames = max(float(lengths.sum()) - _LEAD - _TAIL, FRAMES_A_TOKEN * (len(lengths) - 2))
        return frames, _count_sounds(symbols)

    def _budget(self, reference: Reference) -> float:
        reference_frames = len(reference.samples) // self._mel.hop
        wanted = max(LONGEST_FRAMES - reference_frames, _SHORTEST_BUDGET)
        return min(wanted, self._max_frames - reference_frames) - _LEAD - _TAIL

    def _pieces(
        self, text: str, reference: Reference, speed: float, first: float, longest: float
    ) -> Iterator[tuple[str, float, int]]:
        """Clauses in order, with their frames and number of sounds; longer ones than a segment are cut between words.

        The first may have `first` frames, the others `longest`. None is blank. No more of the text is looked at than a
        piece can hold, so that it is cut in linear time.
        """
        limit = first
        for clause in clauses(text):
            start = 0
            while begin := _WORD.search(clause, start):
                words: list[tuple[re.Match[str], int]] = []  # and the sounds up to the end of each
                sounds = 0
                for word in _WORD.finditer(clause, begin.start()):
                    sounds += _count_sounds(phonemes(word.group()))
                    words.append((word, sounds))
                    if sounds * FRAMES_A_TOKEN > limit:
                        break
                start = words[-1][0].end()
                frames, heard = self._measure(clause[begin.start() : start], reference, speed)
                if frames > limit:
                    start = _cut(words, sounds * limit / frames)
                    frames, heard = self._measure(clause[begin.start() : start], reference, speed)
                yield clause[begin.start() : start], frames, heard
                limit = longest

    def _seconds(self, frames: int) -> str:
        return f"{frames * self._mel.hop / self._mel.sample_rate:.1f}"


class _Line:
    """Symbols laid one after the other, each with its frames."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.lengths: list[float] = []
        self.end = 0.0

    def add(self, symbols: list[str], lengths: NDArray[np.float32]) -> None:
        self.symbols += symbols
        self.lengths += map(float, lengths)
        self.end += float(lengths.sum())

    def pause_until(self, frame: float) -> None:
        """Silence; what is too short for it goes to the sound before."""
        missing = frame - self.end
        if missing >= FRAMES_A_TOKEN or not self.lengths:
            self.symbols.append(".")
            self.lengths.append(max(missing, 0.0))
        else:
            self.lengths[-1] += missing
        self.end = frame


def _said(word: str) -> tuple[list[str], str]:
    """The sounds of a word and the pause that its punctuation makes, if any."""
    sounds = [symbol for symbol in phonemes(word) if symbol not in PAUSES and symbol != BOUNDARY]
    read = words_and_pauses(word)
    return sounds, read[-1] if sounds and read[-1] in PAUSES else ""


def _in_a_row(said: list[tuple[list[str], str]]) -> list[str]:
    """The symbols of words, as `phonemes` gives those of a text."""
    symbols: list[str] = []
    for sounds, mark in said:
        if symbols and symbols[-1] not in PAUSES and sounds:
            symbols.append(BOUNDARY)
        symbols += sounds
        symbols += [mark] if mark else []
    return symbols


def _refuse_other_scripts(text: str) -> None:
    if silent := silent_letters(text):
        more = f" and {len(silent) - _NAMED} others" if len(silent) > _NAMED else ""
        raise TextError(f"this voice speaks English and has no sounds for {silent[:_NAMED]!r}{more}")


def _check_given(text: str) -> None:
    """Raises TextError for a given pronunciation that is none."""
    for _, transcription in given_sounds.parts(text):
        if transcription:
            try:
                transcribe_words(transcription)
            except ValueError as error:
                raise TextError(str(error)) from error


def _cut(words: list[tuple[re.Match[str], int]], sounds: float) -> int:
    """The end of the last word up to which there are at most so many sounds; a place in the first where it has more."""
    ends = [word.end() for word, until in words if until <= sounds]
    word, until = words[0]
    if ends:
        return ends[-1]
    cut = word.start() + max(1, int(len(word.group()) * sounds / until))
    for given in _SAID.finditer(word.string, word.start(), word.end()):
        if given.start() < cut < given.end():
            return given.start() if given.start() > word.start() else given.end()
    return cut


def _count_sounds(symbols: list[str]) -> int:
    return sum(symbol not in PAUSES and symbol != BOUNDARY for symbol in symbols)


def _sounds(symbols: list[str]) -> list[str]:
    """Pauses are among them."""
    return [symbol for symbol in symbols if symbol != BOUNDARY]
