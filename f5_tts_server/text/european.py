"""Numbers, times, dates, money and units in German, French, Spanish, Italian, Portuguese, Polish and Russian words.

num2words makes the numbers; the rules here find out what a number is and inflect what stands beside it. They run in order,
each on what the ones before it have left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from num2words import num2words

from f5_tts_server.text.number_words import LANGUAGES, Forms, Language

_MOST_DIGITS = 15  # of a number read as one; longer ones are read digit by digit
_OF = {"fr": "de", "es": "de", "it": "di", "pt": "de"}  # between millions and what they count
_FEMININE = frozenset("livre libra sterlina копейка Minute Stunde minute hora ora minuta godzina минута".split())
_CODES = {"€": "EUR", "EUR": "EUR", "$": "USD", "USD": "USD", "£": "GBP", "GBP": "GBP"}


_MILLIONS = re.compile(r"(?:mil+i|mill|milh)[oóãõ]\w*$")
_RUSSIAN_ENDINGS = {
    "й": ("n", "m"),
    "я": ("n", "f"),
    "е": ("n", "n"),
    "го": ("g", "m"),
    "му": ("d", "m"),
    "м": ("p", "m"),
    "ю": ("a", "f"),
}
"""Case and gender, as num2words calls them, of what is written behind an ordinal."""


def normalize_european(text: str, code: str) -> str:
    """`text` with its numbers in words of one of `number_words.LANGUAGES`."""
    for pattern, read in _rules(code):
        text = pattern.sub(read, text)
    return text


class _Reader:
    """What the rules of a language say. Methods take matches of the patterns in `_rules`."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._code = language.code

    # Numbers

    def _say(self, number: int, to: str = "cardinal", **inflection: str) -> str:
        words: str = num2words(number, lang=self._code, to=to, **inflection)
        return words

    def _plain(self, written: str) -> str:
        """Without separators of thousands."""
        return re.sub(rf"(?<=\d)[{self._language.thousands}\u00a0\u202f](?=\d{{3}})", "", written)

    def _digits(self, digits: str) -> str:
        return " ".join(self._say(int(digit)) for digit in digits if digit.isdecimal())

    def cardinal(self, written: str, *, before_noun: bool = False) -> str:
        """A number as it is written, maybe with a sign, separators of thousands and decimals."""
        language = self._language
        sign = f"{language.minus} " if written[0] in "-−" else ""
        whole, _, decimals = self._plain(written.lstrip("-−")).partition(",")
        if len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0"):
            words = self._digits(whole)
        elif decimals and self._code == "ru":
            words = self._russian_parts(int(whole), decimals)
            return sign + words
        else:
            words = self._say(int(whole))
        if decimals:
            return f"{sign}{words} {language.point} {self._digits(decimals)}"
        return sign + (self._noun(words) if before_noun else words)

    def _noun(self, words: str) -> str:
        for alone, before in self._language.before_noun:
            if words.endswith(alone):
                return words[: -len(alone)] + before
        return words

    def _russian_parts(self, whole: int, decimals: str) -> str:
        """ "две целых пять десятых"; beyond thousandths digit by digit."""
        wholes = "целая" if whole % 10 == 1 and whole % 100 != 11 else "целых"
        start = f"{self._say(whole, gender='f')} {wholes}"
        if len(decimals) > 3:
            return f"{start} {self._digits(decimals)}"
        count = int(decimals)
        one = count % 10 == 1 and count % 100 != 11
        unit = ("десятая", "сотая", "тысячная") if one else ("десятых", "сотых", "тысячных")
        return f"{start} {self._say(count, gender='f')} {unit[len(decimals) - 1]}"

    def _year(self, number: int) -> str:
        return self._say(number, "year") if self._code == "de" and 1100 <= number <= 1999 else self._say(number)

    def _ordinal(self, number: int, ending: str) -> str:
        """`ending` in Polish is the genitive's ("ego") or another case's; elsewhere it says which case it is."""
        if self._code == "ru":
            return self._say(number, "ordinal", case={"ego": "g", "ym": "p", "": "n"}[ending])
        words = self._say(number, "ordinal").split(" ")
        for at in range(max(0, len(words) - 2), len(words)):
            stem = words[at][:-1]
            if words[at].endswith("y") and words[at] not in ("trzy", "cztery"):
                words[at] = stem + ending
            elif words[at].endswith("i"):
                words[at] = (stem if stem.endswith(("k", "g")) else words[at][:-1] + "i") + ending
                words[at] = words[at].replace("gym", "gim").replace("ciym", "cim").replace("gego", "giego")
                words[at] = words[at].replace("gej", "giej")
        return " ".join(words)

    # Rules

    def money(self, match: re.Match[str]) -> str:
        language = self._language
        sign = match.group("before") or match.group("after")
        names, cents = language.own_currency.get(sign, (None, language.cent))
        if names is None:
            names = {"EUR": language.euro, "USD": language.dollar, "GBP": language.pound}[_CODES[sign]]
        whole, _, part = self._plain(match.group("number") or match.group("number_")).partition(",")
        if part and len(part) != 2:
            return f"{self.cardinal(f'{whole},{part}')} {language.form(names, f'{whole},{part}')}"
        words = self._count(whole, names)
        if not part or not int(part):
            return words
        named = language.cents_named
        return words + language.joint + (self._count(str(int(part)), cents) if named else self._say(int(part)))

    def _count(self, whole: str, names: Forms) -> str:
        words = self.cardinal(whole, before_noun=True)
        if names[0] in _FEMININE:
            words = self._feminine(words, whole)
        counted = self._language.form(names, whole)
        if self._code not in _OF or not _MILLIONS.search(words):
            return f"{words} {counted}"
        return (
            f"{words} d'{counted}"
            if self._code == "fr" and counted[0] in "aeiou"
            else f"{words} {_OF[self._code]} {counted}"
        )

    def _feminine(self, words: str, whole: str) -> str:
        match self._code:
            case "ru":
                return self._say(int(whole), gender="f")
            case "pl":
                return "jedna" if words == "jeden" else re.sub(r"\bdwa$", "dwie", words)
            case "de":
                return re.sub(r"\bein$", "eine", words)
            case "fr":
                return re.sub(r"un$", "une", words)
            case "pt":
                return re.sub(r"dois$", "duas", re.sub(r"um$", "uma", words))
            case _:
                return re.sub(r"ún$|un$", "una", words)

    def percent(self, match: re.Match[str]) -> str:
        number = self._plain(match.group("number"))
        return f"{self.cardinal(number, before_noun=self._code == 'de')} {self._language.form(self._language.percent, number)}"

    def quantity(self, match: re.Match[str]) -> str:
        number = self._plain(match.group("number"))
        forms = self._language.units[match.group("unit")]
        if number.isdecimal():
            return self._count(number, forms)
        return f"{self.cardinal(number, before_noun=True)} {self._language.form(forms, number)}"

    def temperature(self, match: re.Match[str]) -> str:
        number = self._plain(match.group("number"))
        scale = f" {self._language.celsius}" if match.group("scale") else ""
        return f"{self.cardinal(number, before_noun=True)} {self._language.form(self._language.degrees, number)}{scale}"

    def time(self, match: re.Match[str]) -> str:
        hours, minutes = int(match.group("h")), int(match.group("m") or 0)
        match self._code:
            case "de":
                words = f"{self._noun(self._say(hours))} Uhr"
                return f"{words} {self._say(minutes)}" if minutes else words
            case "fr":
                words = f"{re.sub(r'un$', 'une', self._say(hours))} {'heure' if hours < 2 else 'heures'}"
                return f"{words} {self._say(minutes)}" if minutes else words
            case "es":
                words = re.sub(r"uno$", "una", self._say(hours))
                return f"{words} y {self._say(minutes)}" if minutes else words
            case "it":
                words = "una" if hours == 1 else self._say(hours)
                return f"{words} e {self._say(minutes)}" if minutes else words
            case "pt":
                words = re.sub(r"dois$", "duas", re.sub(r"um$", "uma", self._say(hours)))
                return f"{words} e {self._say(minutes)}" if minutes else f"{words} {'hora' if hours == 1 else 'horas'}"
            case "pl":
                preposition = match.group("preposition") or ""
                words = "zero" if hours == 0 else self._ordinal(hours, "ej" if preposition else "a")
                said = f"{'zero ' if minutes < 10 else ''}{self._say(minutes)}"
                return f"{preposition}{words} {said}" if minutes else f"{preposition}{words}"
            case _:
                hour = self._language.form(("час", "часа", "часов"), str(hours))
                said = f"{'ноль ' if minutes < 10 else ''}{self._say(minutes)}"
                return f"{self._say(hours)} {said}" if minutes else f"{self._say(hours)} {hour}"

    def numeric_date(self, match: re.Match[str]) -> str:
        day, month, year = int(match.group("day")), int(match.group("month")), match.group("year")
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return match.group()
        return self._date(match.group("preposition") or "", day, self._language.months[month - 1], year)

    def named_date(self, match: re.Match[str]) -> str:
        return self._date(
            match.group("preposition") or "", int(match.group("day")), match.group("month"), match.group("year")
        )

    def _date(self, preposition: str, day: int, month: str, year: str | None) -> str:
        joint = self._language.date_joint
        if self._code == "de":
            before = preposition.strip().lower()
            ending = "" if before == "der" else "n" if before else "r"
            words = f"{preposition}{self._say(day, 'ordinal')}{ending} {month}"
        elif self._code in ("pl", "ru"):
            words = f"{preposition}{self._ordinal(day, 'ego')} {month}"
        elif day == 1 and self._code != "es":
            words = f"{preposition}{self._say(1, 'ordinal')}{joint}{month}"
        else:
            words = f"{preposition}{self._say(day)}{joint}{month}"
        if not year:
            return words
        if self._code == "pl":
            return f"{words} {self._ordinal(int(year), 'ego')} roku"
        if self._code == "ru":
            return f"{words} {self._ordinal(int(year), 'ego')} года"
        return f"{words}{joint}{self._year(int(year))}"

    def slavic_year(self, match: re.Match[str]) -> str:
        """ "w 2024 roku", "в 2024 году", "2024 год"."""
        before, number, noun = match.group("in") or "", int(match.group("number")), match.group("noun")
        if noun in ("году",) or (noun == "roku" and before):
            ending = "ym"
        else:
            ending = "" if noun == "год" else "ego" if noun in ("года", "roku") else "y"
        return f"{before}{self._ordinal(number, ending)} {noun}"

    def iso_date(self, match: re.Match[str]) -> str:
        months = self._language.months
        return self._date("", int(match.group("day")), months[int(match.group("month")) - 1], match.group("year"))

    def year_abbreviation(self, match: re.Match[str]) -> str:
        """ "w 1999 r.", "в 1999 г.", "1999 г."."""
        within = match.group("in") is not None
        noun = "roku" if self._code == "pl" else "году" if within else "года"
        dot = "." if not match.string[match.end() :].strip() else ""  # which ends the sentence, too
        return f"{match.group('in') or ''}{match.group('number')} {noun}{dot}"

    def millions(self, match: re.Match[str]) -> str:
        """ "5 Mio. €"."""
        one, many = {"Mio": ("Million", "Millionen"), "Mrd": ("Milliarde", "Milliarden")}[match.group("size")]
        number = self._plain(match.group("number"))
        words = f"eine {one}" if number == "1" else f"{self.cardinal(number)} {many}"
        return f"{words} Euro" if match.group("euro") else words

    def span(self, match: re.Match[str]) -> str:
        """ "10-20"; what does not go up is a result, or something else."""
        first, last = (self._plain(match.group(name)) for name in ("first", "last"))
        if float(first.replace(",", ".")) >= float(last.replace(",", ".")):
            return match.group()
        return self._language.range.format(self.cardinal(first), self.cardinal(last))

    def until(self, match: re.Match[str]) -> str:
        """The first hour of "9-17 Uhr"."""
        return self._language.range.format(self._noun(self._say(int(match.group("first")))), "")

    def german_ordinal(self, match: re.Match[str]) -> str:
        """ "das 2. Mal", "im 19. Jahrhundert"."""
        before = match.group("article").lower()
        ending = "" if before in ("der", "die", "das") else "r" if before in ("ein", "mein", "sein", "ihr") else "n"
        return f"{match.group('article')} {self._say(int(match.group('number')), 'ordinal')}{ending}"

    def russian_ordinal(self, match: re.Match[str]) -> str:
        """ "3-й", "1-я", "5-го"."""
        case, gender = _RUSSIAN_ENDINGS[match.group("ending")]
        return self._say(int(match.group("number")), "ordinal", case=case, gender=gender)

    def polish_ordinal(self, match: re.Match[str]) -> str:
        """ "3. miejsce": of the gender that the noun's last letter has most often."""
        ending = {"a": "a", "o": "e", "e": "e"}.get(match.group("noun")[-1], "")
        number = int(match.group("number"))
        words = self._ordinal(number, ending) if ending else self._say(number, "ordinal")
        words = re.sub(r"([kg])e$", r"\1ie", words)
        return f"{words} {match.group('noun')}"

    def ordinal(self, match: re.Match[str]) -> str:
        words, mark = self._say(int(match.group("number")), "ordinal"), match.group("mark")
        if self._code == "es" and mark in ("er", "ER"):
            return re.sub(r"(primer|tercer)o$", r"\1", words)
        if self._code == "fr":
            return words.replace("premier", "première") if mark in ("re", "ère") else words
        if mark == "ª":
            return re.sub(r"o\b", "a", words)
        if self._code == "es" and re.match(r"\s[^\W\d_]", match.string[match.end() : match.end() + 2]):
            return re.sub(r"(primer|tercer)o$", r"\1", words)
        return words

    def telephone(self, match: re.Match[str]) -> str:
        plus = f"{self._language.plus} " if match.group().startswith("+") else ""
        groups = re.findall(r"\d+", match.group())
        if self._code == "fr" and all(len(group) <= 2 for group in groups):
            said = [
                f"{self._say(0)} {self._say(int(g))}" if g[0] == "0" and len(g) == 2 else self._say(int(g))
                for g in groups
            ]
        else:
            said = [self._digits(group) for group in groups]
        return plus + ", ".join(said)

    def bare(self, match: re.Match[str]) -> str:
        written = match.group()
        if re.fullmatch(r"\d{4}", written):
            return self._year(int(written))
        words = self.cardinal(written)
        following = match.string[match.end() : match.end() + 2]
        if self._code in _OF and _MILLIONS.search(words) and re.match(r"\s[^\W\d_aeiouyhé]", following):
            return f"{words} {_OF[self._code]}"
        return words


@lru_cache(maxsize=len(LANGUAGES))
def _rules(code: str) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    language = LANGUAGES[code]
    reader = _Reader(language)
    separator = rf"[{language.thousands}\u00a0\u202f]"
    # never from inside of a run of digits: trying each of its ends again takes quadratic time
    number = rf"(?<![\d,])(?:\d{{1,3}}(?:{separator}\d{{3}})+(?!\d)|\d+)(?:,\d+)?"
    signed = rf"(?:(?<![\w.)%])[-−])?{number}"
    signs = "|".join(re.escape(sign) for sign in sorted({*_CODES, *language.own_currency}, key=len, reverse=True))
    units = "|".join(re.escape(unit) for unit in sorted(language.units, key=len, reverse=True))
    months = "|".join(language.months)
    divider = r"\." if code in ("de", "pl", "ru") else "/"
    prepositions = {"de": r"(?P<preposition>\b(?:[Aa]m|[Vv]om|[Zz]um|[Bb]is zum|[Dd]em|[Dd]en|[Dd]er|[Ss]eit dem)\s)?"}
    hour_prepositions = {"pl": r"(?P<preposition>\b(?:o|od|do|po|przed|około)\s(?:godz(?:iny|inie|\.)\s)?)?"}
    preposition = prepositions.get(code, "(?P<preposition>(?!))?")
    hour = {"de": r"(?:\s?Uhr\b)?", "fr": "", "pt": r"(?:\s?h\b)?", "es": r"(?:\s?h\b)?"}.get(code, "")
    ordinal_mark = {"de": r"\.", "fr": "(?:er)?"}.get(code, "[º°]?")
    date_joint = re.escape(language.date_joint).replace(r"\ ", r"\s")
    year_noun = {"pl": r"(?:\sroku\b)?", "ru": r"(?:\sгода\b)?"}.get(code, "")  # which a date has anyway
    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (
            rf"{preposition}(?<![\w./])(?P<day>\d{{1,2}}){divider}(?P<month>\d{{1,2}}){divider}(?P<year>[12]\d{{3}})(?![\w/]){year_noun}",
            reader.numeric_date,
        ),
        (
            rf"{preposition}(?<![\w.,])(?P<day>[12]\d|3[01]|0?[1-9]){ordinal_mark}{date_joint}"
            rf"(?P<month>{months})\b(?:{date_joint}(?P<year>[12]\d{{3}})\b{year_noun})?",
            reader.named_date,
        ),
        (
            r"(?<![\w-])(?P<year>[12]\d{3})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?![\w-])",
            reader.iso_date,
        ),
        (
            r"(?<![\w.,])(?<!\d[ \u00a0\u202f])(?:\+\d{1,3}(?:[ -]\(?\d{1,8}\)?){1,6}|0\d{1,4}(?:[ /-]\d{2,8}){1,6})(?!\w)",
            reader.telephone,
        ),
        (
            rf"{hour_prepositions.get(code, '')}(?<![\d:.,])(?P<h>[01]?\d|2[0-4]):(?P<m>[0-5]\d)(?![\d:]){hour}",
            reader.time,
        ),
        (
            rf"(?:(?P<before>{signs})\s?(?P<number>{number})|(?P<number_>{number})\s?(?P<after>{signs})(?!\w))",
            reader.money,
        ),
        (rf"(?P<number>{signed})\s?%", reader.percent),
        (rf"(?P<number>{signed})\s?°(?:\s?(?P<scale>C)\b)?", reader.temperature),
        (rf"(?P<number>{signed})\s?(?P<unit>{units})(?![\w/²³])", reader.quantity),
    ]
    if code == "fr":
        rules.insert(3, (r"(?<![\w:.,])(?P<h>[01]?\d|2[0-4])\s?h(?:\s?(?P<m>[0-5]\d))?(?!\w)", reader.time))
        rules.append((r"(?<![\w.,])(?P<number>[1-9]\d{0,3})(?P<mark>er|re|ère|ème|e)(?!\w)", reader.ordinal))
    if code in ("es", "it", "pt"):
        # the numbers of Spain and Portugal, and mobile ones of Italy, which begin with no zero; nothing is counted by them
        grouped = r"[26789]\d{2}(?: \d{3}){2}|[26789]\d \d{3} \d{2} \d{2}|3\d{2} \d{6,7}"
        rules.insert(4, (rf"(?<![\w.,+])(?<!\d )(?:{grouped})(?![\w.,] ?\d)(?!\s?[\w€$£%])", reader.telephone))
    if code == "de":
        articles = (
            "[Dd](?:er|ie|as|em|en|es)|[AaIi]m|[Vv]om|[Zz]u[mr]|[Bb]eim|"
            "(?:[Ee]|[Mm]e|[Ss]e)in(?:en|em|er)?|[Ii]hr(?:en|em|er)?"
        )
        rules.insert(2, (rf"\b(?P<article>{articles})\s(?P<number>\d{{1,3}})\.(?=\s[A-ZÄÖÜ])", reader.german_ordinal))
        rules.insert(2, (rf"(?P<number>{number})\s?(?P<size>Mio|Mrd)\b\.?(?P<euro>\s?€)?", reader.millions))
        rules.insert(3, (r"(?<![\w:.,])(?P<h>[01]?\d|2[0-4])(?:\.(?P<m>[0-5]\d))?\sUhr\b", reader.time))
        rules.insert(
            3, (r"(?<![\w:.,-])(?P<first>[01]?\d|2[0-4])\s?[-–]\s?(?=(?:[01]?\d|2[0-4])\sUhr\b)", reader.until)
        )
    if code in ("es", "it", "pt"):
        rules.append((r"(?<![\w.,])(?P<number>[1-9]\d{0,3})\.?(?P<mark>[ºª]|er(?!\w))", reader.ordinal))
    if code in ("pl", "ru"):
        abbreviation = r"r\." if code == "pl" else r"г\."
        rules.insert(
            0, (rf"(?P<in>\b[WwВв]\s)?\b(?P<number>[12]\d{{3}})\s?{abbreviation}(?!\w)", reader.year_abbreviation)
        )
        rules.append(
            (
                r"(?P<in>\b[Ww]\s|\b[Вв]\s)?\b(?P<number>[12]\d{3})\s(?P<noun>roku|rok|году|года|год)\b",
                reader.slavic_year,
            )
        )
    if code == "ru":
        rules.append(
            (
                rf"(?<![\w.,-])(?P<number>\d{{1,4}})-(?P<ending>{'|'.join(_RUSSIAN_ENDINGS)})(?!\w)",
                reader.russian_ordinal,
            )
        )
    if code == "pl":
        rules.append((r"(?<![\w.,])(?P<number>\d{1,3})\.\s(?P<noun>[a-ząćęłńóśźż]{2,})", reader.polish_ordinal))
    if code not in ("pl", "ru"):  # where both numbers would be inflected
        rules.append((rf"(?<![\w.,/-])(?P<first>{number})(?:-|\s?–\s?)(?P<last>{number})(?![\w/-])", reader.span))
    rules += [(signed, reader.bare), (r"\d+", reader.bare)]  # the latter after a comma
    return [(re.compile(pattern), read) for pattern, read in rules]
