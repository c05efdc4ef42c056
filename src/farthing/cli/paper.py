"""Writing a document on paper: invoices and credit notes as PDF files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from farthing.cli.output import print_json, printable
from farthing.kernel.errors import InvalidInput

PaperFile = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="NUMBER.pdf if left out; - for standard output."),
]


def write_paper(content: bytes, output: str | None, number: str, as_json: bool) -> None:
    """Write a PDF to a file, by default of the document's number, or to standard output, and say where it is."""
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    path = Path(output or f"{number}.pdf")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidInput("file_unwritable", f"{path}: {error.strerror}", path=str(path)) from None
    if as_json:
        print_json({"file": str(path), "bytes": len(content)})
    else:
        print(f"{printable(str(path))} ({len(content):,} bytes)")
