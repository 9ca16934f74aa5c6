"""No text, however odd, takes longer than in proportion to its length.

One WebSocket message of 8,000 exclamation marks once held the event loop for 14 s, and a request of 10,000 characters
without blanks the preprocess thread for 11 to 55 s: regular expressions tried each end of a run again, and what was left
was measured again after every cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from f5_tts_server.embedded import phoneme_frontend
from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phoneme_frontend import PhonemeFrontend
from f5_tts_server.embedded.phonemes import phonemes
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.pinyin import pinyin_tokens
from f5_tts_server.f5.text import PinyinFrontend, Vocab
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.text import Composer, SentenceCutter, clauses
from f5_tts_server.text.language import by_language
from f5_tts_server.text.normalization import normalize
from f5_tts_server.text.plain import without_emoji, without_markdown
from f5_tts_server.text.ssml import without_tags

LENGTH = 2_000
FAST_S = 0.08  # what takes no longer than this may grow as it likes
MEL = MelConfig()
SAMPLES = np.zeros(int(4.5 * MEL.sample_rate), np.float32)
REFERENCE = Reference(
    SAMPLES,
    np.zeros((len(SAMPLES) // MEL.hop + 1, MEL.n_mels), np.float32),
    "The old clock on the wall has stopped, but nobody wants to take it down.",
    1.0,
    SAMPLES.nbytes,
)

RUNS = [
    *("a", "A", "aeiou", "a'", "the ", "a. ", "e.g. ", "a.b.", "²", "½", "1", "1,", "1 ", "1.", "1-", "1/", "12:30 "),
    *("$", "$1 ", "-$", "#", "No. ", "a@", "a@b.", "http://", "www.", "v1.", "5'1", "1 km", "7 a", "I ", "1st"),
    *("!", '!"', "?!", ".", ". ", "…", "… ", ",", ", ", ":", "—", "— ", "-", "- ", '"', "“", "”", "(", ")", "[", "]"),
    *(" ", "\n", " \n", "\t", "\u00a0", "\u3000", "你", "你。", "。", "。”", "，", "が", "한", "א", "٣", "ß", "ﷺ"),
    *("😀", "😀\u200d", "👍🏽", "e\u0301", "\u0301", "\u0301\u0323", "\u200d", "\ufe0f", "\0"),
    *("[pause:", "[pause:1", "[voice:", "[speed:1]", "<", "<a", "</", "<!--", "&", "&amp;", "\\", "`", "``` ", "~"),
    *("*", "**", "*a_", "_", "__a", "![", "[a](", "](", "> ", "# ", "| a ", "+", "=", "%", "°", "'", "’"),
]


def cpu(call: Callable[[str], object], text: str) -> float:
    before = time.thread_time()
    call(text)
    return time.thread_time() - before


def cut(text: str) -> None:
    cutter = SentenceCutter()
    cutter.feed(text)
    cutter.flush()


def cut_by_threes(text: str) -> None:
    cutter = SentenceCutter()
    for start in range(0, len(text) // 4, 3):
        cutter.feed(text[start : start + 3])


def read(text: str) -> None:
    Composer(lambda name: VoiceClip(b"", name), VoiceClip(b"", "")).parts(text.replace("[", "("))


def pinyin_segments(text: str) -> None:
    for _ in PINYIN.split(text, REFERENCE, speed=1.0, first_seconds=1.0):
        pass


PINYIN = PinyinFrontend(Vocab({" ": 0}), MEL, max_frames=2048)
PHONEMES = PhonemeFrontend.load(ASSETS, MEL, max_frames=2048)
CALLS: dict[str, Callable[[str], object]] = {
    "cutter": cut,
    "cutter fed bit by bit": cut_by_threes,
    "clauses": lambda text: list(clauses(text)),
    "numbers": read,
    "German": lambda text: normalize(text, "de"),
    "French": lambda text: normalize(text, "fr"),
    "Polish": lambda text: normalize(text, "pl"),
    "Chinese": lambda text: normalize(text, "zh"),
    "language": by_language,
    "markdown": without_markdown,
    "emoji": without_emoji,
    "tags": without_tags,
    "phonemes": phonemes,
    "pinyin": pinyin_tokens,
    "pinyin front end": pinyin_segments,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_long_runs_take_time_in_proportion_to_their_length(call: Callable[[str], object]) -> None:
    """Four times the text takes less than ten times as long; a quadratic step would take sixteen times."""
    call("warm up")
    for index, run in enumerate(RUNS):
        before = "word $1 (“" if index % 2 else ""
        text = before + (run * LENGTH)[:LENGTH]
        if (took := cpu(call, text)) < FAST_S:
            continue
        quarter = min(cpu(call, text[: LENGTH // 4]) for _ in range(3))
        assert took < 10 * quarter, f"{run!r}: {took:.2f} s for {LENGTH} characters, {quarter:.3f} s for a quarter"


@pytest.mark.parametrize("run", ["a", "a ", "aeiou", "²", "1 ", "1,", "!a", "A.", "“a”", "é", "αa", "(a) ", "a-"])
def test_the_phoneme_front_end_reads_no_further_than_its_segments(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first segments of a text cost the same however much follows, so all of them cost what the text's length is.

    Each cut once measured all that was left of the text again.
    """
    read = 0

    def counted(text: str) -> list[str]:
        nonlocal read
        read += len(text)
        return phonemes(text)

    monkeypatch.setattr(phoneme_frontend, "phonemes", counted)
    next(PHONEMES.split(REFERENCE.text, REFERENCE, speed=1.0, first_seconds=1.0))  # its rate is remembered
    costs = []
    for length in (3_000, 12_000):
        read = 0
        segments = PHONEMES.split((run * length)[:length], REFERENCE, speed=1.0, first_seconds=1.0)
        taken = [segment for _, segment in zip(range(3), segments, strict=False)]
        costs.append((sum(map(len, taken)), read))
    assert costs[0] == costs[1]
    assert costs[0][1] < 100 * costs[0][0]
