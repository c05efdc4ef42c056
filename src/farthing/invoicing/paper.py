"""What stands on a printed invoice: the document's values as the strings a person reads. Pure.

The template only lays out what this module says. Numbers keep every digit: a price of 0.0000025 is
printed in full, and an amount that has more digits than the currency is shown beside the rounded one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
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
AIRY_LINES_MAX = 24
"""Up to here every line stands apart; a longer invoice is set closer."""
EXACT_COLUMN = 2
TIERED = "tiered"
HEADING, NOTE, MEMBER, CHARGE, CHARGE_OF_MEMBER = "heading", "note", "member", "charge", "charge of member"

_POSTCODE_LAST = ("AU", "CA", "GB", "ID", "IE", "IN", "KR", "NZ", "SG", "TH", "TW", "US", "VN", "ZA")
"""Countries that write the postcode after the town; the others write it before."""
_BREAK = "\u200b"
_UNPRINTABLE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")
# Direction overrides could make a number on a page read differently from the number that is owed.
_UNPRINTABLE |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF), "")

Figure = tuple[str, int, bool]
"""A number as text, and the digits and the point that it lacks to be as long as its neighbours."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: what it is, its words, and a figure for each column (quantity to amount)."""

    kind: str
    text: str
    figures: tuple[str, ...]


def paper(document: Mapping[str, Any], seller: Mapping[str, Any]) -> dict[str, Any]:
    """The invoice as the strings and rows that the template places.

    The seller named in the document is the one it was issued by; `seller` adds what is not a fact of
    the invoice (logo, paper size) and stands in for a document that names none.
    """
    party = {**seller, **document.get("seller", {})}
    customer = document.get("bill_to") or {"name": document["customer"]}
    zone = ZoneInfo(document.get("timezone", "UTC"))
    currency = str(document["currency"])
    return {
        "number": document["number"],
        "paper": {"us-letter": "us-letter"}.get(str(seller.get("paper")), "a4"),
        "seller": {"name": printable(party.get("name") or "Invoice"), "rows": _party_rows(party)},
        "customer": {"name": printable(customer["name"]), "rows": _party_rows(customer)},
        "facts": _facts(document, zone),
        "headline": {
            "amount": f"{currency} {money(document['total'], currency)}",
            "due": f"due {day(document['due_at'], zone)}" if "due_at" in document else "",
        },
        "table": _table(document, zone),
        "totals": _totals(document, currency),
        "notes": _notes(document, party),
    }


# -- Words ------------------------------------------------------------------------------------


def printable(text: object) -> str:
    """Text as it may stand on paper: no control characters, and long words can be broken."""
    words = str(text).translate(_UNPRINTABLE).split()
    return " ".join(_breakable(word) for word in words)


def _breakable(word: str) -> str:
    if len(word) <= UNBROKEN_LETTERS_MAX:
        return word
    step = UNBROKEN_LETTERS_MAX // 2
    return _BREAK.join(word[at : at + step] for at in range(0, len(word), step))


def _party_rows(party: Mapping[str, Any]) -> list[str]:
    address = party.get("address") or {}
    rows = [address.get("line1"), address.get("line2"), _town(address), address.get("country")]
    rows += [party.get("email"), party.get("website"), party.get("tax_id")]
    return [printable(row) for row in rows if row]


def _town(address: Mapping[str, str]) -> str:
    city, region, postcode = (address.get(name, "") for name in ("city", "region", "postcode"))
    place = ", ".join(part for part in (city, region) if part)
    parts = (place, postcode) if address.get("country") in _POSTCODE_LAST else (postcode, place)
    return " ".join(part for part in parts if part)


# -- Numbers ----------------------------------------------------------------------------------


def grouped(number: Decimal | str) -> str:
    """Every digit, thousands apart, a real minus sign: `-1234567.5` is `−1,234,567.5`."""
    text = trimmed(Decimal(number))
    whole, point, fraction = text.removeprefix("-").partition(".")
    return (MINUS if text.startswith("-") else "") + f"{int(whole):,}" + point + fraction


def precise(number: Decimal | str, currency: str) -> str:
    """Every digit, and at least those of the currency: `49` is `49.00`, `0.0000025` stays."""
    text = grouped(number)
    whole, _, fraction = text.partition(".")
    digits = MINOR_UNITS[currency]
    return f"{whole}.{fraction:0<{digits}}" if fraction or digits else whole


def money(amount: Decimal | str, currency: str) -> str:
    """At the currency's own digits, which the amount must already have: `47.61`, `1,200`, `3.500`."""
    text = precise(amount, currency)
    assert len(text.partition(".")[2]) == MINOR_UNITS[currency], (
        "an amount must be rounded before it is printed"
    )
    return text


def aligned(texts: Sequence[str]) -> list[Figure]:
    """Each number with the room that brings its decimal point under the others': digits, and a point."""
    fractions = [text.partition(".")[2] for text in texts]
    longest = max(map(len, fractions), default=0)
    return [
        (text, longest - len(fraction), not fraction and longest > 0) if text else (text, 0, False)
        for text, fraction in zip(texts, fractions, strict=True)
    ]


# -- Days -------------------------------------------------------------------------------------


def day(instant: str, zone: ZoneInfo) -> str:
    return _day(datetime.fromisoformat(instant).astimezone(zone))


def days(start: str, end: str, zone: ZoneInfo) -> str:
    """A half-open period as people write it, both days included: `1 – 31 January 2024`.

    A period that does not begin and end at local midnight is written with its times instead.
    """
    first = datetime.fromisoformat(start).astimezone(zone)
    after = datetime.fromisoformat(end).astimezone(zone)
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


# -- Parts of the page ------------------------------------------------------------------------


def _facts(document: Mapping[str, Any], zone: ZoneInfo) -> list[list[str]]:
    period = document["period"]
    facts = [["Issued", day(document["issued_at"], zone)]] if "issued_at" in document else []
    if "due_at" in document:
        facts.append(["Due", day(document["due_at"], zone)])
    facts.append(["Period", days(period["start"], period["end"], zone)])
    if zone.key != "UTC":
        facts.append(["Time zone", zone.key])
    if "plan" in document:
        facts.append(["Plan", printable(document["plan"].get("name") or document["plan"]["key"])])
    return facts


def _table(document: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """Column titles and the sections of rows; a rule stands below each section.

    The column of exact amounts is there only if some amount has more digits than the currency shows.
    In a long invoice, lines that need one row each share a section.
    """
    currency = str(document["currency"])
    exact = any(_finer(line, currency) for line in document["lines"])
    dense = len(document["lines"]) > AIRY_LINES_MAX
    sections: list[list[Row]] = []
    for _, group in groupby(document["lines"], key=lambda line: (line["rate_card"], line["service_period"])):
        rows = _group_rows(list(group), document, zone, exact=exact)
        if dense and len(rows) == 1 and sections and sections[-1][-1].kind == HEADING:
            sections[-1] += rows
        else:
            sections.append(rows)
    columns, widths = _columns([row for rows in sections for row in rows], exact=exact)
    figures = zip(*columns, strict=True)
    return {
        "columns": ["Quantity", "Unit price", *(["Exact"] if exact else []), f"Amount in {currency}"],
        "widths": widths,
        "sections": [
            [{"kind": row.kind, "text": row.text, "figures": next(figures)} for row in rows]
            for rows in sections
        ],
    }


def _group_rows(
    lines: Sequence[Mapping[str, Any]], document: Mapping[str, Any], zone: ZoneInfo, *, exact: bool
) -> list[Row]:
    """The lines of one rate card: one line with what describes it, or a heading and a row for each."""
    currency = str(document["currency"])
    first, rows = lines[0], list[Row]()
    service = first["service_period"]
    notes = [] if service == document["period"] else [days(service["start"], service["end"], zone)]
    single = len(lines) == 1
    if not single:
        rows.append(_row(HEADING, first["description"]))
        rows += [_row(NOTE, note) for note in [f"by {' · '.join(first['dimensions'])}", *notes]]
    for line in lines:
        if single:
            said = " · ".join(f"{key}: {value}" for key, value in line["dimensions"].items())
            rows.append(_row(HEADING, line["description"], _line_figures(line, currency)))
            rows += [_row(NOTE, note) for note in [said, *notes] if note]
        else:
            values = " · ".join(str(value) or "(none)" for value in line["dimensions"].values())
            rows.append(_row(MEMBER, values, _line_figures(line, currency)))
        kind = CHARGE if single else CHARGE_OF_MEMBER
        rows += [_charge_row(charge, currency, kind, exact=exact) for charge in _charges_below(line)]
    return rows


def _row(kind: str, text: str, figures: Sequence[str] = ("", "", "", "")) -> Row:
    return Row(kind, printable(text), tuple(figures))


def _line_figures(line: Mapping[str, Any], currency: str) -> list[str]:
    below = _charges_below(line)
    price = precise(line["charges"][0]["unit_price"], currency) if line["charges"] else ""
    if below:
        price = TIERED if any(str(charge["reason"]).startswith("tier") for charge in below) else ""
    exact = precise(line["amount_exact"], currency)
    return [grouped(line["quantity"]), price, exact, money(line["amount"], currency)]


def _charge_row(charge: Mapping[str, Any], currency: str, kind: str, *, exact: bool) -> Row:
    amount = precise(charge["amount"], currency)
    price = precise(charge["unit_price"], currency)
    reason = str(charge["reason"]).replace("_", " ")
    figures = [grouped(charge["quantity"]), price, amount, "" if exact else amount]
    return _row(kind, reason[:1].upper() + reason[1:], figures)


def _columns(rows: Sequence[Row], *, exact: bool) -> tuple[list[list[Figure]], list[list[int]]]:
    """The figures of each column, and for each column the digits, separators and signs of its widest."""
    columns = [aligned(column) for column in zip(*(row.figures for row in rows), strict=True)]
    if not exact:
        del columns[EXACT_COLUMN]
    widths = []
    for column in columns:
        # Digits are all equally wide, and a minus sign is wider than a comma.
        text, digits, point = max(
            column, key=lambda figure: (len(figure[0]) + figure[1] + figure[2], figure[0][:1] == MINUS)
        )
        separators = text.count(",") + text.count(".") + point
        signs = text.count(MINUS)
        widths.append([len(text) + digits + point - separators - signs, separators, signs])
    return columns, widths


def _charges_below(line: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The charges that say more than the line itself does."""
    charges: Sequence[Mapping[str, Any]] = line["charges"]
    if len(charges) == 1 and Decimal(charges[0]["quantity"]) == Decimal(line["quantity"]):
        return ()
    return charges


def _finer(line: Mapping[str, Any], currency: str) -> bool:
    """Whether an amount of this line has more digits than the currency shows."""
    amounts = [line["amount_exact"], *(charge["amount"] for charge in _charges_below(line))]
    return any(len(trimmed(Decimal(text)).partition(".")[2]) > MINOR_UNITS[currency] for text in amounts)


def _totals(document: Mapping[str, Any], currency: str) -> list[list[str]]:
    return [
        ["Subtotal", money(document["subtotal"], currency)],
        ["Tax", money(document["tax"], currency)],
        ["Total", f"{currency} {money(document['total'], currency)}"],
    ]


_MODES = {"half_up": "half up", "half_even": "half to even"}


def _notes(document: Mapping[str, Any], seller: Mapping[str, Any]) -> list[str]:
    currency = str(document["currency"])
    rounding = document.get("rounding", {})
    mode = _MODES[rounding.get("mode", "half_up")]
    total, exact = Decimal(document["total"]), Decimal(document["total_exact"])
    notes = []
    if total != exact:
        how = (
            f"Each line was rounded, {mode}; the total is their sum."
            if rounding.get("scope") == "line"
            else f"It is rounded once, {mode}, and shared among the lines, so that they sum to the total."
        )
        notes.append(f"Exact total before rounding: {currency} {grouped(exact)}. {how}")
    if seller.get("note"):
        notes.append(printable(seller["note"]))
    return notes
