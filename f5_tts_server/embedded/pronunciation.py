"""English words to phonemes: a dictionary, inflection rules, and letter-to-sound rules for what is in neither.

The dictionary is the American one shipped as data in the Python package `misaki` (Apache-2.0), read as plain JSON;
none of that package's code runs. A pronunciation is a tuple of symbols out of `CONSONANTS` and `VOWELS`; a vowel
carries its stress as a prefix ("ˈ" primary, "ˌ" secondary, nothing for unstressed).

Symbols are IPA, with capitals for diphthongs (A eɪ, I aɪ, O oʊ, W aʊ, Y ɔɪ) and r-coloured vowels as one symbol each.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from importlib import resources

from f5_tts_server.text.inflection import stems, with_ending

CONSONANTS: tuple[str, ...] = (*"bdfhjklmnpstvwzðŋɡɹɾʃʒʔʤʧθ", "n̩")
VOWELS: tuple[str, ...] = (
    *("i", "ɪ", "ɛ", "æ", "ʌ", "ə", "ɑ", "ɔ", "ʊ", "u", "ᵻ", "A", "I", "O", "W", "Y"),
    *("ɚ", "ɝ", "ɑɹ", "ɔɹ", "ɛɹ", "ɪɹ", "ʊɹ", "Iɚ", "Wɚ", "ᵊl"),
)
STRESSES: tuple[str, ...] = ("", "ˌ", "ˈ")

Pronunciation = tuple[str, ...]

_VOWEL_LETTERS = frozenset("iɪɛæʌəɑɔʊuᵻAIOWYɜᵊ")
# Two dictionary letters that are one symbol here. "əɹ" and its like stay whole before a vowel too, where the ɹ is
# repeated as a consonant ("memory": mˈɛməɹi → m ˈɛ m ɚ ɹ i).
_PAIRS = {"əɹ": "ɚ", "ɜɹ": "ɝ", "ɑɹ": "ɑɹ", "ɔɹ": "ɔɹ", "ɛɹ": "ɛɹ", "ɪɹ": "ɪɹ", "ʊɹ": "ʊɹ", "ᵊl": "ᵊl"}
# Before a vowel these keep their plain vowel and the ɹ is a consonant ("very": vˈɛɹi → v ˈɛ ɹ i).
_SPLIT_BEFORE_VOWEL = frozenset({"ɑɹ", "ɔɹ", "ɛɹ", "ɪɹ", "ʊɹ"})

# What people write in IPA to the letters of the dictionary; longer ones first.
_IPA = {
    **dict.fromkeys("\u0361\u035c\u0329\u032f.ː‿ʰ", ""),  # ties, syllabic and other marks, length
    "'": "ˈ",
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "O", "aʊ": "W", "ɔɪ": "Y", "ɑɪ": "I", "ɛɪ": "A",
    "tʃ": "ʧ", "dʒ": "ʤ", "ɝ": "ɜɹ", "ɚ": "əɹ", "r": "ɹ", "ʁ": "ɹ", "g": "ɡ", "ɫ": "l", "ɬ": "l", "x": "k", "ç": "h",
    "ɲ": "nj", "ʎ": "lj", "β": "b", "ɸ": "f", "ʋ": "v",
    "ɐ": "ə", "ɒ": "ɑ", "e": "ɛ", "a": "ɑ", "o": "O", "y": "u", "ø": "ɜ", "œ": "ɜ", "ɨ": "ᵻ", "ɯ": "u",
}  # fmt: skip

_WEAK_FORMS: dict[str, str] = {
    "a": "ə", "an": "ən", "the": "ðə", "to": "tə", "and": "ænd", "of": "ʌv", "from": "fɹʌm", "for": "fɔɹ",
    "i": "I", "us": "ʌs", "but": "bʌt", "am": "æm", "is": "ɪz", "it": "ɪt", "its": "ɪts", "it's": "ɪts",
    "or": "ɔɹ", "if": "ɪf", "he": "hi", "she": "ʃi", "we": "wi", "me": "mi", "her": "hɜɹ", "his": "hɪz",
    "you": "ju", "your": "jɔɹ", "they": "ðA", "them": "ðɛm", "in": "ɪn", "on": "ɔn", "at": "æt", "as": "æz",
    "was": "wʌz", "were": "wɜɹ", "be": "bi", "are": "ɑɹ", "been": "bɪn", "my": "mI", "that": "ðæt", "than": "ðæn",
}  # fmt: skip

_LETTER_NAMES: dict[str, str] = {
    "a": "ˈA", "b": "bˈi", "c": "sˈi", "d": "dˈi", "e": "ˈi", "f": "ˈɛf", "g": "ʤˈi", "h": "ˈAʧ", "i": "ˈI",
    "j": "ʤˈA", "k": "kˈA", "l": "ˈɛl", "m": "ˈɛm", "n": "ˈɛn", "o": "ˈO", "p": "pˈi", "q": "kjˈu", "r": "ˈɑɹ",
    "s": "ˈɛs", "t": "tˈi", "u": "jˈu", "v": "vˈi", "w": "dˈʌbəljˌu", "x": "ˈɛks", "y": "wˈI", "z": "zˈi",
}  # fmt: skip

# Letter-to-sound rules, first match wins at each position: (left context, letters, right context, sounds).
# Contexts are regular expressions over the rest of the word; "^" and "$" stand for its edges.
_V, _C = "[aeiouy]", "[^aeiouy]"
_RULES: tuple[tuple[str, str, str, str], ...] = (
    ("^", "kn", "", "n"), ("^", "gn", "", "n"), ("^", "wr", "", "ɹ"), ("^", "ps", "", "s"), ("^", "wh", "", "w"),
    ("^", "x", "", "z"), ("^", "mc", "", "mək"), ("", "tion", "", "ʃən"), ("", "ssion", "", "ʃən"),
    ("", "sion", "", "ʒən"), ("", "cian", "", "ʃən"), ("", "cial", "", "ʃəl"), ("", "tial", "", "ʃəl"),
    ("", "cious", "", "ʃəs"), ("", "tious", "", "ʃəs"), ("", "ious", "", "iəs"), ("", "ous", "$", "əs"),
    ("", "ture", "$", "ʧəɹ"), ("", "sure", "$", "ʒəɹ"), (f"{_V}.*{_C}", "le", "$", "ᵊl"), ("", "les", "$", "ᵊlz"),
    ("", "age", "$", "ɪʤ"), ("", "ism", "$", "ɪzəm"), ("[td]", "ed", "$", "ᵻd"), ("[pkfsxc]|sh|ch", "ed", "$", "t"),
    ("", "ed", "$", "d"), ("[sxzcg]|sh|ch", "es", "$", "ᵻz"), ("", "ies", "$", "iz"),
    ("", "tch", "", "ʧ"), ("", "sch", "", "sk"), ("", "ch", "[rl]", "k"), ("", "ch", "", "ʧ"), ("", "ck", "", "k"),
    ("", "dg", "[ei]", "ʤ"), ("", "ph", "", "f"), ("", "sh", "", "ʃ"), ("", "th", "", "θ"), ("", "ngu", _V, "ŋɡw"),
    ("", "ng", "$|[sd]", "ŋ"), ("", "ng", "[ei]", "nʤ"), ("", "ng", "", "ŋɡ"), ("", "nk", "", "ŋk"),
    ("", "qu", "", "kw"), ("", "q", "", "k"), ("", "sc", "[eiy]", "s"), ("", "gue", "$", "ɡ"), ("", "que", "$", "k"),
    ("", "igh", "", "I"), ("", "eigh", "", "A"), ("", "ough", "", "O"), ("", "augh", "", "ɔ"), ("", "gh", "", "ɡ"),
    ("", "mb", "$", "m"), ("", "mn", "$", "m"),
    ("", "bb", "", "b"), ("", "cc", "[eiy]", "ks"), ("", "cc", "", "k"), ("", "dd", "", "d"), ("", "ff", "", "f"),
    ("", "gg", "", "ɡ"), ("", "ll", "", "l"), ("", "mm", "", "m"), ("", "nn", "", "n"), ("", "pp", "", "p"),
    ("", "rr", "", "ɹ"), ("", "ss", "", "s"), ("", "tt", "", "t"), ("", "zz", "", "z"),
    ("", "c", "[eiy]", "s"), ("", "c", "", "k"), ("", "g", "[eiy]", "ʤ"), ("", "g", "", "ɡ"),
    ("^", "y", _V, "j"), (_V, "s", "e?$", "z"), ("[bdglmnrvw]", "s", "$", "z"), (_V, "s", _V, "z"),
    ("", "air", "", "ɛɹ"), ("", "are", "$", "ɛɹ"), ("", "ear", "", "ɪɹ"), ("", "eer", "", "ɪɹ"),
    ("", "oar", "", "ɔɹ"), ("", "oor", "", "ɔɹ"), ("", "our", "", "ɔɹ"), ("", "ore", "$", "ɔɹ"),
    ("", "ire", "$", "Iəɹ"), ("", "ure", "$", "jʊɹ"), ("", "ar", f"$|{_C}", "ɑɹ"), ("", "or", f"$|{_C}", "ɔɹ"),
    ("", "er", f"$|{_C}", "əɹ"), ("", "ir", f"$|{_C}", "ɜɹ"), ("", "ur", f"$|{_C}", "ɜɹ"),
    ("", "ai", "", "A"), ("", "ay", "", "A"), ("", "au", "", "ɔ"), ("", "aw", "", "ɔ"), ("", "ea", "", "i"),
    ("", "ee", "", "i"), ("", "ei", "", "i"), ("", "ey", "", "i"), ("", "eu", "", "ju"), ("", "ew", "", "u"),
    ("", "ie", "$", "i"), ("", "ie", "", "i"), ("", "oa", "", "O"), ("", "oe", "", "O"), ("", "oi", "", "Y"),
    ("", "oy", "", "Y"), ("", "oo", "", "u"), ("", "ou", "", "W"), ("", "ow", "$", "O"), ("", "ow", "", "W"),
    ("", "ue", "$", "u"), ("", "ui", "", "u"),
    ("", "a", f"{_C}e$", "A"), ("", "e", f"{_C}e$", "i"), ("", "i", f"{_C}e$", "I"), ("", "o", f"{_C}e$", "O"),
    ("", "u", f"{_C}e$", "u"), ("", "y", f"{_C}e$", "I"), (f"{_V}.*", "e", "$", ""), (f"{_V}.*", "e", "s$", ""),
    ("", "a", "$", "ə"), ("", "e", "$", "i"), ("", "i", "$", "i"), ("", "o", "$|s$", "O"), ("", "u", "$", "u"),
    (f"^{_C}+", "y", "$", "I"), ("", "y", "$", "i"), ("", "y", "", "ɪ"),
    ("", "a", "", "æ"), ("", "e", "", "ɛ"), ("", "i", _V, "i"), ("", "i", "", "ɪ"), ("", "o", "", "ɑ"),
    ("", "u", "", "ʌ"), ("", "x", "", "ks"), ("", "j", "", "ʤ"), ("", "r", "", "ɹ"),
)  # fmt: skip


def parse(transcription: str) -> Pronunciation:
    """One dictionary transcription ("wˈɔɾəɹ") as symbols (w, ˈɔ, ɾ, ɚ).

    Raises ValueError for a letter that is no phoneme.
    """
    symbols: list[str] = []
    stress = ""
    at = 0
    while at < len(transcription):
        letter, pair = transcription[at], transcription[at : at + 2]
        following = transcription[at + 2 : at + 4].lstrip("ˈˌ")[:1]
        if letter in "ˈˌ":
            stress = letter
            at += 1
        elif pair in _PAIRS and not (pair in _SPLIT_BEFORE_VOWEL and following in _VOWEL_LETTERS and following):
            symbol = _PAIRS[pair]
            if symbol == "ɚ" and symbols and symbols[-1].lstrip("ˈˌ") in ("I", "W"):
                symbols[-1] += symbol  # "fire", "hour": one gliding vowel
            else:
                symbols.append(stress + symbol)
            if pair in ("əɹ", "ɜɹ") and following and following in _VOWEL_LETTERS:
                symbols.append("ɹ")
            stress = ""
            at += 2
        elif letter in _VOWEL_LETTERS:
            symbols.append(stress + {"ᵊ": "ə", "ɜ": "ɝ"}.get(letter, letter))
            stress = ""
            at += 1
        elif letter in CONSONANTS:
            symbols.append("n̩" if letter == "n" and symbols and symbols[-1] == "ʔ" else letter)
            at += 1
        else:
            raise ValueError(f"transcription {transcription!r}: {letter!r} is no phoneme")
    return tuple(symbols)


def transcribe(transcription: str) -> Pronunciation:
    """IPA as people write it ("təˈmeɪtoʊ") or as the dictionary does ("təmˈAɾO"), as symbols.

    A stress mark before the consonants of its syllable is moved to the vowel. Length, syllable dots and ties go, sounds
    that American English lacks become their nearest. Raises ValueError that names a letter that is no phoneme.
    """
    text = unicodedata.normalize("NFD", transcription.strip().strip("/"))
    for letters, ours in _IPA.items():
        text = text.replace(letters, ours)
    sounds, stress = "", ""
    for letter in text:
        if letter in STRESSES[1:]:
            stress = letter
        elif stress and letter in _VOWEL_LETTERS:
            sounds, stress = f"{sounds}{stress}{letter}", ""
        else:
            sounds += letter
    if stress:
        raise ValueError(f"transcription {transcription!r}: no vowel follows the last stress mark")
    try:
        symbols = parse(sounds)
    except ValueError as error:
        raise ValueError(f"transcription {transcription!r}: {str(error).partition(': ')[2]}") from None
    if not symbols:
        raise ValueError(f"transcription {transcription!r} has no sound")
    if not any(symbol[0] in STRESSES[1:] for symbol in symbols) and len(symbols) > 3:
        return _stress_first(symbols)
    return symbols


def transcribe_words(transcription: str) -> list[Pronunciation]:
    """The words of a transcription, at least one. Raises ValueError as `transcribe` does."""
    return [transcribe(word) for word in transcription.split()] or [transcribe("")]


@lru_cache(maxsize=1)
def _dictionary() -> dict[str, str]:
    """Lower-case word → transcription. Where a word has several by part of speech, the default one."""
    words: dict[str, str] = {}
    for name in ("us_silver.json", "us_gold.json"):  # the second is checked by hand, so it overrides the first
        entries: dict[str, str | dict[str, str]] = json.loads(
            resources.files("misaki.data").joinpath(name).read_text(encoding="utf-8")
        )
        capitalised = {key: value for key, value in entries.items() if key != key.lower()}
        plain = {key: value for key, value in entries.items() if key == key.lower()}
        for key, value in (*capitalised.items(), *plain.items()):
            words[key.lower()] = value if isinstance(value, str) else value["DEFAULT"]
    return words


def known_words() -> tuple[str, ...]:
    """Every word of the dictionary, in lower case."""
    return tuple(_dictionary())


def _inflected(word: str) -> str | None:
    """Transcription of a regular plural, possessive, past or -ing form whose stem is in the dictionary."""
    words = _dictionary()
    if word.endswith("'"):
        return words.get(word[:-1]) if len(word) > 2 else None
    for stem, ending in stems(word):
        if len(stem) > 1 and stem in words:
            return with_ending(words[stem], ending)
    return None


def letter_to_sound(word: str) -> Pronunciation:
    """A guess at a word of the letters a-z by spelling rules, stressed on its first full vowel."""
    sounds = ""
    at = 0
    while at < len(word):
        for left, letters, right, sound in _RULES:
            if (
                word.startswith(letters, at)
                and (not left or re.search(f"(?:{left})$", word[:at]) is not None)
                and (not right or re.match(right, word[at + len(letters) :]) is not None)
            ):
                sounds += sound
                at += len(letters)
                break
        else:  # a letter that no rule names sounds as itself
            sounds += word[at] if word[at] in CONSONANTS else ""
            at += 1
    stressed = re.sub("([iɪɛæʌɑɔʊuAIOWYɜ])", r"ˈ\1", sounds, count=1)
    return parse(stressed if stressed != sounds else sounds.replace("ə", "ˈə", 1))


def spell(word: str) -> Pronunciation:
    """The names of a word's letters, one after the other."""
    return tuple(
        symbol for letter in word.lower() if letter in _LETTER_NAMES for symbol in parse(_LETTER_NAMES[letter])
    )


def pronounce(word: str) -> Pronunciation:
    """Symbols of one word of the letters a-z, A-Z and apostrophes; empty where it has no letter.

    Common function words come in their weak form. Capitals matter only for abbreviations, which are spelt out. Takes
    time that grows with the square of the word's length and more: callers cut what is too long for a word. Words of up
    to `_CACHED_LENGTH` characters are remembered.
    """
    return _remembered(word) if len(word) <= _CACHED_LENGTH else _pronounce(word)


def _pronounce(word: str) -> Pronunciation:
    lower = word.lower().strip("'") if word.strip("'") else ""
    if not lower:
        return ()
    if lower in _WEAK_FORMS:
        return parse(_WEAK_FORMS[lower])
    if len(lower) == 1:
        return spell(lower)
    words = _dictionary()
    found = words.get(lower) or words.get(word.lower()) or _inflected(word.lower())
    if found is not None:
        symbols = parse(found)
        return symbols if any(s[0] in "ˈˌ" for s in symbols) or len(symbols) < 4 else _stress_first(symbols)
    if (joined := _joined(word)) is not None:
        return joined
    letters = lower.replace("'", "")
    if not re.search("[aeiouy]", letters) or (word.isupper() and len(letters) <= 4):
        return spell(letters)
    for cut in range(len(letters) - 3, 2, -1):  # a compound of two known words: "websocket", "filename"
        if letters[:cut] in words and letters[cut:] in words:
            return parse(words[letters[:cut]]) + parse(words[letters[cut:]].replace("ˈ", "ˌ"))
    return letter_to_sound(letters)


def _joined(word: str) -> Pronunciation | None:
    """A word that capitals show to be made of parts: "FBI's", "CDs", "iPhone", "JavaScript"."""
    ending = re.fullmatch(r"([A-Z]{1,5})('s|(?<=..)s)", word)
    if ending:
        sounds = spell(ending.group(1))
        return (*sounds, *(("ᵻ", "z") if sounds[-1] in "szʃʒʧʤ" else ("s",) if sounds[-1] in "ptkfθ" else ("z",)))
    parts = re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", word)
    if len(parts) < 2 or "".join(parts) != word or parts[0] in ("Mc", "Mac", "O"):
        return None
    return tuple(symbol for part in parts for symbol in (spell(part) if len(part) == 1 else _pronounce(part)))


def _stress_first(symbols: Pronunciation) -> Pronunciation:
    at = next((i for i, s in enumerate(symbols) if s in VOWELS), None)
    return symbols if at is None else (*symbols[:at], "ˈ" + symbols[at], *symbols[at + 1 :])


# At most 8 MB: a word of this length and its symbols take about a kilobyte.
_CACHED_LENGTH = 48
_remembered = lru_cache(maxsize=8192)(_pronounce)
