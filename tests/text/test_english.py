"""What stands behind signs, against what an English speaker reads out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from f5_tts_server.text.english import normalize_english
from f5_tts_server.text.normalization import normalize

READINGS = [
    ("I have 2 apples and 1,234 pears.", "I have two apples and one thousand two hundred and thirty-four pears."),
    ("Pi is 3.14159.", "Pi is three point one four one five nine."),
    ("It fell to -5 degrees.", "It fell to minus five degrees."),
    ("It costs $3.50.", "It costs three dollars and fifty cents."),
    ("$1, $0.99, £2.01 and ¥1,000", "one dollar, ninety-nine cents, two pounds and one penny and one thousand yen"),
    (
        "€2.5bn or $5M or £1.5 million",
        "two point five billion euros or five million dollars or one point five million pounds",
    ),
    ("-$20", "minus twenty dollars"),
    ("Meet at 10:30 a.m. sharp.", "Meet at ten thirty A M sharp."),
    ("It ended at 9:05 PM.", "It ended at nine oh five P M."),
    ("We left at 7 a.m. Then it rained.", "We left at seven A M. Then it rained."),
    ("12:00, 14:30 and 15:00", "twelve o'clock, fourteen thirty and fifteen hundred"),
    ("in 1:02:03", "in one hour two minutes three seconds"),
    ("Jan. 5th, 2024", "January fifth, twenty twenty four"),
    ("5 May 1999", "fifth of May nineteen ninety nine"),
    ("2024-12-31", "December thirty-first, twenty twenty four"),
    ("May 2024 was warm.", "May twenty twenty four was warm."),
    ("in 1905, 2000 and 2010", "in nineteen oh five, two thousand and twenty ten"),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
    ("50%, 3.5 % and 10%-20%", "fifty percent, three point five percent and ten percent-twenty percent"),
    (
        "1 kg, 72 kg, 5.2km, 100 km/h",
        "one kilogram, seventy-two kilograms, five point two kilometers, one hundred kilometers an hour",
    ),
    ("-5°C and 16GB at 3.5 GHz", "minus five degrees Celsius and sixteen gigabytes at three point five gigahertz"),
    ("5 in the box, 3 a day", "five in the box, three a day"),
    ("1st, 22nd, 103rd", "first, twenty-second, one hundred and third"),
    ("1/2, 3/4 and 2/3", "one half, three quarters and two thirds"),
    ("open 24/7", "open twenty-four seven"),
    ("pages 10-20", "pages ten to twenty"),
    ("Call 555-1234.", "Call five five five, one two three four."),
    ("Dr. Smith vs. Mrs. Jones, e.g. here", "Doctor Smith versus Missus Jones, for example here"),
    ("No. 5 and #1", "number five and number one"),
    ("World War II, Chapter IV", "World War two, Chapter four"),
    ("MP3 and 2x in C++", "MP three and two x in C plus plus"),
    ("v2.0.1", "version two point zero point one"),
    ("salt & pepper, 2+2=4", "salt and pepper, two plus two equals four"),
    ("See https://example.com/docs.", "See example dot com slash docs."),
    ("Write to ann@mail.org.", "Write to ann at mail dot org."),
    ("agent 007", "agent zero zero seven"),
    ("5'10\" tall", "five foot ten tall"),
    ("on 10/12/2019", "on October twelfth, twenty nineteen"),
    ("25/12/2019 or 7/4/76", "December twenty-fifth, twenty nineteen or July fourth, nineteen seventy six"),
    ("99/99/2019", "ninety-nine slash ninety-nine slash two thousand and nineteen"),
    ("In St. Louis near St. Mary's.", "In Saint Louis near Saint Mary's."),
    ("The shop on Main St. The door.", "The shop on Main Street. The door."),
    ("12 Main St. is closed, 5th St. too", "twelve Main Street is closed, fifth Street too"),
    ("at 42nd St.", "at forty-second Street."),
    ("Henry VIII and Louis XIV", "Henry the eighth and Louis the fourteenth"),
    ("Pope John Paul II met Elizabeth II.", "Pope John Paul the second met Elizabeth the second."),
    ("Charles I was king; Henry I think not", "Charles the first was king; Henry I think not"),
    ("Rocky IV, Apollo XI, Super Bowl LIX", "Rocky four, Apollo eleven, Super Bowl fifty-nine"),
    ("a Shirt XL, I am", "a Shirt XL, I am"),
    ("AT&T and R&D", "A T and T and R and D"),
    ("½ a cup, 2½ cups, ¾", "half a cup, two and a half cups, three quarters"),
    ("3⅔ and 1 ¼ miles", "three and two thirds and one and a quarter miles"),
    ("x² + y³ = 10²", "x squared plus y cubed equals ten squared"),
    ("20 m² and 5 km²", "twenty square meters and five square kilometers"),
    ("Go to bbc.co.uk or example.com/a.", "Go to bbc dot co dot U K or example dot com slash a."),
    ("We use .NET, C# and F#.", "We use dot net, C sharp and F sharp."),
    ("The FBI's iPhone", "The FBI's iPhone"),
    ("Wait.Come here. No.1", "Wait.Come here. number one"),
]


@pytest.mark.parametrize(("written", "spoken"), READINGS, ids=[written for written, _ in READINGS])
def test_reading(written: str, spoken: str) -> None:
    assert normalize_english(written) == spoken


@pytest.mark.parametrize(
    "text",
    [
        "Nothing to read here, it's all words.",
        "“Quoted” — and don’t touch… this!",
        "Κοστίζει 5 ευρώ",
        "שלום 5",
        "",
        "a.m",
    ],
)
def test_words_and_other_scripts_stay(text: str) -> None:
    assert normalize(text) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_any_whole_number_is_read_as_num2words_reads_it(number: int) -> None:
    if 1100 <= number <= 2099:
        return
    assert normalize_english(f"{number:,} things") == f"{num2words(number).replace(',', '')} things"


@given(st.text(max_size=80))
def test_any_text_is_read_without_error_and_latin_text_loses_its_digits(text: str) -> None:
    spoken = normalize_english(text)
    if text.isascii():
        assert not any(character.isdigit() for character in spoken), spoken


@pytest.mark.parametrize(
    "text", ["1" * 20_000, "1," * 10_000, "$" * 20_000, "a@" * 10_000, "1:" * 10_000, "-1" * 10_000]
)
def test_long_runs_are_read_in_linear_time(text: str) -> None:
    """Guards against patterns that try every end of a run again: minutes for this where they do."""
    assert normalize_english(text)
