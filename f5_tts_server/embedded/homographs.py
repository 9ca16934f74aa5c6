"""English words that are written alike and said differently, told apart by the words beside them.

Rules by hand, for eight words and their forms. What no rule decides gets the reading that is more common.
`python -m f5_tts_server.embedded.homographs TABLE` prints how many of a table's sentences they read rightly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from f5_tts_server.embedded.pronunciation import Pronunciation, parse

_PAUSES = frozenset(",.?!")
_TO_VERB = frozenset(
    "to will would can could shall should may might must do does did don't doesn't didn't won't can't cannot couldn't "
    "wouldn't shouldn't i'll you'll he'll she'll it'll we'll they'll i'd you'd we'd they'd let let's please help make".split()
)
_HAVE_BE = frozenset(
    "have has had having haven't hasn't hadn't i've you've we've they've is are was were be been being am isn't aren't wasn't "
    "weren't i'm it's he's she's that's you're we're they're".split()
)
_BE = _HAVE_BE - frozenset("have has had having haven't hasn't hadn't i've you've we've they've".split())
_PLURAL = frozenset("i you we they people who children men women".split())
_SINGULAR = frozenset("he she it nobody everybody everyone someone".split())
_POSSESSIVE = frozenset("my your his her its our their whose one's".split())
_DETERMINERS = _POSSESSIVE | frozenset(
    "the a an this that these those no some any each every another many several few two three four five nine ten other "
    "various such all both".split()
)
_ADVERBS = frozenset(
    "already never always often just ever not also only really quickly slowly still recently usually sometimes then both once "
    "all even hardly first finally quietly now rarely soon".split()
)
_PAST = frozenset(
    "yesterday last ago was were had did went came said told took made when once earlier until saw wrote knew thought".split()
)
_OBJECT = _DETERMINERS | frozenset("it them him us me you yourself".split())
_PARTICLES = frozenset(
    "up down apart off out open through into away along around round back past across over at".split()
)
_PREPOSITIONS = frozenset(
    "in at with on near by alone here there next under above for together far across among down abroad outside".split()
)

_LIVE_THINGS = frozenset(
    "music show shows performance performances broadcast broadcasts stream streams streaming coverage audience band bands "
    "concert concerts recording recordings album wire wires ammunition bait animals birds chat event events feed television tv "
    "radio updates demo session sessions report video version chickens match game data rounds fire cattle plants bacteria virus "
    "vaccine oak theatre theater action tour set debate interview camera link entertainment blog captions".split()
)
_LIVE_AFTER = frozenset(
    "go goes going went gone broadcast streamed streaming performed perform play plays played sing sang recorded shown watch "
    "watched seen air aired reporting came coming".split()
)
_LIVES_BEFORE = frozenset(
    "saved save saves saving lost lose human daily past private own people's of innocent real ordinary everyday inner double "
    "countless more thousand million cost costs".split()
)
_LEAD_THINGS = frozenset(
    "pipe pipes paint paints poisoning acid pencil pencils weight weights shot bullet bullets crystal glass level levels mine "
    "mines ore oxide free lined apron exposure solder batteries".split()
)
_METALS = frozenset(
    "metal metals toxic poisonous molten copper zinc tin mercury iron silver gold arsenic roof pipes bullets melts pencil heavy "
    "sheets".split()
)
_FISH = frozenset(
    "fish fishing lake river sea striped largemouth smallmouth caught catch grilled fried baked fillet fillets trout salmon pond "
    "boat bait lure hook water menu ate eat cooked cook angler swam dish lemon".split()
)
_MUSIC = frozenset(
    "guitar drum drums play plays played player line clef voice jazz song singer band speaker treble".split()
)
_TEAR_DROP = frozenset("gas duct ducts drop drops jerker stained film fluid".split())
_EYES = frozenset("eye eyes cheek cheeks face shed wiped rolled fell joy cried crying".split())
_CLOTH = frozenset("in along across muscle ligament paper fabric sleeve shirt jeans dress cloth".split())
_NEAR = frozenset(
    "very too so how as get got getting gets came come comes stay stand stood keep kept sit sat draw drew pretty quite really "
    "more fairly that dangerously extremely feel felt".split()
)
_CLOSE_THINGS = frozenset(
    "to friend friends call range enough together shave relationship look attention ties family contact relative relatives race "
    "match game second proximity quarters eye knit colleague watch examination fight finish by behind".split()
)
_USE_BEFORE = _DETERMINERS | frozenset(
    "of in for good better best regular drug energy land water home daily single personal common public private heavy fair full "
    "its further general commercial everyday internal external continued widespread first little great".split()
)


class _Place:
    """A word among its neighbours, in lower case."""

    def __init__(self, words: Sequence[str], index: int) -> None:
        start = index
        while start and words[start - 1] not in _PAUSES:
            start -= 1
        end = index + 1
        while end < len(words) and words[end] not in _PAUSES:
            end += 1
        self.before = [word.lower() for word in words[max(start, index - _SEEN) : index]]
        self.after = [word.lower() for word in words[index + 1 : min(end, index + 1 + _SEEN)]]
        self.named = index > start and words[index - 1][:1].isupper() and self.before[-1] != "i"
        # Of the whole sentence, clauses before and after included.
        self.around = {word.lower() for word in words[max(0, index - _SEEN) : index + 1 + _SEEN]}

    @property
    def last(self) -> str:
        return self.before[-1] if self.before else ""

    @property
    def next(self) -> str:
        return self.after[0] if self.after else ""

    @property
    def governor(self) -> str:
        """The word before, adverbs passed over."""
        return next((word for word in reversed(self.before) if word not in _ADVERBS), "")

    def nearest(self, *kinds: frozenset[str], within: int = 5) -> frozenset[str] | None:
        """Of the kinds, that of the nearest word before."""
        for word in reversed(self.before[-within:]):
            for kind in kinds:
                if word in kind:
                    return kind
        return None

    @property
    def is_verb(self) -> bool:
        """By what governs it, or as a command at the beginning of a clause."""
        governor = self.governor
        if governor in _TO_VERB or governor in _PLURAL:
            return True
        if governor in _SINGULAR:  # "did she close"
            return any(word in _TO_VERB for word in self.before[-3:-1])
        return (not self.before or governor in ("and", "or")) and (self.next in _OBJECT or self.next in _PARTICLES)


_SEEN = 12  # words on either side


def _read(place: _Place) -> str:
    if place.last in _DETERMINERS or place.last in ("good", "great", "quick", "easy"):
        return "ɹˈid"
    if place.last in ("well", "widely"):
        return "ɹˈɛd"
    governor = place.governor
    if not governor or governor in _TO_VERB:
        return "ɹˈid"
    if governor in _HAVE_BE:
        return "ɹˈɛd"
    kind = place.nearest(_TO_VERB, _HAVE_BE, within=3)
    if kind is not None and (governor in _PLURAL or governor in _SINGULAR or kind is _TO_VERB):
        return "ɹˈid" if kind is _TO_VERB else "ɹˈɛd"
    if governor in _SINGULAR or place.named:
        return "ɹˈɛd"
    past = bool(place.around & _PAST)
    if governor in _PLURAL or governor in ("and", "or", "to"):
        return "ɹˈɛd" if past else "ɹˈid"
    # One that does something now "reads"; several "read".
    return "ɹˈid" if governor.endswith("s") and not past else "ɹˈɛd"


def _lead(place: _Place) -> str:
    if place.next in _LEAD_THINGS or place.last in ("molten", "contain", "contains", "containing"):
        return "lˈɛd"
    if place.is_verb or place.next in ("singer", "role", "actor", "guitar", "to", "vocals") or place.next in _OBJECT:
        return "lˈid"
    if place.last in ("of", "like", "from", "with", "as") and place.next not in ("times", "time"):
        return "lˈɛd"
    return "lˈɛd" if place.around & _METALS else "lˈid"


def _live(place: _Place) -> str:
    if place.next in _LIVE_THINGS or place.last in _LIVE_AFTER:
        return "lˈIv"
    if place.last in ("a", "the") or place.governor in _BE:
        return "lˈIv"
    return "lˈɪv"


def _lives(place: _Place) -> str:
    if place.last in _DETERMINERS or place.last in _LIVES_BEFORE or place.last.endswith(("'s", "s'")):
        return "lˈIvz"
    if place.governor in _SINGULAR or place.governor in ("who", "that", "which") or place.next in _PREPOSITIONS:
        return "lˈɪvz"
    return "lˈIvz"


def _wind(place: _Place) -> str:
    if place.last in _DETERMINERS:
        return "wˈɪnd"
    if place.is_verb or (place.before[-2:-1] and place.before[-2] in ("let", "make", "help")):
        return "wˈInd"
    return "wˈInd" if place.last.endswith("s") and place.next in _PARTICLES else "wˈɪnd"


def _winds(place: _Place) -> str:
    return "wˈIndz" if place.next in _PARTICLES and place.last not in _DETERMINERS else "wˈɪndz"


def _tear(place: _Place) -> str:
    if place.next in _TEAR_DROP:
        return "tˈɪɹ"
    if place.is_verb or place.before[-2:] == ["wear", "and"]:
        return "tˈɛɹ"
    return "tˈɛɹ" if (place.next in _PARTICLES or place.around & _CLOTH) and not place.around & _EYES else "tˈɪɹ"


def _tears(place: _Place) -> str:
    if place.last in _DETERMINERS or place.last in ("in", "of", "to", "into", "with", "and"):
        return "tˈɪɹz"
    if place.next in _OBJECT or place.next in _PARTICLES or place.next in ("easily", "every"):
        return "tˈɛɹz"
    return "tˈɪɹz"


def _bass(place: _Place) -> str:
    return "bˈæs" if place.around & _FISH and not place.around & _MUSIC else "bˈAs"


def _close(place: _Place) -> str:
    if place.next in ("of", "down"):
        return "klˈOz"
    if place.last in ("a", "the") and not place.after:
        return "klˈOz"  # "came to a close"
    if place.is_verb:
        return "klˈOz"
    if place.last in _NEAR or place.governor in _BE or place.next in _CLOSE_THINGS:
        return "klˈOs"
    verb = place.nearest(_TO_VERB, within=4) is not None and not place.after  # "when does the bank close"
    return "klˈOz" if verb or place.next in _OBJECT else "klˈOs"


def _use(place: _Place) -> str:
    if place.next == "of" or (place.last in _USE_BEFORE and place.next not in _OBJECT):
        return "jˈus"
    return "jˈus" if place.last in _DETERMINERS else "jˈuz"


def _uses(place: _Place) -> str:
    return "jˈusᵻz" if place.last in _USE_BEFORE or place.next == "of" else "jˈuzᵻz"


def _used(place: _Place) -> str:
    if place.next != "to":
        return "jˈuzd"
    following = place.after[1] if len(place.after) > 1 else ""
    accustomed = following in _OBJECT or following.endswith("ing")
    return "jˈuzd" if place.governor in _BE and not accustomed else "jˈust"


_RULES: dict[str, Callable[[_Place], str]] = {
    "read": _read,
    "lead": _lead,
    "live": _live,
    "lives": _lives,
    "wind": _wind,
    "winds": _winds,
    "tear": _tear,
    "tears": _tears,
    "bass": _bass,
    "close": _close,
    "use": _use,
    "uses": _uses,
    "used": _used,
}


def reading(words: Sequence[str], index: int) -> Pronunciation | None:
    """How the word at a place of a text is said there; None for a word that is said in one way.

    ``words`` are those of `embedded.phonemes.words`, pauses among them. A few words on either side are looked at.
    """
    rule = _RULES.get(words[index].lower())
    return parse(rule(_Place(words, index))) if rule else None


def score(table: Path) -> list[tuple[str, str, bool]]:
    """Each row of a table (word, right reading without stress, sentence): the word, its sentence, whether read so."""
    from f5_tts_server.embedded.phonemes import words

    rows = []
    for line in table.read_text("utf-8").splitlines():
        word, right, sentence = line.split("\t")
        found = words(sentence)
        index = next(place for place, one in enumerate(found) if one.lower() == word)
        said = reading(found, index)
        rows.append((word, sentence, "".join(said or ()).replace("ˈ", "") == right))
    return rows


def main(table: Path) -> None:
    """Print a line for each word, and what was wrong. The halves of a table are its odd and its even rows."""
    rows = score(table)
    print("word       odd rows   even rows")
    for word in (*dict.fromkeys(row[0] for row in rows), "all"):
        halves = [[row for row in rows[half::2] if word in (row[0], "all")] for half in (0, 1)]
        print(f"{word:6}", *(f"{sum(row[2] for row in half):8} of {len(half):3}" for half in halves))
    for half, name in ((0, "odd rows"), (1, "even rows")):
        for word, sentence, right in rows[half::2]:
            if not right:
                print(f"wrong ({name}): {word}: {sentence}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
