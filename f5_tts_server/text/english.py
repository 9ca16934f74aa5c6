"""Numbers, times, dates, money, units and abbreviations to the English words that a person would read out.

num2words makes the numbers; the rules here find out what a number is. They run in order over the whole text, each on what
the ones before it have left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from num2words import num2words

from f5_tts_server.text.english_words import (
    ABBREVIATIONS,
    CURRENCIES,
    DENOMINATORS,
    MAGNITUDES,
    MONTHS,
    NO_STREET,
    REGNAL_NAMES,
    ROMAN,
    SYMBOLS,
    TOP_DOMAINS,
    UNITS,
    Currency,
)

_MOST_DIGITS = 15  # of a number read as one; longer ones are read digit by digit
_FIRST_YEAR, _LAST_YEAR = 1100, 2099

# never from inside of a run of digits: trying each of its ends again takes quadratic time
_NUMBER = r"(?<!\d)(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
_SIGNED = rf"(?:(?<![\w.)%])[-−])?(?:{_NUMBER})"
_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_SYMBOL = "".join(re.escape(symbol) for symbol in CURRENCIES)
_DOMAIN = "|".join(re.escape(name) for name in sorted(TOP_DOMAINS, key=len, reverse=True))
_PATH = r"[^\s<>\"')\]]"  # what an address may have after its domain
_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_MAGNITUDE = "|".join(sorted((re.escape(word) for word in MAGNITUDES), key=len, reverse=True))


def normalize_english(text: str) -> str:
    """`text` with what is not written as words put into English words."""
    for pattern, read in _RULES:
        text = pattern.sub(read, text)
    return text


# Numbers ---------------------------------------------------------------------------------------------------------


def _spoken(number: int, to: str = "cardinal") -> str:
    words: str = num2words(number, to=to)
    return words.replace(",", "")


def digit_by_digit(text: str) -> str:
    """Digit by digit; anything else is left out."""
    return " ".join(_spoken(int(digit)) for digit in text if digit.isdigit())


def cardinal(text: str) -> str:
    """A written number, maybe with sign, thousands separators and decimals."""
    sign = "minus " if text[0] in "-−" else ""
    whole, _, decimals = text.lstrip("-−").replace(",", "").partition(".")
    spelt = len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0")
    words = digit_by_digit(whole) if spelt else _spoken(int(whole))
    return f"{sign}{words}{f' point {digit_by_digit(decimals)}' if decimals else ''}"


def _is_one(text: str) -> bool:
    return text.lstrip("-−") == "1"


def _year(number: int) -> str:
    if 2000 <= number <= 2009:
        return _spoken(number)
    return _spoken(number, "year").replace("-", " ")


def _ordinal(text: str) -> str:
    return _spoken(int(text.replace(",", "")), "ordinal")


# Rules -----------------------------------------------------------------------------------------------------------


def _address(match: re.Match[str]) -> str:
    """A web or mail address, said as people say it."""
    address = match.group().removeprefix("https://").removeprefix("http://").removeprefix("www.").rstrip("/")
    for mark, word in (
        (".", "dot"),
        ("/", "slash"),
        ("@", "at"),
        ("-", "dash"),
        ("_", "underscore"),
        ("?", "question mark"),
    ):
        address = address.replace(mark, f" {word} ")
    address = re.sub(r"[&=#%+~:]+", " ", address)
    return re.sub(r"\b(?:uk|us|eu|io|ai)$", lambda name: " ".join(name.group().upper()), address).strip()


def _money(match: re.Match[str]) -> str:
    return _amount(
        CURRENCIES[match.group("symbol")], match.group("amount"), match.group("magnitude"), match.group("sign")
    )


def _amount(currency: Currency, amount: str, magnitude: str | None, sign: str | None) -> str:
    minus = "minus " if sign else ""
    if magnitude:
        return f"{minus}{cardinal(amount)} {MAGNITUDES[magnitude.lower()]} {currency.many}"
    whole, _, cents = amount.replace(",", "").partition(".")
    if cents and (len(cents) != 2 or not currency.cent):
        return f"{minus}{cardinal(amount)} {currency.many}"
    words = (
        [] if cents and int(whole) == 0 else [f"{cardinal(whole)} {currency.one if whole == '1' else currency.many}"]
    )
    if cents and int(cents):
        words.append(f"{_spoken(int(cents))} {currency.cent if int(cents) == 1 else currency.cents}")
    return minus + (" and ".join(words) or f"zero {currency.many}")


def _time(match: re.Match[str]) -> str:
    hours, minutes, seconds = int(match.group("h")), int(match.group("m")), match.group("s")
    half = match.group("half")
    if seconds:
        words = " ".join(
            f"{_spoken(number)} {unit}{'' if number == 1 else 's'}"
            for number, unit in ((hours, "hour"), (minutes, "minute"), (int(seconds), "second"))
            if number
        )
        return words or "zero seconds"
    if minutes == 0:
        words = _spoken(hours) + ("" if half else " o'clock" if 1 <= hours <= 12 else " hundred")
    else:
        words = f"{_spoken(hours)} {'oh ' if minutes < 10 else ''}{_spoken(minutes)}"
    return f"{words} {_half(half)}" if half else words


def _half(text: str) -> str:
    """Half of the day, as two letters; a full stop that ends the sentence too is kept by the pattern."""
    return "A M" if text[0] in "aA" else "P M"


def _hour(match: re.Match[str]) -> str:
    return f"{_spoken(int(match.group('h')))} {_half(match.group('half'))}"


def _month_day(match: re.Match[str]) -> str:
    year = match.group("year")
    words = f"{MONTHS[match.group('month').lower()]} {_ordinal(match.group('day'))}"
    return f"{words}, {_year(int(year))}" if year else words


def _day_month(match: re.Match[str]) -> str:
    year = match.group("year")
    words = f"{_ordinal(match.group('day'))} of {MONTHS[match.group('month').lower()]}"
    return f"{words} {_year(int(year))}" if year else words


def _iso_date(match: re.Match[str]) -> str:
    year, month, day = (int(part) for part in match.groups())
    return f"{list(dict.fromkeys(MONTHS.values()))[month - 1]} {_spoken(day, 'ordinal')}, {_year(year)}"


def _slash_date(match: re.Match[str]) -> str:
    """As Americans write it, month first, unless that cannot be."""
    month, day, year = (int(part) for part in match.groups())
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " slash ".join(_spoken(int(part)) for part in match.groups())
    if len(match.group(3)) == 2:
        year += 2000 if year < 50 else 1900
    return f"{list(dict.fromkeys(MONTHS.values()))[month - 1]} {_spoken(day, 'ordinal')}, {_year(year)}"


def _vulgar(match: re.Match[str]) -> str:
    """ "½" and "2½"."""
    whole, sign, of = match.groups()
    fraction = Fraction(unicodedata.numeric(sign)).limit_denominator(10)
    one, many = DENOMINATORS[fraction.denominator]
    if not whole and fraction.denominator == 2 and of is not None:
        return "half"
    if not whole:
        return f"{_spoken(fraction.numerator)} {one if fraction.numerator == 1 else many}"
    return f"{cardinal(whole)} and {'a' if fraction.numerator == 1 else _spoken(fraction.numerator)} " + (
        one if fraction.numerator == 1 else many
    )


def _roman(match: re.Match[str]) -> str:
    name, numeral = match.groups()
    number = ROMAN.get(numeral)
    if number is None or (len(numeral) == 1 and name not in REGNAL_NAMES):
        return match.group()
    return f"{name} the {_spoken(number, 'ordinal')}" if name in REGNAL_NAMES else f"{name} {_spoken(number)}"


def _saint_or_street(match: re.Match[str]) -> str:
    """A street where a name that does not begin the sentence stands before it, or no name follows."""
    before, name, saint = match.group("before"), match.group("name"), match.group("saint") is not None
    ends = "." if saint or not match.string[match.end() :].strip() else ""
    if before and name and name.strip() not in NO_STREET:
        return f"{before}{name}Street{ends}"
    return f"{before or ''}{name or ''}{'Saint' if saint else f'Street{ends}'}"


def _decade(match: re.Match[str]) -> str:
    number = int(match.group(1))
    words = _spoken(number) if number < 100 else _year(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _quantity(match: re.Match[str]) -> str:
    one, many = UNITS[match.group("unit")]
    return f"{cardinal(match.group('number'))} {one if _is_one(match.group('number')) else many}"


def _feet(match: re.Match[str]) -> str:
    inches = match.group(2)
    return f"{_spoken(int(match.group(1)))} foot {_spoken(int(inches))}"


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match.group(1)), int(match.group(2))
    one, many = DENOMINATORS[below]
    return f"{_spoken(above)} {one if above == 1 else many}"


def _bare_number(match: re.Match[str]) -> str:
    text = match.group()
    if re.fullmatch(r"\d{4}", text) and _FIRST_YEAR <= int(text) <= _LAST_YEAR:
        return _year(int(text))
    return cardinal(text)


_HALF = r"(?P<half>[AaPp]\.?[Mm]\b)(?:\.(?!\s*(?:[A-Z]|$)))?"

_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\bhttps?://[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]|\bwww\.[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]"), _address),
    (
        re.compile(
            rf"(?<![\w@./-])(?:[a-z0-9-]{{1,63}}\.){{1,4}}(?:{_DOMAIN})(?:/(?:{_PATH}*[^\s<>\"')\].,;:!?])?)?(?![\w-])",
            re.IGNORECASE,
        ),
        _address,
    ),
    (re.compile(r"(?<![\w.])\.NET\b"), lambda _: "dot net"),
    (re.compile(r"\b([CFJ])#(?!\w)"), lambda match: f"{match.group(1)} sharp"),
    (re.compile(r"\b([A-Z]{1,3})&([A-Z]{1,3})\b"), lambda match: " and ".join(map(" ".join, match.groups()))),
    (re.compile(rf"(?<!\w)(?:({_NUMBER})\s?)?([{_VULGAR}])(?P<of>(?=\s(?:an?|the)\b))?"), _vulgar),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{2,63}){1,4}\b"), _address),
    (
        re.compile(
            rf"(?P<sign>(?<!\w)[-−])?(?P<symbol>[{_SYMBOL}])\s?(?P<amount>{_NUMBER})"
            rf"(?:[ -]?(?P<magnitude>{_MAGNITUDE})\b)?(?![\w])",
            re.IGNORECASE,
        ),
        _money,
    ),
    (re.compile(rf"(?<![\d:])(?P<h>\d{{1,2}}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![\d:])(?:\s?{_HALF})?"), _time),
    (re.compile(rf"\b(?P<h>1[0-2]|[1-9])\s?{_HALF}"), _hour),
    (
        re.compile(
            rf"\b(?P<month>{_MONTH})\.?\s(?P<day>[12]?\d|3[01])(?:st|nd|rd|th)?\b(?!:)(?:,?\s(?P<year>[12]\d{{3}})\b)?",
            re.IGNORECASE,
        ),
        _month_day,
    ),
    (
        re.compile(
            rf"\b(?P<day>[12]?\d|3[01])(?:st|nd|rd|th)?\s(?P<month>{_MONTH})\b\.?(?:,?\s(?P<year>[12]\d{{3}})\b)?",
            re.IGNORECASE,
        ),
        _day_month,
    ),
    (re.compile(r"(?<![\w/.,-])(\d{1,2})/(\d{1,2})/([12]\d{3}|\d{2})(?![\w/-])"), _slash_date),
    (re.compile(r"\b([12]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b"), _iso_date),
    (re.compile(r"(?<![\w.])['’]?((?:[12]\d)?\d0)['’]?s\b"), _decade),
    (re.compile(r"\b24/7\b"), lambda _: "twenty-four seven"),
    (re.compile(r"\b(\d{1,2})['′]\s?(\d{1,2})(?:\"|″|'')"), _feet),
    (
        re.compile(r"(?<![\w.-])\+\d{1,3}(?:[ .-]\(?\d{1,5}\)?){2,5}(?![\w-])"),
        lambda match: "plus " + ", ".join(digit_by_digit(group) for group in re.findall(r"\d+", match.group())),
    ),
    (
        re.compile(r"(?<![\w.-])\+?(?:\d{1,3}[ .-])?(?:\(\d{3}\)\s?|\d{3}[ .-])?\d{3}-\d{4}(?![\w-])"),
        lambda match: ", ".join(digit_by_digit(group) for group in re.findall(r"\d+", match.group())),
    ),
    (re.compile(rf"(?P<number>{_SIGNED})[ -]?(?P<unit>{_UNIT})(?![\w/²³])"), _quantity),
    (re.compile(r"(?<=[A-Za-z0-9])²"), lambda _: " squared"),
    (re.compile(r"(?<=[A-Za-z0-9])³"), lambda _: " cubed"),
    (re.compile(r"(?<![\w/.,])(\d{1,2})/(\d{1,3})(?![\w/]|[.,]\d)"), lambda match: _fraction_or_slash(match)),
    (re.compile(r"\b(\d{1,3}(?:,\d{3})+|\d{1,6})(?:st|nd|rd|th)\b"), lambda match: _ordinal(match.group(1))),
    (re.compile(r"\b[Vv](\d+(?:\.\d+)+)\b"), lambda match: f"version {_dotted(match.group(1))}"),
    (re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)"), lambda match: _dotted(match.group())),
    (
        re.compile(rf"(?<![\w.,-])({_NUMBER})(?:-|\s?–\s?)({_NUMBER})(?![\w-])"),
        lambda match: f"{cardinal(match.group(1))} to {cardinal(match.group(2))}",
    ),
    (re.compile(r"#(?=\d)|\b[Nn]os?\.\s?(?=\d)|№\s?(?=\d)"), lambda _: "number "),
    (re.compile(r"~\s?(?=\d)"), lambda _: "about "),
    (
        re.compile(r"\b(Chapter|Part|Act|Section|Volume|Book|War|Phase|Type|Level|Appendix)\s([IVX]{1,5})\b"),
        lambda match: (
            f"{match.group(1)} {_spoken(ROMAN[match.group(2)])}" if match.group(2) in ROMAN else match.group()
        ),
    ),
    (
        re.compile(r"\b([A-Z][a-z]{1,20})\s([IVXL]{2,7}|[VX]|I(?=[.,;:!?)’']|\s(?:of|was|and|had|in)\b|$))(?![\w-])"),
        _roman,
    ),
    (
        re.compile(
            r"(?P<before>\b\w{1,20}\s)?(?P<name>\b(?:[A-Z][a-z]{1,20}|\d{1,3}(?:st|nd|rd|th))\s)?\bSt\."
            r"(?P<saint>(?=\s[A-Z]))?"
        ),
        _saint_or_street,
    ),
    (
        re.compile(r"(?<!\w)(?:" + "|".join(re.escape(word) for word in ABBREVIATIONS) + r")(?!\w)"),
        lambda match: ABBREVIATIONS[match.group()],
    ),
    (re.compile(r"(?<=\w)\+\+"), lambda _: " plus plus"),
    # letters and digits written together: "MP3", "2x"
    (re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])"), lambda _: " "),
    (re.compile(rf"\s?([{''.join(re.escape(symbol) for symbol in SYMBOLS)}])\s?(?=[\w-]|$)"), lambda m: _symbol(m)),
    (re.compile(_SIGNED), _bare_number),
]


def _fraction_or_slash(match: re.Match[str]) -> str:
    above, below = int(match.group(1)), int(match.group(2))
    if below in DENOMINATORS and 0 < above < below:
        return _fraction(match)
    return f"{_spoken(above)} slash {_spoken(below)}"


def _dotted(text: str) -> str:
    return " point ".join(cardinal(part) for part in text.split("."))


def _symbol(match: re.Match[str]) -> str:
    return f" {SYMBOLS[match.group(1)]} "
