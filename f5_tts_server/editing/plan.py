"""Where a recording is cut, and what becomes of each cut: new words infilled, or the two sides joined.

Words that are only taken out at a pause leave a cross-fade; out of running speech, the next word is spoken anew.
The cuts lie in the silence between words where there is some, near the words that change, else at the quietest place
near the boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from f5_tts_server.editing.words import Difference, differences
from f5_tts_server.inference_types import Infill, Part, Recorded, Samples, SpokenWord
from f5_tts_server.text import TextError

CONTEXT_S = 3.0
"""Of the recording, on either side of a gap, that the model hears."""

_FADE = 512  # samples over which a gap's sides are faded: `inference_types.INFILL_FADE_FRAMES`
_EDGE = 1024  # samples that a gap keeps from the recording's end: the model must hear something there
_JOIN = 480  # samples of the cross-fade where words are only taken out
_NEAR_S = 0.02  # from a boundary its quietest place is looked for
_PAUSE_S = 0.06  # between words, and there is a pause
_MARGIN_S = 0.03  # of a pause that goes with the word beside it
_QUIET_WINDOW = 96  # samples


@dataclass(frozen=True, slots=True)
class Change:
    """What was said and what is, and between which times of the recording its samples are not kept."""

    was: str
    now: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Edit:
    """The parts of an edited recording, in order."""

    parts: tuple[Part, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Cut:
    first: int  # sample of the recording
    last: int
    words: Difference
    text: str


def plan_edit(
    samples: Samples, rate: int, words: Sequence[SpokenWord], wanted: str, speakable: Callable[[str], bool]
) -> Edit:
    """The parts of a recording [n] at `rate` hertz, in which `words` are said, when it shall say `wanted`.

    Only what changes is cut out; all other samples are those of the recording, but for a few milliseconds at each cut.
    `speakable` says whether a word has a sound.

    Raises TextError where no word is kept: of that there is nothing to go on.
    """
    new = [word for word in wanted.split() if speakable(word)]
    found = differences([word.text for word in words], new)
    if not new or sum(one.last - one.first for one in found) == len(words):
        raise TextError(
            "the new text keeps no word of the recording; to speak a text in its voice is what generate is for"
        )
    found = [_with_neighbour(one, words) for one in found]
    cuts = [_cut(samples, rate, words, one, " ".join(new[one.new_first : one.new_last])) for one in found]
    parts: list[Part] = []
    changes = []
    at = 0  # sample up to which the recording has been dealt with
    for cut in _apart(cuts, words, new):
        fade = _FADE if cut.text else _JOIN // 2
        parts.append(Recorded(samples[at : cut.first - fade]))
        parts.append(_infill(samples, rate, words, cut) if cut.text else _joined(samples, cut))
        at = cut.last + fade
        was = " ".join(word.text for word in words[cut.words.first : cut.words.last])
        changes.append(Change(was, cut.text, round((cut.first - fade) / rate, 6), round(at / rate, 6)))
    parts.append(Recorded(samples[at:]))
    return Edit(tuple(part for part in parts if not isinstance(part, Recorded) or len(part.samples)), tuple(changes))


def _with_neighbour(one: Difference, words: Sequence[SpokenWord]) -> Difference:
    """Words that are taken out of running speech take the one after them along, which is spoken anew: sounds run into
    each other, and of two that never met a cross-fade makes a third. At a pause, or an end, there is nothing to mend."""
    inside = one.first > 0 and one.last < len(words)
    if one.new_first < one.new_last or not inside:
        return one
    paused = max(words[one.first].start - words[one.first - 1].end, words[one.last].start - words[one.last - 1].end)
    if paused > _PAUSE_S:
        return one
    return Difference(one.first, one.last + 1, one.new_first, one.new_last + 1)


def _cut(samples: Samples, rate: int, words: Sequence[SpokenWord], words_of: Difference, text: str) -> _Cut:
    end = len(samples) / rate
    before = words[words_of.first - 1].end if words_of.first else 0.0
    after = words[words_of.last].start if words_of.last < len(words) else end
    if words_of.first < words_of.last:
        first = _beside(samples, rate, before, words[words_of.first].start, near_end=True)
        last = _beside(samples, rate, words[words_of.last - 1].end, after, near_end=False)
        if not text:  # the pause before the words goes with them, the one after stays
            last = _beside(samples, rate, words[words_of.last - 1].end, after, near_end=words_of.last < len(words))
    else:
        first = last = _beside(samples, rate, before, after, near_end=words_of.first > 0)
    low, high = _FADE, len(samples) - _EDGE
    return _Cut(min(max(first, low), high), max(min(last, high), low), words_of, text)


def _beside(samples: Samples, rate: int, start: float, end: float, *, near_end: bool) -> int:
    """A place between a word that ends at `start` and one that begins at `end`, near one of them if there is a pause."""
    if end - start > _PAUSE_S:
        place = end - _MARGIN_S if near_end else start + _MARGIN_S
    else:
        place = (start + end) / 2
    first, last = max(round((place - _NEAR_S) * rate), 0), min(round((place + _NEAR_S) * rate), len(samples))
    power = np.convolve(np.square(samples[first:last]), np.ones(_QUIET_WINDOW), "same")
    return first + int(np.argmin(power)) if len(power) else first


def _apart(cuts: list[_Cut], words: Sequence[SpokenWord], new: Sequence[str]) -> list[_Cut]:
    """The cuts, joined where there is no room for the fades between two of them."""
    kept: list[_Cut] = []
    for cut in cuts:
        if kept and cut.first - kept[-1].last < 3 * _FADE:
            last = kept.pop()
            spanned = Difference(last.words.first, cut.words.last, last.words.new_first, cut.words.new_last)
            text = " ".join(new[spanned.new_first : spanned.new_last])
            cut = _Cut(last.first, cut.last, spanned, text)
        kept.append(cut)
    return kept


def _joined(samples: Samples, cut: _Cut) -> Recorded:
    """The two sides of a cut, faded into each other."""
    up = np.linspace(0, 1, _JOIN, endpoint=False, dtype=np.float32)
    half = _JOIN // 2
    left, right = samples[cut.first - half : cut.first + half], samples[cut.last - half : cut.last + half]
    return Recorded(left * (1 - up) + right * up)


def _infill(samples: Samples, rate: int, words: Sequence[SpokenWord], cut: _Cut) -> Infill:
    """With the recording around it, cut at words."""
    reach = CONTEXT_S * rate
    before = [word for word in words[: cut.words.first] if word.start * rate >= cut.first - reach]
    after = [word for word in words[cut.words.last :] if word.end * rate <= cut.last + reach]
    # Half of what lies between the outermost word and the one that is left out.
    start, end = 0.0, len(samples) / rate
    if len(before) < cut.words.first:
        outside = words[cut.words.first - len(before) - 1].end
        start = max((outside + before[0].start) / 2 if before else outside, cut.first / rate - CONTEXT_S)
    if len(after) < len(words) - cut.words.last:
        outside = words[cut.words.last + len(after)].start
        end = min((outside + after[-1].end) / 2 if after else outside, cut.last / rate + CONTEXT_S)
    origin = min(int(max(start, cut.first / rate - CONTEXT_S) * rate), cut.first - _FADE)
    stop = max(int(min(end, cut.last / rate + CONTEXT_S) * rate), cut.last + _EDGE)

    def moved(found: Sequence[SpokenWord]) -> tuple[SpokenWord, ...]:
        shift = origin / rate
        return tuple(SpokenWord(word.text, max(word.start - shift, 0.0), word.end - shift) for word in found)

    return Infill(samples[origin:stop], cut.first - origin, cut.last - origin, moved(before), cut.text, moved(after))
