"""Documents that a command is given: YAML or JSON, from a file or from standard input."""

import sys
from pathlib import Path

from farthing.customers.catalog_file import FILE_BYTES_MAX, read_catalog_file
from farthing.kernel.errors import InvalidInput, NotFound


def read_document(file: str) -> object:
    """The values of a file, numbers exact; `-` is standard input."""
    return read_catalog_file(read_bytes(file), "stdin" if file == "-" else Path(file).name)


def read_bytes(file: str) -> bytes:
    """The bytes of a file, no more than one beyond the bound; `-` is standard input."""
    if file == "-":
        return sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    try:
        with Path(file).open("rb") as opened_file:
            return opened_file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound("file_not_found", f"there is no file {file}", path=file) from None
    except OSError as error:
        raise InvalidInput("file_unreadable", f"{file}: {error.strerror}", path=file) from None
