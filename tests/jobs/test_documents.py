"""Documents to chapters: what is read of them, and what bounds them."""

from __future__ import annotations

import pytest

from f5_tts_server.jobs.documents import CHARACTERS_MAX, EPUB_ENTRY_MAX, Chapter, chapters_of, pieces_of
from f5_tts_server.text import TextError
from tests.jobs.epubs import epub

MARKDOWN = b"""Some words first.

# The **first** part

One paragraph
of two lines.

```
# no heading
```

## A second one ##

- item
"""


def test_plain_text_is_one_chapter_of_paragraphs() -> None:
    assert chapters_of(b"One line\nand its end.\r\n\r\nAnother.\n\n***\n", "text") == [
        Chapter("Chapter 1", ("One line and its end.", "Another."))
    ]


def test_markdown_has_a_chapter_at_each_heading() -> None:
    assert chapters_of(MARKDOWN, "markdown") == [
        Chapter("Chapter 1", ("Some words first.",)),
        Chapter("The first part", ("The first part.", "One paragraph of two lines.")),
        Chapter("A second one", ("A second one.", "item.")),
    ]


def test_an_epub_has_a_chapter_for_each_document_of_its_spine() -> None:
    book = epub(
        "<h1>One &amp; all</h1><p>First <b>words</b>&nbsp;here.</p><script>no()</script><p>More.</p>",
        "<p>No heading,<br/>two lines</p>",
        "<img src='cover.png'/>",
    )
    assert chapters_of(book, "epub") == [
        Chapter("One & all", ("One & all.", "First words here.", "More.")),
        Chapter("Chapter 2", ("No heading,", "two lines")),
    ]


def test_long_paragraphs_are_cut_between_sentences_and_nothing_is_lost() -> None:
    text = "A sentence of some length stands here. " * 200
    pieces = pieces_of(text)
    assert all(len(piece) <= 800 and piece.endswith(".") for piece in pieces)
    assert " ".join(pieces) == text.strip()


XXE = '<!DOCTYPE c [<!ENTITY x SYSTEM "file:///etc/passwd">]><container><rootfile full-path="&x;"/></container>'
LAUGHS = '<!DOCTYPE c [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><container>&b;</container>'
OUTSIDE = (
    '<package><manifest><item id="p" href="../../../../etc/passwd" media-type="application/xhtml+xml"/></manifest>'
    '<spine><itemref idref="p"/></spine></package>'
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a zip", "no EPUB"),
        (epub("<p>x</p>", container=XXE), "document type"),
        (epub("<p>x</p>", container=LAUGHS), "document type"),
        (epub("<p>x</p>", container="<container/>"), "names no package"),
        (epub("<p>x</p>", package="<package"), "no XML"),
        (epub("<p>x</p>", package=OUTSIDE), "has no '../../../etc/passwd'"),
        (epub("<p></p>"), "nothing to say"),
        (epub("a" * (EPUB_ENTRY_MAX + 1)), "bytes each"),
        (epub(*["a" * (EPUB_ENTRY_MAX - 200)] * 9), "together"),
    ],
)
def test_epubs_that_are_refused(data: bytes, words: str) -> None:
    """A bomb of 4 MiB of one letter is a few KiB; it is read as far as the limit, whatever the archive says of its size."""
    assert len(data) < 100_000
    with pytest.raises(TextError, match=words):
        chapters_of(data, "epub")


def test_texts_that_are_refused() -> None:
    with pytest.raises(TextError, match="not UTF-8"):
        chapters_of(b"\xff", "text")
    with pytest.raises(TextError, match=f"limit is {CHARACTERS_MAX}"):
        chapters_of(b"a" * (CHARACTERS_MAX + 1), "text")
    with pytest.raises(TextError, match="nothing to say"):
        chapters_of(b"***", "text")
