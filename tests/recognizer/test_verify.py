"""The verifier that ships, on clips that ship: what they say fits, what is cut, repeated or exchanged does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from f5_tts_server.inference_types import FITS
from f5_tts_server.recognizer.align import AlignmentError, align
from f5_tts_server.recognizer.listener import EnglishListener
from f5_tts_server.recognizer.verify import Verifier, score
from training.damage import joined

ASSETS = Path("f5_tts_server/embedded/assets")
VOICES = {voice["id"]: voice for voice in json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]}
RATE = 24_000


def clip(name: str) -> np.ndarray:
    samples, rate = soundfile.read(ASSETS / VOICES[name]["audio"], dtype="float32")
    assert rate == RATE
    return samples


def damages(name: str) -> dict[str, np.ndarray]:
    """The longest word inside the clip cut out, said twice, and exchanged with the one after it."""
    samples, words = clip(name), align(clip(name), VOICES[name]["text"])
    at = max(range(1, len(words) - 1), key=lambda index: len(words[index].text))
    start, end = round(words[at].start * RATE), round(words[at].end * RATE)
    stop = round(words[at + 1].end * RATE)
    return {
        "lost": joined(samples[:start], samples[end:]),
        "twice": joined(samples[:end], samples[start:]),
        "swapped": joined(samples[:start], samples[end:stop], samples[start:end], samples[stop:]),
    }


def test_clips_fit_and_what_is_damaged_does_not() -> None:
    """All clips, and at least nine of ten damages: the card says how many are found in voices that were never heard."""
    undamaged = {name: score(clip(name), VOICES[name]["text"]) for name in VOICES}
    assert min(undamaged.values()) >= FITS, undamaged
    found = {
        (name, kind): score(samples, VOICES[name]["text"]) for name in VOICES for kind, samples in damages(name).items()
    }
    missed = {which: value for which, value in found.items() if value >= FITS}
    assert len(missed) <= len(found) // 10, missed


def test_the_score_is_the_same_at_any_level_and_with_silence_around() -> None:
    name = next(iter(VOICES))
    plain = score(clip(name), VOICES[name]["text"])
    assert score(clip(name) * np.float32(0.1), VOICES[name]["text"]) == pytest.approx(plain, abs=0.02)
    assert score(np.pad(clip(name), (6_000, 9_000)), VOICES[name]["text"]) >= FITS


def test_there_must_be_time_for_the_words() -> None:
    assert score(np.zeros(2_400, np.float32), "This cannot be said in so little time.") == 0
    with pytest.raises(AlignmentError, match="nothing of the text"):
        score(clip(next(iter(VOICES))), "…")


def test_noise_says_nothing() -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert score(noise, "The evening was quiet.") < FITS
    assert score(np.zeros(3 * RATE, np.float32), "The evening was quiet.") < FITS


def test_the_listener_scores_english_alone() -> None:
    listener, name = EnglishListener(), next(iter(VOICES))
    assert listener.score("Das ist ein Satz und er ist nicht auf Englisch.", clip(name)) is None
    assert listener.score("…", clip(name)) is None
    assert listener.score(VOICES[name]["text"], clip(name)) == score(clip(name), VOICES[name]["text"])


def test_once_loaded_the_listener_reads_nothing_more() -> None:
    """In a process of its own, which tells every file that is opened and every module that is imported after `load`."""
    script = """
import sys
import numpy as np
from f5_tts_server.recognizer.listener import EnglishListener
listener = EnglishListener()
listener.load()
late = []
sys.addaudithook(lambda event, arguments: late.append(arguments) if event in ("open", "import") else None)
samples = np.random.default_rng(1).normal(0, 0.1, 60_000).astype(np.float32)
assert listener.score("The evening was quiet.", samples) is not None
assert listener.words("The evening was quiet.", samples)
print(late)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n", ran.stdout


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    tensors = load_file("f5_tts_server/recognizer/assets/verifier.safetensors")
    tensors.pop("out")
    save_file(tensors, tmp_path / "verifier.safetensors")
    with pytest.raises(ValueError, match="no verifier"):
        Verifier.load(tmp_path / "verifier.safetensors")
