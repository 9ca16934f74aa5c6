"""Text as the released F5-TTS and E2-TTS models read it: tokens, vocabulary, segments, lengths.

The rules, and the names of what they count, are those of SWivid/F5-TTS 1.1.22 (`model/utils.py`,
`infer/utils_infer.py`, `CFM.sample`): Chinese becomes pinyin with tone numbers, all else stays as it is written;
lengths are guessed from UTF-8 bytes at the reference's bytes a frame.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from f5_tts_server import given_sounds
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Frontend, Gap, Reference, SegmentPlan, too_long_to_fill

LONGEST_SECONDS = 22.0  # reference and speech of one segment; the models were trained on clips up to 30 s
SHORT_BYTES = 10  # a text below this is spoken at SHORT_SPEED: at its share of bytes it would be cut off
SHORT_SPEED = 0.3

_GROWTH = 2  # each segment of a text that must be heard early may be twice as long as the one before
_IDEOGRAPHS = (("\u3040", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"))
_CLAUSE_END = re.compile(r"(?<=[;:,.!?])\s+|(?<=[；：，。！？])")


class VocabularyError(ValueError):
    """A vocabulary file that is damaged or belongs to another checkpoint."""


# Tokens


def tokens_by(name: Literal["pinyin", "char"]) -> Callable[[str], list[str]]:
    """Text → tokens: "pinyin" as the released models read it, "char" every character as it is."""
    if name == "char":
        return list
    # Its dictionaries take half a second to import, which only models that read Chinese need to wait for.
    from f5_tts_server.f5.pinyin import pinyin_tokens

    return pinyin_tokens


def check_given(transcription: str, tokenizer: Literal["pinyin", "char"]) -> None:
    """Raises ValueError for a given pronunciation that no model with this tokenizer can speak."""
    if tokenizer == "char":
        raise ValueError(f"transcription {transcription!r}: this model reads letters only; respell the word")
    from f5_tts_server.f5.pinyin import syllables  # late, as above

    try:
        syllables(transcription)
    except ValueError as error:
        raise ValueError(
            f"{error}; this model reads letters and pinyin, so respell words that are not Chinese"
        ) from error


@dataclass(frozen=True)
class Vocab:
    """A `vocab.txt`: one token a line, its id the line's number from 0. Unknown tokens get id 0, the space's."""

    index: Mapping[str, int]

    @property
    def size(self) -> int:
        """Number of different tokens: the checkpoint's `text_num_embeds`."""
        return len(self.index)

    @classmethod
    def load(cls, path: Path) -> Vocab:
        """Reads a file of UTF-8 lines. Of a token that stands twice the later line counts, as in the official code."""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise VocabularyError(f"vocabulary {path}: not UTF-8 ({error.reason} at byte {error.start})") from error
        lines = text.removesuffix("\n").split("\n")
        # Editors that strip trailing blanks leave an empty first line; a space is then unknown, and so still 0.
        if lines[0] not in (" ", ""):
            raise VocabularyError(
                f"vocabulary {path}: line 1 is {lines[0][:20]!r}, yet id 0 must be the space, which stands for "
                "every unknown token"
            )
        return cls({token: number for number, token in enumerate(lines)})

    def ids(self, tokens: Iterable[str]) -> NDArray[np.int32]:
        """[n_tokens]"""
        return np.array([self.index.get(token, 0) for token in tokens], np.int32)


# Lengths


def _bytes(text: str) -> int:
    """In UTF-8, words with a given pronunciation as they are written."""
    return len(given_sounds.written(text).encode("utf-8"))


def end_reference_text(text: str) -> str:
    """The transcript with an end of sentence, which keeps the model from running on into the generated text."""
    if text.endswith((". ", "。")):
        return text
    return text + " " if text.endswith(".") else text + ". "


def _spaced(reference_text: str) -> str:
    """One more space after an ASCII character: the official code adds it to what `end_reference_text` gave."""
    return reference_text + " " if reference_text[-1].isascii() else reference_text


def segment_budget(reference_text: str, reference_seconds: float, speed: float) -> int:
    """Bytes of text that fill the time left in a segment of 22 s. `reference_text` as `end_reference_text` gives it.

    Not positive for a reference of 22 s or more.
    """
    return int(_bytes(reference_text) / reference_seconds * (LONGEST_SECONDS - reference_seconds) * speed)


def byte_duration(reference_text: str, reference_frames: int, text: str, speed: float) -> int:
    """Frames of reference and speech together, the text spoken at the reference's bytes a frame times `speed`.

    `reference_text` is all that precedes the text in the model's input, `reference_frames` is samples // hop.
    """
    pace = SHORT_SPEED if _bytes(text) < SHORT_BYTES else speed
    return reference_frames + int(reference_frames / _bytes(reference_text) * _bytes(text) / pace)


# Segments


def chunk_text(text: str, max_bytes: int) -> list[str]:
    """The official chunks: whole clauses, as many as fit `max_bytes`; a longer clause is a chunk of its own.

    A clause ends with `;:,.!?` before white space, or with `；：，。！？`. Clauses are joined by one space after
    ASCII, by nothing else.
    """
    chunks: list[str] = []
    chunk = ""
    for clause in _CLAUSE_END.split(text):
        if not clause:
            continue
        if chunk and _bytes(chunk) + _bytes(clause) > max_bytes:
            chunks.append(chunk.strip())
            chunk = ""
        chunk += clause + " " if clause[-1].isascii() else clause
    if chunk:
        chunks.append(chunk.strip())
    return chunks


def _is_ideograph(character: str) -> bool:
    """Of a script written without spaces, every character of which may end a line: Chinese, Japanese."""
    return any(first <= character <= last for first, last in _IDEOGRAPHS)


def _may_cut(before: str, after: str) -> bool:
    """Whether a word ends between two characters: at white space, or beside an ideograph."""
    if after.isspace():
        return False  # the cut comes after the white space
    if before.isspace():
        return True
    if not (_is_ideograph(before) or _is_ideograph(after)):
        return False
    # Closing punctuation and marks stay with what precedes them, opening ones with what follows; numbers stay whole.
    kinds = unicodedata.category(before), unicodedata.category(after)
    return kinds[0] not in ("Ps", "Pi") and kinds[1] not in ("Pe", "Pf", "Po", "Lm", "Mn", "Mc") and "Nd" not in kinds


def _word_cut(text: str, limit: int, least: int = 1) -> int:
    """Where to cut `text`: the last end of a word within `limit` bytes, yet the first one from `least` bytes on."""
    best = len(text)
    size = blanks = 0  # bytes before `place` without the white space at its end, and those of that white space
    for place in range(1, len(text)):
        if text[place - 1].isspace():
            blanks += _bytes(text[place - 1])
        else:
            size += blanks + _bytes(text[place - 1])
            blanks = 0
        if _may_cut(text[place - 1], text[place]):
            if size > limit and best < len(text):
                break
            if size >= least:
                best = place
    return best


def _early_cut(text: str, limit: int, stretch: int, budget: int) -> int:
    """Where an early segment of `text` ends: after the clauses that fit `limit` bytes; else after a clause of up to
    `stretch` bytes; else after a word. Neither side is left with a text so short that it would be drawled, unless
    that takes more than `budget` bytes."""
    cut = None
    for end in chain((match.end() for match in _CLAUSE_END.finditer(text)), (len(text),)):
        size = _bytes(text[:end].strip())
        if size > stretch or (cut is not None and size > limit):
            break
        if size >= SHORT_BYTES:
            cut = end
    if cut is None:
        cut = _word_cut(text, limit, SHORT_BYTES)
        if _bytes(text[:cut].strip()) > budget:
            cut = _word_cut(text, budget)
    if _bytes(text[cut:].strip()) < SHORT_BYTES and _bytes(text) <= budget:
        return len(text)
    return cut


class PinyinFrontend(Frontend):
    """The front end of the released models, and of community models with a vocabulary of their own."""

    def __init__(
        self,
        vocab: Vocab,
        mel: MelConfig,
        *,
        max_frames: int,
        tokenizer: Literal["pinyin", "char"] = "pinyin",
    ) -> None:
        """`max_frames`: of reference and speech together, the longest segment that the model is compiled for."""
        self._vocab = vocab
        self._mel = mel
        self._max_frames = max_frames
        self._tokenizer = tokenizer
        self._tokens = tokens_by(tokenizer)

    def split(self, text: str, reference: Reference, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        """The official chunks, except that a clause beyond the byte budget is cut between words (officially it stays
        whole, however long); a word beyond it stays whole. No segment is blank.

        With `first_seconds` the first segment lasts about that long, and each following one up to twice as long as
        the one before until the budget is reached; they end with a clause or, failing that, with a word.
        """
        reference_text = self._reference_text(reference)
        reference_seconds = len(reference.samples) / self._mel.sample_rate
        budget = min(
            segment_budget(reference_text, reference_seconds, speed),
            self._bytes_that_fit(_spaced(reference_text), self._reference_frames(reference), speed),
        )
        self._check(text)
        self._check_given(text)
        rest = text
        if first_seconds is not None:
            rest = rest.strip()
            limit = max(SHORT_BYTES, int(_bytes(reference_text) / reference_seconds * first_seconds * speed))
            stretch = limit
            while rest and limit < budget:
                cut = _early_cut(rest, limit, min(stretch, budget), budget)
                yield rest[:cut].strip()
                rest = rest[cut:].strip()
                limit *= _GROWTH
                stretch = limit * _GROWTH
        for chunk in chunk_text(rest, budget):
            piece = chunk
            while (len(piece) > budget or _bytes(piece) > budget) and (cut := _word_cut(piece, budget)) < len(piece):
                yield piece[:cut].strip()
                piece = piece[cut:].strip()
            if piece:
                yield piece

    def plan(self, text: str, reference: Reference, *, speed: float, seconds: float | None) -> SegmentPlan:
        """Tokens and frames as `infer_batch_process` and `CFM.sample` have them: the byte-length guess or the asked
        seconds, yet one frame more than there are tokens or frames of the reference's mel.

        Raises ValueError for a blank text and for a segment beyond `max_frames`.
        """
        self._check(text)
        if not text.strip():
            raise ValueError("the text is empty")
        reference_text = _spaced(self._reference_text(reference))
        reference_frames = self._reference_frames(reference)
        tokens = self._vocab.ids(self._tokens(reference_text + text))
        if seconds is None:
            frames = byte_duration(reference_text, reference_frames, text, speed)
        else:
            mel = self._mel
            frames = int((reference_frames * mel.hop / mel.sample_rate + seconds) * mel.sample_rate / mel.hop)
        frames = max(frames, len(tokens) + 1, len(reference.mel) + 1)
        if frames > self._max_frames:
            raise ValueError(
                f"the text {given_sounds.written(text)[:40]!r} needs {frames} frames with its reference "
                f"({self._seconds(frames)} s); "
                f"at most {self._max_frames} ({self._seconds(self._max_frames)} s) fit one segment"
            )
        overhang = reference.mel[reference_frames:frames]
        return SegmentPlan(text, tokens, ref_frames=reference_frames, frames=frames, overhang=overhang)

    def _fill(self, gap: Gap, text: str) -> tuple[NDArray[np.int32], int]:
        """The gap lasts as its bytes would at the rate of the words around it, as `byte_duration` has it."""
        around = [*gap.before, *gap.after]
        self._check(text)
        words = [*(word for word, _, _ in gap.before), text, *(word for word, _, _ in gap.after)]
        tokens = self._vocab.ids(self._tokens(" ".join(word for word in words if word)))
        spoken = sum(end - start for _, start, end in around)
        length = round(spoken / max(sum(_bytes(word) + 1 for word, _, _ in around), 1) * (_bytes(text) + 1))
        length = max(length, len(tokens) + 1 - gap.frames(0), 1)
        if gap.frames(length) > self._max_frames:
            raise too_long_to_fill(text, self._seconds(gap.frames(length)), self._seconds(self._max_frames))
        return tokens, length

    def _seconds(self, frames: int) -> str:
        return f"{frames * self._mel.hop / self._mel.sample_rate:.1f}"

    def _reference_frames(self, reference: Reference) -> int:
        return len(reference.samples) // self._mel.hop

    def _reference_text(self, reference: Reference) -> str:
        self._check(reference.text)
        if not reference.text.strip():
            raise ValueError("the reference's transcript is empty")
        return end_reference_text(reference.text)

    def _bytes_that_fit(self, reference_text: str, reference_frames: int, speed: float) -> int:
        """Bytes whose `byte_duration` stays within `max_frames`."""
        return int((self._max_frames - reference_frames) * speed * _bytes(reference_text) / reference_frames)

    def _check_given(self, text: str) -> None:
        """Raises ValueError for a given pronunciation that the model does not know."""
        for _, given in given_sounds.parts(text):
            if not given:
                continue
            check_given(given, self._tokenizer)
            unknown = [
                token for token in self._tokens(given_sounds.encode("", given)) if token not in self._vocab.index
            ]
            if unknown:
                raise ValueError(f"transcription {given!r}: this model does not know {unknown[0]!r}")

    @staticmethod
    def _check(text: str) -> None:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"the text has half a surrogate pair at character {error.start}: not Unicode") from error
