"""EPUBs for tests."""

from __future__ import annotations

import io
import zipfile

CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""


def epub(*pages: str, container: str = CONTAINER, package: str | None = None) -> bytes:
    """A book whose spine is these bodies of XHTML."""
    names = [f"page{number}.xhtml" for number in range(len(pages))]
    items = "".join(f'<item id="{n}" href="text/{n}" media-type="application/xhtml+xml"/>' for n in names)
    spine = "".join(f'<itemref idref="{n}"/>' for n in names)
    opf = f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>'
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/book.opf", package if package is not None else opf)
        for name, page in zip(names, pages, strict=True):
            archive.writestr(
                f"OEBPS/text/{name}", f"<!DOCTYPE html><html><head><title>x</title></head><body>{page}</body></html>"
            )
    return made.getvalue()
