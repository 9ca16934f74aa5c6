"""Words that stand behind numbers, signs and units in other languages than English and Chinese.

Forms of a word are ordered as `plural` counts: one, other; in Polish and Russian one, few, many, and in
Polish that after decimals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Forms = tuple[str, ...]


def _one_other(number: int) -> int:
    return 0 if number == 1 else 1


def _french(number: int) -> int:
    return 0 if number < 2 else 1


def _polish(number: int) -> int:
    if number == 1:
        return 0
    return 1 if 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14 else 2


def _russian(number: int) -> int:
    if number % 10 == 1 and number % 100 != 11:
        return 0
    return 1 if 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14 else 2


@dataclass(frozen=True)
class Language:
    """How numbers are written and called.

    `before_noun` maps the last word of a number to its form before a masculine noun. `cents` stand after `joint` where
    `cents_named`, else their number alone does. `months` are as a date has them.
    """

    code: str
    point: str
    minus: str
    percent: Forms
    euro: Forms
    dollar: Forms
    pound: Forms
    own_currency: dict[str, tuple[Forms, Forms]]
    cent: Forms
    joint: str
    months: tuple[str, ...]
    units: dict[str, Forms]
    degrees: Forms
    plural: Callable[[int], int] = _one_other
    before_noun: tuple[tuple[str, str], ...] = ()
    cents_named: bool = False
    date_joint: str = " "
    thousands: str = "."
    plus: str = "plus"
    range: str = "{} – {}"
    celsius: str = "Celsius"

    def form(self, forms: Forms, number: str) -> str:
        """The form of a noun after a number as it is written without separators ("3", "2,5")."""
        if "," in number:  # French counts 1,5 as one, Polish has a form of its own, Russian few
            index = self.plural(int(number.lstrip("-−").partition(",")[0])) if self.code == "fr" else 1
            return forms[3] if len(forms) > 3 else forms[min(index, len(forms) - 1)]
        index = self.plural(int(number.lstrip("-−")))
        return forms[min(index, len(forms) - 1)]


GERMAN = Language(
    code="de",
    point="Komma",
    minus="minus",
    percent=("Prozent",),
    euro=("Euro",),
    dollar=("Dollar",),
    pound=("Pfund",),
    own_currency={"CHF": (("Franken",), ("Rappen",))},
    cent=("Cent",),
    joint=" ",
    months=tuple("Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()),
    units={
        "km²": ("Quadratkilometer",),
        "m²": ("Quadratmeter",),
        "Min.": ("Minute", "Minuten"),
        "min": ("Minute", "Minuten"),
        "h": ("Stunde", "Stunden"),
        "MB": ("Megabyte",),
        "ml": ("Milliliter",),
        "km/h": ("Kilometer pro Stunde",),
        "km": ("Kilometer",),
        "m": ("Meter",),
        "cm": ("Zentimeter",),
        "mm": ("Millimeter",),
        "kg": ("Kilogramm",),
        "g": ("Gramm",),
        "l": ("Liter",),
        "GB": ("Gigabyte",),
    },
    degrees=("Grad",),
    before_noun=(("eins", "ein"),),
    range="{} bis {}",
)
FRENCH = Language(
    code="fr",
    point="virgule",
    minus="moins",
    percent=("pour cent",),
    euro=("euro", "euros"),
    dollar=("dollar", "dollars"),
    pound=("livre", "livres"),
    own_currency={"CHF": (("franc suisse", "francs suisses"), ("centime", "centimes"))},
    cent=("centime", "centimes"),
    joint=" ",
    months=tuple("janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()),
    units={
        "km²": ("kilomètre carré", "kilomètres carrés"),
        "m²": ("mètre carré", "mètres carrés"),
        "min": ("minute", "minutes"),
        "Mo": ("mégaoctet", "mégaoctets"),
        "ml": ("millilitre", "millilitres"),
        "km/h": ("kilomètre à l'heure", "kilomètres à l'heure"),
        "km": ("kilomètre", "kilomètres"),
        "m": ("mètre", "mètres"),
        "cm": ("centimètre", "centimètres"),
        "mm": ("millimètre", "millimètres"),
        "kg": ("kilogramme", "kilogrammes"),
        "g": ("gramme", "grammes"),
        "l": ("litre", "litres"),
        "Go": ("gigaoctet", "gigaoctets"),
    },
    degrees=("degré", "degrés"),
    plural=_french,
    thousands=". ",
    range="{} à {}",
)
SPANISH = Language(
    code="es",
    point="coma",
    minus="menos",
    percent=("por ciento",),
    euro=("euro", "euros"),
    dollar=("dólar", "dólares"),
    pound=("libra", "libras"),
    own_currency={},
    cent=("céntimo", "céntimos"),
    joint=" con ",
    months=tuple("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()),
    units={
        "km²": ("kilómetro cuadrado", "kilómetros cuadrados"),
        "m²": ("metro cuadrado", "metros cuadrados"),
        "min": ("minuto", "minutos"),
        "h": ("hora", "horas"),
        "MB": ("megabyte", "megabytes"),
        "ml": ("mililitro", "mililitros"),
        "km/h": ("kilómetro por hora", "kilómetros por hora"),
        "km": ("kilómetro", "kilómetros"),
        "m": ("metro", "metros"),
        "cm": ("centímetro", "centímetros"),
        "mm": ("milímetro", "milímetros"),
        "kg": ("kilogramo", "kilogramos"),
        "g": ("gramo", "gramos"),
        "l": ("litro", "litros"),
        "GB": ("gigabyte", "gigabytes"),
    },
    degrees=("grado", "grados"),
    before_noun=(("veintiuno", "veintiún"), ("uno", "un")),
    date_joint=" de ",
    range="{} a {}",
    plus="más",
)
ITALIAN = Language(
    code="it",
    point="virgola",
    minus="meno",
    percent=("per cento",),
    euro=("euro",),
    dollar=("dollaro", "dollari"),
    pound=("sterlina", "sterline"),
    own_currency={},
    cent=("centesimo", "centesimi"),
    joint=" e ",
    months=tuple(
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split()
    ),
    units={
        "km²": ("chilometro quadrato", "chilometri quadrati"),
        "m²": ("metro quadrato", "metri quadrati"),
        "min": ("minuto", "minuti"),
        "h": ("ora", "ore"),
        "MB": ("megabyte",),
        "ml": ("millilitro", "millilitri"),
        "km/h": ("chilometro all'ora", "chilometri all'ora"),
        "km": ("chilometro", "chilometri"),
        "m": ("metro", "metri"),
        "cm": ("centimetro", "centimetri"),
        "mm": ("millimetro", "millimetri"),
        "kg": ("chilo", "chili"),
        "g": ("grammo", "grammi"),
        "l": ("litro", "litri"),
        "GB": ("gigabyte",),
    },
    degrees=("grado", "gradi"),
    before_noun=(("uno", "un"),),
    range="da {} a {}",
    plus="più",
)
PORTUGUESE = Language(
    code="pt",
    point="vírgula",
    minus="menos",
    percent=("por cento",),
    euro=("euro", "euros"),
    dollar=("dólar", "dólares"),
    pound=("libra", "libras"),
    own_currency={"R$": (("real", "reais"), ("centavo", "centavos"))},
    cent=("cêntimo", "cêntimos"),
    joint=" e ",
    months=tuple("janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro".split()),
    units={
        "km²": ("quilómetro quadrado", "quilómetros quadrados"),
        "m²": ("metro quadrado", "metros quadrados"),
        "min": ("minuto", "minutos"),
        "h": ("hora", "horas"),
        "MB": ("megabyte", "megabytes"),
        "ml": ("mililitro", "mililitros"),
        "km/h": ("quilómetro por hora", "quilómetros por hora"),
        "km": ("quilómetro", "quilómetros"),
        "m": ("metro", "metros"),
        "cm": ("centímetro", "centímetros"),
        "mm": ("milímetro", "milímetros"),
        "kg": ("quilograma", "quilogramas"),
        "g": ("grama", "gramas"),
        "l": ("litro", "litros"),
        "GB": ("gigabyte", "gigabytes"),
    },
    degrees=("grau", "graus"),
    date_joint=" de ",
    thousands=". ",
    range="{} a {}",
    plus="mais",
)
POLISH = Language(
    code="pl",
    point="przecinek",
    minus="minus",
    percent=("procent",),
    euro=("euro",),
    dollar=("dolar", "dolary", "dolarów", "dolara"),
    pound=("funt", "funty", "funtów", "funta"),
    own_currency={"zł": (("złoty", "złote", "złotych", "złotego"), ("grosz", "grosze", "groszy", "grosza"))},
    cent=("cent", "centy", "centów", "centa"),
    joint=" ",
    months=tuple(
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia".split()
    ),
    units={
        "km²": ("kilometr kwadratowy", "kilometry kwadratowe", "kilometrów kwadratowych", "kilometra kwadratowego"),
        "m²": ("metr kwadratowy", "metry kwadratowe", "metrów kwadratowych", "metra kwadratowego"),
        "min": ("minuta", "minuty", "minut", "minuty"),
        "h": ("godzina", "godziny", "godzin", "godziny"),
        "MB": ("megabajt", "megabajty", "megabajtów", "megabajta"),
        "ml": ("mililitr", "mililitry", "mililitrów", "mililitra"),
        "km/h": ("kilometr na godzinę", "kilometry na godzinę", "kilometrów na godzinę", "kilometra na godzinę"),
        "km": ("kilometr", "kilometry", "kilometrów", "kilometra"),
        "m": ("metr", "metry", "metrów", "metra"),
        "cm": ("centymetr", "centymetry", "centymetrów", "centymetra"),
        "mm": ("milimetr", "milimetry", "milimetrów", "milimetra"),
        "kg": ("kilogram", "kilogramy", "kilogramów", "kilograma"),
        "g": ("gram", "gramy", "gramów", "grama"),
        "l": ("litr", "litry", "litrów", "litra"),
        "GB": ("gigabajt", "gigabajty", "gigabajtów", "gigabajta"),
    },
    degrees=("stopień", "stopnie", "stopni", "stopnia"),
    plural=_polish,
    cents_named=True,
    thousands=". ",
    celsius="Celsjusza",
)
RUSSIAN = Language(
    code="ru",
    point="",
    minus="минус",
    percent=("процент", "процента", "процентов"),
    euro=("евро",),
    dollar=("доллар", "доллара", "долларов"),
    pound=("фунт", "фунта", "фунтов"),
    own_currency=dict.fromkeys(("₽", "руб.", "руб"), (("рубль", "рубля", "рублей"), ("копейка", "копейки", "копеек"))),
    cent=("цент", "цента", "центов"),
    joint=" ",
    months=tuple("января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()),
    units={
        "км²": ("квадратный километр", "квадратных километра", "квадратных километров"),
        "м²": ("квадратный метр", "квадратных метра", "квадратных метров"),
        "мин": ("минута", "минуты", "минут"),
        "ч": ("час", "часа", "часов"),
        "МБ": ("мегабайт", "мегабайта", "мегабайт"),
        "мл": ("миллилитр", "миллилитра", "миллилитров"),
        "км/ч": ("километр в час", "километра в час", "километров в час"),
        "км": ("километр", "километра", "километров"),
        "м": ("метр", "метра", "метров"),
        "см": ("сантиметр", "сантиметра", "сантиметров"),
        "мм": ("миллиметр", "миллиметра", "миллиметров"),
        "кг": ("килограмм", "килограмма", "килограммов"),
        "г": ("грамм", "грамма", "граммов"),
        "л": ("литр", "литра", "литров"),
        "ГБ": ("гигабайт", "гигабайта", "гигабайт"),
    },
    degrees=("градус", "градуса", "градусов"),
    plural=_russian,
    cents_named=True,
    thousands=". ",
    celsius="Цельсия",
    plus="плюс",
)
LANGUAGES = {language.code: language for language in (GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, POLISH, RUSSIAN)}
