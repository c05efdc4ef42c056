"""How answers are printed: tables for people, JSON for programs."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import trimmed

_NOT_TERMINAL_WIDTH = 100
_FOLDED_WIDTH_MIN = 8
"""How narrow a column of words becomes at most, in characters."""
_GAP = 3
"""Between two columns."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Numbers stand right and are never broken or cut; `whole` says so of texts."""

    title: str
    align: Literal["left", "right"] = "left"
    whole: bool = False


def print_json(document: object) -> None:
    """One JSON document: indented for a person at a terminal, one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(document, ensure_ascii=False, indent=indent, default=_text), flush=True)


def print_exact_json(document: object) -> None:
    """The same for a document that holds JSON as others wrote it (`msgspec.Raw`), whose numbers keep every digit."""
    import msgspec

    encoded = msgspec.json.encode(document)
    print((msgspec.json.format(encoded) if sys.stdout.isatty() else encoded).decode(), flush=True)


def print_json_lists(document: Mapping[str, Iterator[object]]) -> None:
    """An object of lists that may be too long to hold: each item is written as it comes."""
    opening = "{"
    for name, items in document.items():
        sys.stdout.write(f"{opening}{json.dumps(name)}: [")
        for place, item in enumerate(items):
            sys.stdout.write((", " if place else "") + json.dumps(item, ensure_ascii=False, default=_text))
        sys.stdout.write("]")
        opening = ", "
    print("}")


def _text(value: object) -> str:
    """Decimals keep every digit, and never become binary floating point."""
    if isinstance(value, Decimal):
        return trimmed(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings, no wider than the terminal (100 characters where there is none), if that can be."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    least = 0
    for place, column in enumerate(columns):
        whole = column.whole or column.align == "right"
        widest = max(len(column.title), *(cell_len(row[place]) for row in cells), 0)
        # A column that may fold keeps some width: beside wide ones it would fold to nothing, and its words be gone.
        # A heading breaks between words only.
        folded = max(_FOLDED_WIDTH_MIN, *map(len, column.title.split()), 0)
        min_width = widest if whole else min(widest, folded)
        least += min_width + (_GAP if place else 0)
        table.add_column(
            column.title, justify=column.align, overflow="fold", no_wrap=whole, min_width=min_width
        )
    for row in cells:
        table.add_row(*map(Text, row))
    # A table in a file or a pipe has a fixed width, so that it looks the same everywhere.
    width = None if sys.stdout.isatty() else _NOT_TERMINAL_WIDTH
    console = Console(width=width, highlight=False, emoji=False, markup=False)
    console.width = max(console.width, least)
    with console.capture() as drawn:
        console.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values under each other."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {printable(value)}".rstrip())


def number(value: Decimal | int | str) -> str:
    """A number for a person: `18,059,974.5`. Every digit is kept."""
    whole, point, fraction = trimmed(Decimal(value)).partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole != "-0" else f"-0{point}{fraction}"


def money(amount: str, currency: str) -> str:
    """An amount for a person, with the digits it was given: `1,047.60 USD`."""
    whole, point, fraction = amount.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction} {currency}"


def moment(at: datetime) -> str:
    """A time for a person: in UTC, at whole seconds."""
    return format_instant(at.replace(microsecond=0))


def short_moment(text: str) -> str:
    """A midnight as its date, another time of UTC to the minute."""
    if text.endswith("T00:00:00Z"):
        return text.removesuffix("T00:00:00Z")
    return f"{text[:16]}Z" if _INSTANT.fullmatch(text) else text


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 invoice`, `2,000 invoices`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def printable(text: str, *, lines: bool = False) -> str:
    """The text with whatever could steer a terminal shown as an escape: keys and events may hold anything."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or (lines and char in "\n\t") else repr(char)[1:-1] for char in text
    )
