"""JSON lines in, JSON lines out: one answer for each line, whatever the line holds."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

from farthing.kernel.errors import FarthingError, InvalidInput, LimitExceeded

LINE_BYTES_MAX: Final = 8 * 1024 * 1024
"""A longer line is answered with an error, unread."""
_INT_DIGITS_MAX: Final = 40

Answer = Callable[[object], dict[str, object]]


def answer_lines(path: Path | None, answer: Answer) -> None:
    """Answer each line of a file, or of standard input, on standard output, in order.

    Line n of the output answers line n of the input, a blank line included. Where somebody may be
    waiting at the other end (a terminal, a pipe), each answer is sent at once.
    """
    if path is None or str(path) == "-":
        _answer_each(sys.stdin.buffer, answer)
        return
    try:
        with path.open("rb") as file:
            _answer_each(file, answer)
    except OSError as error:
        raise InvalidInput("file_unreadable", f"{path}: {error.strerror}", path=str(path)) from None


def _answer_each(source: BinaryIO, answer: Answer) -> None:
    at_once = not stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    out = sys.stdout.buffer
    for line in _lines(source):
        out.write(_answered(line, answer))
        if at_once:
            out.flush()


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """Each line, or None for one that is too long."""
    while line := source.readline(LINE_BYTES_MAX + 1):
        if len(line) <= LINE_BYTES_MAX:
            yield line
            continue
        while not line.endswith(b"\n") and (line := source.readline(LINE_BYTES_MAX)):
            pass
        yield None


def _answered(line: bytes | None, answer: Answer) -> bytes:
    try:
        said = answer(_read(line))
    except FarthingError as error:
        said = {"error": {"code": error.code, "message": error.message}}
    except Exception as error:  # noqa: BLE001  one line's bug must not cost the others their answers
        message = f"a fault of the program: {type(error).__name__}: {error}"
        said = {"error": {"code": "internal_error", "message": message}}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair has no UTF-8; its escape in JSON is spelt as in Python.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _read(line: bytes | None) -> object:
    """The value of a line, every number exact."""
    if line is None:
        raise LimitExceeded("line_too_long", f"the line is longer than {LINE_BYTES_MAX} bytes")
    try:
        return json.loads(
            line.decode(),
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise InvalidInput("invalid_utf8", f"the line is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        complaint = f"the line is not valid JSON: {error.msg} at column {error.colno}"
        raise InvalidInput("malformed_json", complaint) from None
    except RecursionError:
        raise InvalidInput("too_deep", "the line nests too deep") from None


def _integer(text: str) -> int | Decimal:
    """Very long ones are read in linear time, to be refused by whoever wants the number."""
    return int(text) if len(text) <= _INT_DIGITS_MAX else Decimal(text)


def _refuse_constant(name: str) -> object:
    raise InvalidInput("malformed_json", f"the line is not valid JSON: {name} is not a JSON number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidInput("duplicate_key", f"{key[:80]!r} stands twice in one object")
            seen.add(key)
    return found
