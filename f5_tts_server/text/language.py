"""Which language a sentence is written in, as far as reading its numbers needs it.

By script, and for Latin script by function words: sentences are often too short for statistics of letters, and the few
words that every sentence has tell languages apart surely. Where none is found nothing is claimed.
"""

from __future__ import annotations

import re
import unicodedata

_FUNCTION_WORDS = {
    "en": "the and of to in is it you that he was for on are with as i his they be at one have this from or had by but "
    "some what there we can out other were all your when up use how said an each she which do their time if will way "
    "about many then them would like so these her him has more no could my than been who its now did get come me our "
    "not only after over a us any too off before must because left see call write",
    "de": "der die das und ist ein eine einen einem einer nicht ich du er sie es wir ihr mit auf für von zu im den dem "
    "des am um an bei nach aus wie auch als so noch nur aber oder wenn wird werden hat haben war waren sind uhr über "
    "bis seit kostet etwa dass sich zum zur vom heute morgen kein keine mehr hier dort jahr jahre jahren "
    "habe hast gibt kann muss ihre seine unser",
    "fr": "la le les un une des du de et est il elle nous vous ils elles je tu on ce cette ces ne pas que qui dans en "
    "au aux pour par sur avec sont était a à plus ou où mais si son sa ses leur il y être fait coûte rendez-vous "
    "aujourd'hui demain ans année chez depuis jusqu'à environ quel quelle "
    "j'ai ai avons avez ont voici",
    "es": "el la los las un una unos de del y es en que a al por para con no se su lo le les como más pero o este esta "
    "son fue hay yo tú él ella nosotros cuesta tiene años año hoy mañana desde hasta son muy sobre entre ya está eran "
    "tengo tenemos",
    "it": "il lo la i gli le un una uno di del della dei delle e è in che a al alla per con non si su da dal sono era "
    "come più ma o questo questa ha hanno anni anno oggi domani costa circa alle nel nella fino dalle ogni "
    "ho hai abbiamo",
    "pt": "o a os as um uma de do da dos das e é em no na nos nas que por para com não se seu sua mais mas ou este esta "
    "são foi há eu você ele ela nós custa tem tenho temos anos ano hoje amanhã desde até às ao à muito sobre",
    "pl": "i w na z do nie się to jest że o jak ale po co tak za od przez dla są był była było ma mam mamy masz ten ta te który "
    "która kosztuje lat rok roku dziś jutro około mam jego jej już tylko czy ze we",
    "nl": "de het een en van is in dat op te zijn met voor niet aan er om ook als dan maar bij uit nog naar heeft hij "
    "ze wij jij kost jaar vandaag morgen uur over",
    "sv": "och att det som en på är av för med den till inte om ett han hon vi jag du de men var från kostar år idag "
    "klockan kronor",
}
_KNOWS = {code: frozenset(words.split()) for code, words in _FUNCTION_WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+(?=\S)|(?<=[。！？\n])")
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")),
)
_LATIN = ("LATIN", "MICRO", "OHM", "FEMININE", "MASCULINE")  # how the names of Latin letters begin
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_NOT_RUSSIAN = re.compile(r"[іїєґўјљњћђџѓќѕІЇЄҐЎЈЉЊЋЂЏ]")

UNKNOWN = "und"
"""The tag of a text whose language cannot be told (BCP 47)."""


def detect(sentence: str) -> str | None:
    """The language of a sentence as an ISO 639-1 code; `UNKNOWN` where it is none of those known here.

    None where nothing tells: no letters, or plain ones without function words.
    """
    latin = sum(character.isascii() and character.isalpha() for character in sentence)
    other = [c for c in sentence if not c.isascii() and c.isalpha() and not unicodedata.name(c, "").startswith(_LATIN)]
    if 2 * len(other) > latin:  # else a foreign word in a sentence of Latin letters
        if _CYRILLIC.search(sentence):
            return UNKNOWN if _NOT_RUSSIAN.search(sentence) else "ru"
        return next((code for code, letters in _SCRIPTS if letters.search(sentence)), UNKNOWN)
    words = [word.lower().replace("’", "'") for word in _WORD.findall(sentence)]
    scores = {code: sum(word in known for word in words) for code, known in _KNOWS.items()}
    best = max(scores.values())
    if best == 0 or (best == 1 and len(words) > 2 and sentence.isascii() and not scores["en"]):
        return None  # one such word may be a name: "Die Hard", "La La Land"
    first = [code for code, score in scores.items() if score == best]
    return "en" if "en" in first else first[0] if len(first) == 1 else UNKNOWN


def by_language(text: str) -> list[tuple[str, str]]:
    """The text in pieces of one language each, in order, with the code of each; joined they are the text.

    Sentences of which nothing is known belong to the one before, or else the one after; a text of which nothing is
    known is English.
    """
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    sentences = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    codes = [detect(sentence) for sentence in sentences]
    known = next((code for code in codes if code), "en")
    pieces: list[tuple[str, list[str]]] = []
    for sentence, code in zip(sentences, codes, strict=True):
        known = code or known
        if not pieces or pieces[-1][0] != known:
            pieces.append((known, []))
        pieces[-1][1].append(sentence)
    return [("".join(parts), code) for code, parts in pieces]
