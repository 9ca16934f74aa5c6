"""The teacher: espeak-ng, made to speak our own phonemes, with the exact time of each.

espeak-ng (GPL-3) is used here only, to make training audio; nothing at run time needs it. Its shared library
(`libespeak-ng1` on Debian) is called through ctypes. Phonemes go in as `[[mnemonics]]`, and phoneme events come back,
so that text, audio and lengths correspond one to one without any alignment.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES
from f5_tts_server.embedded.pronunciation import STRESSES, VOWELS

SAMPLE_RATE = 24_000
DITHER = 3e-4  # some voices have bands of exact zeros, which a log-mel would turn into cliffs

_PLAIN = {
    "b": "b", "d": "d", "f": "f", "h": "h", "j": "j", "k": "k", "l": "l", "m": "m", "n": "n", "p": "p", "s": "s",
    "t": "t", "v": "v", "w": "w", "z": "z", "ð": "D", "ŋ": "N", "ɡ": "g", "ɹ": "r", "ɾ": "t#", "ʃ": "S", "ʒ": "Z",
    "ʔ": "?", "ʤ": "dZ", "ʧ": "tS", "θ": "T", "n̩": "n-",
    "i": "i", "ɪ": "I", "ɛ": "E", "æ": "a", "ʌ": "V", "ə": "@", "ɑ": "A:", "ɔ": "O:", "ʊ": "U", "u": "u:", "ᵻ": "I#",
    "A": "eI", "I": "aI", "O": "oU", "W": "aU", "Y": "OI", "ɚ": "3", "ɝ": "3:", "ɑɹ": "A@", "ɔɹ": "O@", "ɛɹ": "e@",
    "ɪɹ": "i@3", "ʊɹ": "U@", "Iɚ": "aI3", "Wɚ": "aU@", "ᵊl": "@L",
}  # fmt: skip
_STRESSED = {"i": "i:"}
_STRESS_MARK = {"": "", "ˌ": ",", "ˈ": "'"}

MNEMONICS: dict[str, str] = {symbol: code for symbol, code in _PLAIN.items() if symbol not in VOWELS} | {
    stress + vowel: _STRESS_MARK[stress] + (_STRESSED.get(vowel, _PLAIN[vowel]) if stress else _PLAIN[vowel])
    for vowel in VOWELS
    for stress in STRESSES
}
"""Our symbol → espeak-ng's phoneme mnemonic with its stress mark."""

_LINKS = frozenset({";", "r", "r-"})
# Sounds that espeak-ng changes by their neighbours: (given, said).
_VARIANTS = frozenset({("n", "N"), ("t", "t#"), ("d", "t#"), ("@", "3"), ("@", "I#"), ("@", "@L")})


@dataclass(frozen=True)
class Voice:
    """A speaker: an espeak-ng variant at one pitch (0 to 99) and rate (words a minute).

    A speaker of twice the `size` has half the pitch and formants, at the same rate.
    """

    variant: str
    pitch: int = 50
    wpm: int = 165
    size: float = 1.0


@dataclass(frozen=True)
class Utterance:
    """samples float32 at 24 kHz; `spans[k]` = (first, end) sample of `symbols[k]`, which hold no BOUNDARY."""

    samples: np.ndarray
    symbols: tuple[str, ...]
    spans: np.ndarray  # int64 [len(symbols), 2]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_UTF8, _PHONEMES = 1, 0x100
_RATE, _PITCH = 1, 3
_END_OF_LIST, _PHONEME = 0, 7


class Mismatch(ValueError):
    """espeak-ng sounded other phonemes than it was given."""


class Teacher:
    """One espeak-ng in this process. Not thread-safe: the library holds global state."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        if self._rate <= 0:
            raise OSError("espeak-ng found no data: install the Debian package espeak-ng-data")
        self._audio: list[np.ndarray] = []
        self._events: list[tuple[str, int]] = []
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wave and count > 0:
            self._audio.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            if events[index].type == _PHONEME:
                self._events.append((bytes(events[index].name).split(b"\0")[0].decode(), events[index].sample))
            index += 1
        return 0

    def _synthesise(self, text: str, voice: Voice, flags: int) -> np.ndarray:
        self._audio.clear()
        self._events.clear()
        name = f"en-us+{voice.variant}" if voice.variant else "en-us"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"voice {name!r}: espeak-ng does not have it")
        self._library.espeak_SetParameter(_RATE, round(voice.wpm * voice.size), 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        data = text.encode()
        if self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8 | flags, None, None) != 0:
            raise OSError("espeak_Synth failed")
        self._library.espeak_Synchronize()
        wave = np.concatenate(self._audio).astype(np.float32) / 32768
        return np.asarray(soxr.resample(wave, self._rate, SAMPLE_RATE * voice.size), np.float32)

    def read(self, text: str, voice: Voice) -> np.ndarray:
        """espeak-ng's own reading of a text, by its own rules: what ours is measured against."""
        return self._synthesise(text, voice, 0)

    def speak(self, symbols: Sequence[str], voice: Voice) -> Utterance:
        """The audio of `f5.phonemes.phonemes(...)` with the time of each symbol, silent edges cut to a short pause.

        Raises Mismatch where espeak-ng joined, dropped or added a phoneme.
        """
        text, clause = "", ""
        for symbol in symbols:
            if symbol in PAUSES:
                text += f"[[{clause}]]{symbol} "
                clause = ""
            else:
                # "|" keeps two mnemonics from being read as one.
                clause += " " if symbol == BOUNDARY else MNEMONICS[symbol] + "|"
        samples = self._synthesise(text.replace("| ", " ").replace("|]]", "]]"), voice, _PHONEMES)

        spoken = [s for s in symbols if s != BOUNDARY]
        scale = SAMPLE_RATE * voice.size / self._rate
        starts: list[int] = []
        pending = iter(spoken)
        expected = next(pending)
        for name, position in self._events:
            if name.startswith("_"):
                if expected in PAUSES:
                    starts.append(round(position * scale))
                    expected = next(pending, "")
                continue
            meant = MNEMONICS[expected].lstrip("',") if expected and expected not in PAUSES else ""
            if name in _LINKS and name != meant:
                continue  # a glide between vowels belongs to the symbol before it
            if name != meant and (meant, name) not in _VARIANTS:
                raise Mismatch(f"expected {expected!r}, espeak-ng said {name!r}")
            starts.append(round(position * scale))
            expected = next(pending, "")
        if expected != "":
            raise Mismatch(f"espeak-ng ended before {expected!r}")
        edges = np.array([*starts, len(samples)], np.int64)
        return _trim(Utterance(samples, tuple(spoken), np.stack([edges[:-1], edges[1:]], axis=1)))


def _trim(utterance: Utterance, lead: float = 0.03, tail: float = 0.12, longest_pause: float = 0.4) -> Utterance:
    """Cuts the silence before the first symbol to `lead` seconds, the last pause to `tail`, others to `longest_pause`."""
    first = max(0, int(utterance.spans[0, 0] - lead * SAMPLE_RATE))
    pieces, spans, at = [], [], 0
    for index, (symbol, (start, end)) in enumerate(zip(utterance.symbols, utterance.spans, strict=True)):
        begin = first if index == 0 else int(start)
        stop = int(end)
        if symbol in PAUSES:
            limit = tail if index == len(utterance.symbols) - 1 else longest_pause
            stop = min(stop, begin + int(limit * SAMPLE_RATE))
        pieces.append(utterance.samples[begin:stop])
        spans.append((at, at + stop - begin))
        at += stop - begin
    return Utterance(np.concatenate(pieces), utterance.symbols, np.array(spans, np.int64))
