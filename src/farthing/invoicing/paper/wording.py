"""How words, numbers and days are written for people on an invoice. Pure.

Numbers keep every digit: a price of 0.0000025 is written in full.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import trimmed

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MINUS = "−"
UNBROKEN_LETTERS_MAX = 24
"""Longer words get places to break, so that a name without spaces cannot run over its neighbour."""

_BREAK = "\u200b"
_UNPRINTABLE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")
# Direction overrides could make a number on a page read differently from the number that is owed.
_UNPRINTABLE |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF), "")

_PLAIN = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII).fullmatch
"""A number as documents write them, but for those below nothing: what stands before its point, and behind it."""

Figure = tuple[str, int, bool]
"""A number as text, and the digits and the point that it lacks to be as long as its neighbours."""


def printable(text: object) -> str:
    """Text as it may stand on paper: no control characters, and long words can be broken."""
    said = str(text)
    if not (said.isascii() and said.isprintable()):
        said = said.translate(_UNPRINTABLE)
    words = said.split()
    return " ".join(words if len(said) <= UNBROKEN_LETTERS_MAX else map(_breakable, words))


def _breakable(word: str) -> str:
    if len(word) <= UNBROKEN_LETTERS_MAX:
        return word
    step = UNBROKEN_LETTERS_MAX // 2
    return _BREAK.join(word[at : at + step] for at in range(0, len(word), step))


def grouped(number: Decimal | str) -> str:
    """Every digit, thousands apart, a real minus sign: `-1234567.5` is `−1,234,567.5`."""
    whole, fraction = _parts(number)
    return f"{whole}.{fraction}" if fraction else whole


def precise(number: Decimal | str, currency: str) -> str:
    """Every digit, and at least those of the currency: `49` is `49.00`, `0.0000025` stays."""
    whole, fraction = _parts(number)
    digits = MINOR_UNITS[currency]
    return f"{whole}.{fraction:0<{digits}}" if fraction or digits else whole


def money(amount: Decimal | str, currency: str) -> str:
    """At the currency's own digits, which the amount must already have: `47.61`, `1,200`, `3.500`."""
    text = precise(amount, currency)
    assert len(text.partition(".")[2]) == MINOR_UNITS[currency], (
        "an amount must be rounded before it is printed"
    )
    return text


def _parts(number: Decimal | str) -> tuple[str, str]:
    """What stands before the point, thousands apart, and behind it, without zeros at the end."""
    plain = _PLAIN(number) if isinstance(number, str) else None
    if plain is not None:
        sign, whole, fraction = "", plain[1], (plain[2] or "").rstrip("0")
    else:
        text = trimmed(Decimal(number))
        sign = MINUS if text.startswith("-") else ""
        whole, _, fraction = text.removeprefix("-").partition(".")
    return (sign + whole if len(whole) <= 3 else f"{sign}{int(whole):,}"), fraction


def counted_in(line: Mapping[str, Any], currency: str) -> list[str]:
    """What a line's quantity is counted in, where that is no number of things: `quantity in seconds`."""
    match line.get("measure"):
        case "seconds":
            return ["quantity in seconds"]
        case "amount":
            return [f"quantity in {currency}"]
        case _:
            return []


def used_of_each(line: Mapping[str, Any]) -> list[str]:
    """How much was used of each meter that a line counts: `projects: 3 · seats: 12`."""
    used = [f"{meter}: {grouped(quantity)}" for meter, quantity in line.get("quantities", {}).items()]
    return [" · ".join(used)] if used else []


def in_unit(charge: Mapping[str, Any]) -> str:
    """What a charge is in a unit of its own, if its price is written in one: ` (7,500 credits, 5 each)`."""
    if "in_unit" not in charge:
        return ""
    told = charge["in_unit"]
    amount, each = grouped(told["amount"]), grouped(told["unit_price"])
    return f" ({amount} {told['unit']})" if amount == each else f" ({amount} {told['unit']}, {each} each)"


def aligned(texts: Sequence[str]) -> list[Figure]:
    """Each number with the room that brings its decimal point under the others': digits, and a point."""
    fractions = [len(text.partition(".")[2]) for text in texts]
    longest = max(fractions, default=0)
    return [
        (text, longest - fraction, not fraction and longest > 0) if text else (text, 0, False)
        for text, fraction in zip(texts, fractions, strict=True)
    ]


def day(instant: str, zone: ZoneInfo) -> str:
    """The local day of an instant: `1 February 2024`."""
    return _day(datetime.fromisoformat(instant).astimezone(zone))


def days(period: Mapping[str, str], zone: ZoneInfo) -> str:
    """A half-open period as people write it, both days included: `1 – 31 January 2024`.

    A period that does not begin and end at local midnight is written with its times instead.
    """
    first = datetime.fromisoformat(period["start"]).astimezone(zone)
    after = datetime.fromisoformat(period["end"]).astimezone(zone)
    if not _midnight(first) or not _midnight(after):
        return f"{_day(first)} {first:%H:%M} – {_day(after)} {after:%H:%M}"
    last = after - timedelta(days=1)  # wall-clock arithmetic: the day before, however long it was
    if last.date() <= first.date():
        return _day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {_day(last)}"
    if first.year == last.year:
        return f"{first.day} {MONTHS[first.month - 1]} – {_day(last)}"
    return f"{_day(first)} – {_day(last)}"


def _day(instant: datetime) -> str:
    return f"{instant.day} {MONTHS[instant.month - 1]} {instant.year}"


def _midnight(instant: datetime) -> bool:
    return (instant.hour, instant.minute, instant.second, instant.microsecond) == (0, 0, 0, 0)
