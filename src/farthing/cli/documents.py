"""Documents that a command is given: YAML or JSON, from a file or from standard input."""

import sys
from pathlib import Path

from farthing.customers.catalog_file import FILE_BYTES_MAX, read_catalog_file
from farthing.kernel.errors import InvalidInput, NotFound


def read_document(file: str) -> object:
    """The values of a file, numbers exact; `-` is standard input."""
    if file == "-":
        return read_catalog_file(sys.stdin.buffer.read(FILE_BYTES_MAX + 1), "stdin")
    path = Path(file)
    try:
        with path.open("rb") as opened_file:
            return read_catalog_file(opened_file.read(FILE_BYTES_MAX + 1), path.name)
    except FileNotFoundError:
        raise NotFound("file_not_found", f"there is no file {file}", path=file) from None
    except OSError as error:
        raise InvalidInput("file_unreadable", f"{file}: {error.strerror}", path=file) from None
