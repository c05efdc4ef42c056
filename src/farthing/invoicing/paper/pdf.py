"""The invoice as a PDF, set by typst from `templates/invoice.typ`.

The document goes in as data, a text within quotes, never as markup, and the same document gives the same
bytes: the time in the file is the time of issue, and the letters are those that typst brings along. They
cover Latin, Greek, Cyrillic and Hebrew. A name in another script is set with the fonts of the machine, so
that it can be read; such a file is the same on every machine that has the same fonts.
"""

import base64
import json
import os
import re
import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import typst

from farthing.invoicing.paper.content import paper
from farthing.kernel.errors import InvalidInput

_PACKAGE = "farthing.invoicing.paper"
_UNCOVERED = re.compile("[^\u0000-\u052f\u0590-\u05ff\u1d00-\u2bff\ufb00-\ufb06]").search
"""The first letter that those typst brings along have no glyph for."""
ROWS_OF_ONE_PAGE_MAX = 42
"""Rows of the table that may fit on one page, below a short address and above few totals. Whether they do is seen."""
_ONE_PAGE, _BEGINNING = b"/Type/Pages/Count 1/", 100
"""How the first object of a PDF of one page begins, and where: names and notes come after it."""
_of_thread = threading.local()


def render_pdf(document: Mapping[str, Any], seller: Mapping[str, Any]) -> bytes:
    """The invoice `document` as a tagged PDF, with the logo and paper of `seller`.

    Raises InvalidInput `invalid_logo` where the logo is not an image that can be drawn.
    """
    return pdf_of(paper(document, seller), document["issued_at"], seller)


def render_pdfs(documents: Iterable[Mapping[str, Any]], seller: Mapping[str, Any]) -> Iterator[bytes]:
    """The PDF of each document in its order, set by as many threads as there are cores to use.

    Typesetting holds no lock of the interpreter. Few invoices are under way at a time, however many there are.
    """
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[bytes]] = deque()
        for document in documents:
            if len(under_way) >= 2 * threads:
                yield under_way.popleft().result()
            under_way.append(pool.submit(render_pdf, document, seller))
        while under_way:
            yield under_way.popleft().result()


def pdf_of(said: Mapping[str, Any], issued_at: str, seller: Mapping[str, Any]) -> bytes:
    """What `paper` said, as a PDF that was made at the moment of issue."""
    sheet = json.dumps(dict(said) | {"logo": _logo(seller)}, ensure_ascii=False)
    compiler = _compiler(covered=_UNCOVERED(sheet) is None)
    issued = int(datetime.fromisoformat(issued_at).timestamp())
    rows = sum(map(len, said["table"]["sections"]))
    if rows <= ROWS_OF_ONE_PAGE_MAX:
        pdf = _set(compiler, sheet, issued, one_page=True)
        if _ONE_PAGE in pdf[:_BEGINNING]:
            return pdf
    return _set(compiler, sheet, issued, one_page=False)


def _set(compiler: typst.Compiler, sheet: str, issued: int, *, one_page: bool) -> bytes:
    """The PDF of a sheet. Of `one_page`, no page says which one it is: typst lays pages that do out twice."""
    called = f"#sheet(json(bytes({_literal(sheet)})), one-page: {str(one_page).lower()})"
    pdf = compiler.compile(f'#import "invoice.typ": sheet\n{called}'.encode(), format="pdf", timestamp=issued)
    assert isinstance(pdf, bytes)
    return pdf


def _literal(sheet: str) -> str:
    """A text as typst writes one. JSON has no control characters, and only these two mean something within quotes."""
    return '"' + sheet.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _compiler(*, covered: bool) -> typst.Compiler:
    """The compiler of this thread: one at a time may use it, and it knows the template from last time."""
    name = "covered" if covered else "system"
    compiler: typst.Compiler | None = getattr(_of_thread, name, None)
    if compiler is None:
        compiler = typst.Compiler(
            root=_root(), font_paths=_fonts(system=not covered), ignore_system_fonts=covered
        )
        setattr(_of_thread, name, compiler)
    return compiler


def check_logo(seller: Mapping[str, Any]) -> None:
    """Draw the logo once. Raises InvalidInput `invalid_logo`."""
    logo = _logo(seller)
    if logo is None:
        return
    try:
        typst.Compiler(
            b"#image(bytes(sys.inputs.logo))",
            root=_root(),
            font_paths=_fonts(system=False),
            sys_inputs={"logo": logo},
        ).compile(format="pdf")
    except typst.TypstError as error:
        raise InvalidInput(
            "invalid_logo", f"the logo cannot be drawn: {error.message}", path="logo"
        ) from None


def _logo(seller: Mapping[str, Any]) -> str | None:
    """The logo as SVG; a PNG is wrapped in one."""
    if "logo_png" not in seller:
        return seller.get("logo_svg")
    data = str(seller["logo_png"])
    width, height = struct.unpack(">II", base64.b64decode(data)[16:24])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    )


@cache
def _root() -> str:
    """Where typst may read files: nothing but the template lies there."""
    return str(files(_PACKAGE).joinpath("templates"))


@cache
def _fonts(*, system: bool) -> typst.Fonts:
    return typst.Fonts(include_system_fonts=system)
