"""Numbers, times, dates, money and units in Chinese and Japanese characters.

Only the readings are written here: both languages count by the same characters in groups of four, with differences that
`_Counting` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "兆")
_MOST_DIGITS = 16


@dataclass(frozen=True)
class _Counting:
    """`ones`: whether a hundred is said with its one; `zeros`: whether a gap between digits is; the words of signs."""

    ones: bool
    zeros: bool
    hundred_million: str
    zero: str
    minus: str
    percent: str
    point: str
    units: dict[str, str]
    currencies: dict[str, str]
    hour: str
    to: str


_CHINESE = _Counting(
    ones=True,
    zeros=True,
    hundred_million="亿",
    zero="零",
    minus="负",
    percent="百分之{}",
    point="点",
    units={
        "km/h": "公里每小时",
        "km²": "平方公里",
        "m²": "平方米",
        "㎡": "平方米",
        "km": "公里",
        "m": "米",
        "cm": "厘米",
        "mm": "毫米",
        "kg": "公斤",
        "g": "克",
        "℃": "摄氏度",
        "°C": "摄氏度",
    },
    currencies={"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"},
    hour="点",
    to="到",
)
_JAPANESE = _Counting(
    ones=False,
    zeros=False,
    hundred_million="億",
    zero="ゼロ",
    minus="マイナス",
    percent="{}パーセント",
    point="点",
    units={
        "km/h": "時速{}キロメートル",
        "km²": "平方キロメートル",
        "m²": "平方メートル",
        "㎡": "平方メートル",
        "km": "キロメートル",
        "m": "メートル",
        "cm": "センチメートル",
        "mm": "ミリメートル",
        "kg": "キログラム",
        "g": "グラム",
        "℃": "度",
        "°C": "度",
    },
    currencies={"¥": "円", "￥": "円", "$": "ドル", "€": "ユーロ", "£": "ポンド"},
    hour="時",
    to="から",
)
_BY_CODE = {"zh": _CHINESE, "ja": _JAPANESE}
EAST_ASIAN = frozenset(_BY_CODE)
_FULL_WIDTH = str.maketrans("０１２３４５６７８９％．：", "0123456789%.:")
# Measure words and units before which two is 两.
_COUNTED = "个只条张本位天周块次点斤小分辆杯件座家种瓶把双句岁层台口间支头名场页步分倍千万亿年半米公里公斤元美欧英"
_NUMBER = r"(?<![\d.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"


def normalize_east_asian(text: str, code: str) -> str:
    """`text` with its numbers in Chinese ("zh") or Japanese ("ja") characters."""
    text = text.translate(_FULL_WIDTH)
    for pattern, read in _rules(code):
        text = pattern.sub(read, text)
    return text


class _Reader:
    def __init__(self, counting: _Counting) -> None:
        self._counting = counting

    def digits(self, written: str, one: str = "一") -> str:
        zero = self._counting.zero
        return "".join({"0": zero, "1": one}.get(digit, _DIGITS[int(digit)]) for digit in written if digit.isdecimal())

    def whole(self, number: int) -> str:
        if number == 0:
            return self._counting.zero
        words, gap = "", False
        for group in reversed(range(len(_GROUPS))):
            value = number // 10_000**group % 10_000
            if not value:
                gap = bool(words)
                continue
            if words and self._counting.zeros and (gap or value < 1000):
                words += "零"
            gap = False
            words += self._group(value, one=group > 0) + (
                self._counting.hundred_million if group == 2 else _GROUPS[group]
            )
        return words.removeprefix("一") if self._counting.ones and words.startswith("一十") else words

    def _group(self, value: int, *, one: bool) -> str:
        words, gap = "", False
        for place in (3, 2, 1, 0):
            digit = value // 10**place % 10
            if not digit:
                gap = bool(words)
                continue
            if gap and self._counting.zeros:
                words += "零"
            gap = False
            # Japanese counts 百 and 十 without a one; 千 has one before 万.
            silent = digit == 1 and place and not self._counting.ones and not (place == 3 and one)
            words += ("" if silent else _DIGITS[digit]) + _PLACES[place]
        return words

    def number(self, written: str) -> str:
        whole, _, decimals = written.lstrip("-−").replace(",", "").partition(".")
        minus = self._counting.minus if written[0] in "-−" else ""
        spelt = len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0")
        words = self.digits(whole) if spelt else self.whole(int(whole))
        return f"{minus}{words}{self._counting.point + self.digits(decimals) if decimals else ''}"

    # Rules

    def bare(self, match: re.Match[str]) -> str:
        return self.number(match.group())

    def counted(self, match: re.Match[str]) -> str:
        """Two of something is 两 in Chinese."""
        return "两" if match.group() == "2" else self.number(match.group())

    def year(self, match: re.Match[str]) -> str:
        return self.digits(match.group()) if self._counting.ones else self.number(match.group())

    def date(self, match: re.Match[str]) -> str:
        year, month, day = match.groups()
        said = self.digits(year) if self._counting.ones else self.number(year)
        return f"{said}年{self.whole(int(month))}月{self.whole(int(day))}日"

    def time(self, match: re.Match[str]) -> str:
        hour, minute = int(match.group(1)), int(match.group(2))
        hours = "两" if hour == 2 and self._counting.ones else self.whole(hour)
        if not minute:
            return f"{hours}{self._counting.hour}"
        zero = "零" if minute < 10 and self._counting.ones else ""
        return f"{hours}{self._counting.hour}{zero}{self.whole(minute)}分"

    def percent(self, match: re.Match[str]) -> str:
        number = match.group(1)
        minus = self._counting.minus if number[0] in "-−" else ""
        return minus + self._counting.percent.format(self.number(number.lstrip("-−")))

    def money(self, match: re.Match[str]) -> str:
        written = match.group(2)
        if "." in written and self._counting.ones:  # 五点五元, not 五点五零元
            written = written.rstrip("0").rstrip(".")
        return self._count(written) + self._counting.currencies[match.group(1)]

    def quantity(self, match: re.Match[str]) -> str:
        unit, written = self._counting.units[match.group(2)], match.group(1)
        said = self.number(written) if match.group(2) in ("℃", "°C") else self._count(written)
        return unit.format(said) if "{" in unit else said + unit

    def _count(self, written: str) -> str:
        """A number before what it counts."""
        return "两" if written == "2" and self._counting.ones else self.number(written)

    def percents(self, match: re.Match[str]) -> str:
        first, last = (self._counting.percent.format(self.number(match.group(n))) for n in (1, 2))
        return f"{first}{self._counting.to}{last}"

    def fraction(self, match: re.Match[str]) -> str:
        above, below = int(match.group(1)), int(match.group(2))
        if above >= below:  # a date, or a score
            return match.group()
        return f"{self.whole(below)}分{'之' if self._counting.ones else 'の'}{self.whole(above)}"

    def decade(self, match: re.Match[str]) -> str:
        return self.digits(match.group())

    def range(self, match: re.Match[str]) -> str:
        return f"{self.number(match.group(1))}{self._counting.to}{self.number(match.group(2))}"

    def telephone(self, match: re.Match[str]) -> str:
        groups = re.findall(r"\d+", match.group())
        one = "幺" if self._counting.ones else "一"
        said = ("" if self._counting.ones else "、").join(self.digits(group, one=one) for group in groups)
        return f"{'加' if self._counting.ones else 'プラス'}{said}" if match.group().startswith("+") else said


@lru_cache(maxsize=len(_BY_CODE))
def _rules(code: str) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    counting = _BY_CODE[code]
    reader = _Reader(counting)
    signed = rf"(?:(?<![\w.)%])[-−])?{_NUMBER}"
    units = "|".join(re.escape(unit) for unit in sorted(counting.units, key=len, reverse=True))
    signs = "".join(re.escape(sign) for sign in counting.currencies)
    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"(?<!\d)([12]\d{3})[-/](0?[1-9]|1[0-2])[-/](0?[1-9]|[12]\d|3[01])(?!\d)", reader.date),
        (r"(?<!\d)[12]\d{3}(?=\s?年)", reader.year),
        (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])", reader.time),
        (
            r"(?<![\d.+])(?:1\d{10}|1\d{2}[ -]\d{4}[ -]\d{4}|0\d{1,3}-?\d{7,8}|0\d{1,3}-\d{2,4}-\d{4})(?![\d.-])"
            r"|\+\d{1,3}(?:[ -]\d{1,8}){1,4}(?!\d)",
            reader.telephone,
        ),
        (r"(?<![\d./])([1-9]\d?)/([1-9]\d{0,2})(?![\d./])", reader.fraction),
        (rf"([{signs}])\s?({_NUMBER})", reader.money),
        (rf"({_NUMBER})\s?%\s?[-~～–]\s?({_NUMBER})\s?%", reader.percents),
        (rf"({signed})\s?%", reader.percent),
        (rf"({signed})\s?({units})(?![A-Za-z/])", reader.quantity),
        (rf"({_NUMBER})\s?[-~～–]\s?({_NUMBER})(?![\d-])", reader.range),
    ]
    if code == "zh":
        rules.append((r"(?<!\d)[05-9]0(?=后)", reader.decade))
        rules.append((rf"(?<![\d.第])2(?=\s?[{_COUNTED}])(?!月)", reader.counted))
    rules += [(signed, reader.bare), (r"\d+", reader.bare)]  # the latter after a point
    return [(re.compile(pattern), read) for pattern, read in rules]
