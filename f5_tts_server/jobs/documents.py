"""Plain text, Markdown and EPUB to chapters. Every document is bounded before it is read; nothing of one is written.

Of an EPUB (https://www.w3.org/TR/epub-33/) the documents of its spine are read. XML of its own with a document type is
refused, so nothing expands, and its XHTML goes through a parser that knows no entities but characters.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import unquote
from xml.parsers import expat

from f5_tts_server.text import SentenceCutter, TextError
from f5_tts_server.text.plain import without_markdown

Kind = Literal["text", "markdown", "epub"]

CHARACTERS_MAX = 500_000
CHAPTERS_MAX = 500
EPUB_ENTRIES_MAX = 5_000
EPUB_ENTRY_MAX = 4 * 2**20  # bytes of a document in it
EPUB_READ_MAX = 32 * 2**20  # of all that are read
TITLE_MAX = 200

_PIECE_MAX = 800  # characters
_PIECE_MIN = 200
_HEADING = re.compile(r" {0,3}#{1,2}[ \t]+(.+?)[ \t#]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_SKIPPED = frozenset({"script", "style", "head", "svg", "math", "rt", "rp", "nav"})
_BLOCKS = frozenset(
    "p div h1 h2 h3 h4 h5 h6 li ul ol br hr blockquote section article tr table pre figure figcaption dd dt".split()
)
_TITLES = frozenset({"h1", "h2", "h3"})


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter's title and its pieces in order, each of which is spoken in one request."""

    title: str
    pieces: tuple[str, ...]


def chapters_of(data: bytes, kind: Kind) -> list[Chapter]:
    """The chapters of a document that have something to say. Raises TextError for what cannot be read or is over a limit."""
    found = _epub(data) if kind == "epub" else _plain(data, kind)
    size = sum(len(text) for _, text in found)
    if size > CHARACTERS_MAX:
        raise TextError(f"the document has {size} characters, the limit is {CHARACTERS_MAX}")
    chapters: list[Chapter] = []
    for title, text in found:
        pieces = tuple(pieces_of(text))
        if pieces:
            title = " ".join(title.split())[:TITLE_MAX]
            chapters.append(Chapter(title or f"Chapter {len(chapters) + 1}", pieces))
    if not chapters:
        raise TextError("there is nothing to say in the document")
    if len(chapters) > CHAPTERS_MAX:
        raise TextError(f"the document has {len(chapters)} chapters, the limit is {CHAPTERS_MAX}")
    return chapters


def pieces_of(text: str) -> list[str]:
    """The paragraphs of a text, long ones cut between sentences; those without a letter or digit are left out."""
    pieces: list[str] = []
    for paragraph in text.split("\n"):
        cutter = SentenceCutter(first_clause=_PIECE_MAX, shortest=_PIECE_MIN, longest=_PIECE_MAX)
        pieces += [*cutter.feed(paragraph), *cutter.flush()]
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def _plain(data: bytes, kind: Kind) -> list[tuple[str, str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"the document is not UTF-8: {error.reason} at byte {error.start}") from error
    if len(text) > CHARACTERS_MAX:
        raise TextError(f"the document has {len(text)} characters, the limit is {CHARACTERS_MAX}")
    if kind == "text":
        # Lines of a paragraph are one; a blank line ends it.
        return [("", "\n".join(" ".join(block.split()) for block in re.split(r"\n[ \t]*\n", text.replace("\r", ""))))]
    return [(title, without_markdown(part)) for title, part in _markdown_chapters(text)]


def _markdown_chapters(text: str) -> list[tuple[str, str]]:
    """At headings of the first and second level; the heading is read too."""
    found: list[tuple[str, list[str]]] = [("", [])]
    fenced = False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        heading = None if fenced else _HEADING.match(line)
        if heading:
            found.append((without_markdown(heading.group(1)).rstrip("."), []))
        found[-1][1].append(line)
    return [(title, "\n".join(lines)) for title, lines in found]


def _epub(data: bytes) -> list[tuple[str, str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _Epub(archive).chapters()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise TextError(f"this is no EPUB: {error}") from error


class _Epub:
    """What is read of an archive; its names are only looked up in it, never on a disk."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = EPUB_READ_MAX
        if len(archive.infolist()) > EPUB_ENTRIES_MAX:
            raise TextError(f"the EPUB has {len(archive.infolist())} files, the limit is {EPUB_ENTRIES_MAX}")

    def chapters(self) -> list[tuple[str, str]]:
        container = _elements(self._read("META-INF/container.xml"), "container.xml")
        package = next((facts.get("full-path") for name, facts in container if name == "rootfile"), None)
        if not package:
            raise TextError("the EPUB's container.xml names no package")
        elements = _elements(self._read(package), package)
        items = {facts.get("id"): facts for name, facts in elements if name == "item"}
        spine = [facts.get("idref") for name, facts in elements if name == "itemref" and facts.get("linear") != "no"]
        found = []
        for idref in spine[: 2 * CHAPTERS_MAX]:
            item = items.get(idref, {})
            if item.get("media-type") != "application/xhtml+xml" or "nav" in item.get("properties", "").split():
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href", ""))))
            page = _Page()
            page.feed(self._read(path).decode("utf-8", "replace"))
            page.close()
            found.append((page.title, page.text))
        return found

    def _read(self, name: str) -> bytes:
        """An entry's bytes, as many as are allowed whatever the archive says of its size."""
        try:
            with self._archive.open(name) as file:
                data = file.read(min(EPUB_ENTRY_MAX, self._left) + 1)
        except KeyError:
            raise TextError(f"the EPUB has no {name[:100]!r}") from None
        self._left -= len(data)
        if len(data) > EPUB_ENTRY_MAX or self._left < 0:
            raise TextError(f"the EPUB's documents may have {EPUB_ENTRY_MAX} bytes each and {EPUB_READ_MAX} together")
        return data


def _elements(data: bytes, name: str) -> list[tuple[str, dict[str, str]]]:
    """The elements of an XML document in order, without prefixes. Raises TextError."""
    found: list[tuple[str, dict[str, str]]] = []

    def refuse(*_: object) -> None:
        raise TextError(f"the EPUB's {name[:100]} has a document type, which is not read")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda tag, facts: found.append((tag.rpartition(":")[2], facts))
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise TextError(f"the EPUB's {name[:100]} is no XML: {expat.ErrorString(error.code)}") from error
    return found


class _Page(HTMLParser):
    """The text of a document of an EPUB, a line for each block, and its first heading."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._heading: str | None = None
        self._skipped = 0
        self._lines: list[list[str]] = [[]]

    @property
    def text(self) -> str:
        return "\n".join(" ".join("".join(line).split()) for line in self._lines)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipped += 1
        if tag in _BLOCKS:
            self._lines.append([])
        if tag in _TITLES and not self.title:
            self._heading = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._lines.append([])

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED and self._skipped:
            self._skipped -= 1
        if tag in _BLOCKS:
            if tag == self._heading:
                self._heading = None
                # A heading is a sentence of its own, though it lacks the full stop.
                if self._lines[-1] and "".join(self._lines[-1]).strip()[-1:].isalnum():
                    self._lines[-1].append(".")
            self._lines.append([])

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        self._lines[-1].append(data)
        if self._heading:
            self.title = f"{self.title}{data}"[:TITLE_MAX]
