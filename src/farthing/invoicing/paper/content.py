"""What stands on a printed invoice: the document's values as the strings a person reads. Pure.

The template only lays out what this module says. An amount that has more digits than the currency is
shown in full beside the rounded one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from farthing.invoicing.drafting.usage_lines import name_of
from farthing.invoicing.model import LineKind
from farthing.invoicing.paper.countries import COUNTRIES
from farthing.invoicing.paper.setting import (
    AIRY_LINES_MAX,
    CHARGE,
    CHARGE_OF_MEMBER,
    HEADING,
    MEMBER,
    PAGE_WIDTHS,
    TIERED,
    UNPRICED,
    Row,
    set_table,
)
from farthing.invoicing.paper.tax import line_tax_notes, tax_id_rows, tax_notes, tax_rows
from farthing.invoicing.paper.wording import (
    counted_in,
    day,
    days,
    grouped,
    in_unit,
    money,
    precise,
    printable,
    used_of_each,
)
from farthing.kernel.instant import zone_named
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import trimmed

POSTCODE_LAST = ("AU", "CA", "GB", "ID", "IE", "IN", "KR", "NZ", "SG", "TH", "TW", "US", "VN", "ZA")
"""Countries that write the postcode after the town; the others write it before."""

EXACT_COLUMN = 2

_MODES = {"half_up": "half up", "half_even": "half to even"}


def paper(document: Mapping[str, Any], seller: Mapping[str, Any]) -> dict[str, Any]:
    """The invoice as the strings and rows that the template places.

    Who sells stands in the document; `seller` adds only how that is shown (the paper).
    """
    zone = zone_named(document["timezone"])
    currency = document["currency"]
    page_width = PAGE_WIDTHS[seller.get("paper", "a4")]
    return {
        "title": "Void invoice" if document["status"] == "void" else "Invoice",
        "named": "Invoice",
        "number": document["number"],
        "page_width": page_width,
        "seller": _party(document["seller"]),
        "customer": _party(document["bill_to"]),
        "facts": [
            ["Issued", day(document["issued_at"], zone)],
            ["Due", day(document["due_at"], zone)],
            ["Period", days(document["period"], zone)],
            *([["Time zone", zone.key]] if zone.key != "UTC" else []),
            ["Plan", printable(document["plan"]["name"])],
        ],
        "headline": {
            "amount": f"{currency} {money(document.get('amount_due', document['total']), currency)}",
            "due": _due(document, zone),
        },
        "table": _table(document, zone, page_width),
        "totals": [
            ["Subtotal", money(document["subtotal"], currency)],
            *tax_rows(document),
            ["Total", f"{currency} {money(document['total'], currency)}"],
            *_paid_rows(document, currency),
        ],
        "notes": _notes(document),
    }


def _due(document: Mapping[str, Any], zone: ZoneInfo) -> str:
    """When what is owed is due, where anything is."""
    if document["status"] == "void":
        return "void: nothing is due"
    if not Decimal(document.get("amount_due", document["total"])):
        return "nothing is due"
    return f"due {day(document['due_at'], zone)}"


def _paid_rows(document: Mapping[str, Any], currency: str) -> list[list[str]]:
    """What wallets paid, and what is left to pay, where they paid something."""
    if "paid_from_wallets" not in document:
        return []
    return [
        ["Paid from wallets", money(-Decimal(document["paid_from_wallets"]), currency)],
        ["Amount due", f"{currency} {money(document['amount_due'], currency)}"],
    ]


def _party(party: Mapping[str, Any]) -> dict[str, Any]:
    address = party.get("address", {})
    rows = [address.get("line1"), address.get("line2"), _town(address), _country(address)]
    rows += [party.get("email"), party.get("website"), party.get("tax_id"), *tax_id_rows(party)]
    return {"name": printable(party["name"]), "rows": [printable(row) for row in rows if row]}


def _town(address: Mapping[str, str]) -> str:
    city, region, postcode = (address.get(name, "") for name in ("city", "region", "postcode"))
    place = ", ".join(part for part in (city, region) if part)
    parts = (place, postcode) if address.get("country") in POSTCODE_LAST else (postcode, place)
    return " ".join(part for part in parts if part)


def _country(address: Mapping[str, str]) -> str | None:
    code = address.get("country")
    return None if code is None else COUNTRIES.get(code, code)


def _notes(document: Mapping[str, Any]) -> list[str]:
    notes = []
    if document["status"] == "void":
        notes.append(printable(f"Void: {document['void_reason']}"))
    if Decimal(document["total"]) != Decimal(document["total_exact"]):
        mode = _MODES[document["rounding"]["mode"]]
        how = (
            f"Each line is rounded, {mode}; the total is their sum."
            if document["rounding"]["scope"] == "line"
            else f"It is rounded once, {mode}{', and shared among the lines' if len(document['lines']) > 1 else ''}."
        )
        exact = f"{document['currency']} {grouped(document['total_exact'])}"
        notes.append(f"Exact total before rounding: {exact}. {how}")
    notes += [printable(note) for note in tax_notes(document)]
    if "note" in document["seller"]:
        notes.append(printable(document["seller"]["note"]))
    return notes


# -- The table --------------------------------------------------------------------------------


def _table(document: Mapping[str, Any], zone: ZoneInfo, page_width: int) -> dict[str, Any]:
    """Column titles and the sections of rows.

    The column of exact amounts is there only if some amount has more digits than the currency shows.
    In a long invoice, lines that need one row each share a section.
    """
    currency = document["currency"]
    exact = any(_finer(line, currency) for line in document["lines"])
    dense = len(document["lines"]) > AIRY_LINES_MAX
    sections: list[list[Row]] = []
    for _, group in groupby(document["lines"], key=_section):
        rows = _rows_of_card(list(group), document, zone, exact=exact)
        if dense and len(rows) == 1 and sections and sections[-1][-1].kind == HEADING:
            sections[-1] += rows
        else:
            sections.append(rows)
    titles = ["Quantity", "Unit price", *(["Exact"] if exact else []), f"Amount in {currency}"]
    if not exact:
        sections = [[_without_exact(row) for row in rows] for rows in sections]
    return set_table(titles, sections, page_width, dense=dense)


def _without_exact(row: Row) -> Row:
    return replace(row, figures=row.figures[:EXACT_COLUMN] + row.figures[EXACT_COLUMN + 1 :])


def _section(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What lines that stand under one heading have in common; an adjustment stands alone."""
    alone = line["line"] if "adjustment" in line else None
    return line["rate_card"], line["service_period"], name_of(line["description"], line["dimensions"]), alone


def _rows_of_card(
    lines: Sequence[Mapping[str, Any]], document: Mapping[str, Any], zone: ZoneInfo, *, exact: bool
) -> list[Row]:
    """The lines of one rate card: one line with what describes it, or a heading and a row for each."""
    currency = document["currency"]
    first = lines[0]
    same_period = first["service_period"] == document["period"]
    notes = [] if same_period else [days(first["service_period"], zone)]
    notes += line_tax_notes(first, document)
    if "adjustment" in first:
        return [
            _row(HEADING, first["description"], _line_figures(first, currency), _told(first, notes, zone))
        ]
    notes = [*counted_in(first, currency), *notes]
    name = name_of(first["description"], first["dimensions"])
    if len(lines) == 1:
        if first["dimensions"]:
            notes.insert(0, _named(first["dimensions"]))
        notes += used_of_each(first)
        heading = _row(HEADING, name, _line_figures(first, currency), notes)
        charges = [_charge_row(CHARGE, charge, currency, exact=exact) for charge in _charges_below(first)]
        return [heading, *charges]
    names = {tuple(line["dimensions"]) for line in lines if line["dimensions"]}
    if len(names) == 1:
        notes.insert(0, f"by {' · '.join(*names)}")
    rows = [_row(HEADING, name, notes=notes)]
    for line in lines:
        member = _member(line, named=len(names) != 1)
        rows.append(_row(MEMBER, member, _line_figures(line, currency), used_of_each(line)))
        rows += [
            _charge_row(CHARGE_OF_MEMBER, charge, currency, exact=exact) for charge in _charges_below(line)
        ]
    return rows


def _told(line: Mapping[str, Any], notes: Sequence[str], zone: ZoneInfo) -> list[str]:
    """What an adjustment says of itself: how it was reached, and the term of a commitment."""
    told = [charge["reason"][:1].upper() + charge["reason"][1:] for charge in line["charges"]]
    if "term" in line["adjustment"] and line["kind"] != LineKind.MINIMUM:
        told.append(f"Term {days(line['adjustment']['term'], zone)}")
    return [*told, *notes]


def _member(line: Mapping[str, Any], *, named: bool) -> str:
    """What tells a line from the others of its rate card."""
    dimensions = line["dimensions"]
    if not dimensions:
        return "all of it" if _adjusts(line) else "other"
    return _named(dimensions) if named else " · ".join(value or "(none)" for value in dimensions.values())


def _named(dimensions: Mapping[str, str]) -> str:
    return " · ".join(f"{name}: {value}" for name, value in dimensions.items())


def _adjusts(line: Mapping[str, Any]) -> bool:
    """Whether a line is what is added to others: by a price (a minimum, a discount), by a coupon, a commitment."""
    return "adjustment" in line or bool(line.get("adjusts"))


def _row(kind: str, text: str, figures: Sequence[str] = (), notes: Sequence[str] = ()) -> Row:
    return Row(kind, printable(text), tuple(map(printable, notes)), tuple(figures))


def _line_figures(line: Mapping[str, Any], currency: str) -> list[str]:
    owed_unused = not Decimal(line["quantity"]) and bool(line["charges"])
    quantity = "" if _adjusts(line) or owed_unused else grouped(line["quantity"])
    exact = precise(line["amount_exact"], currency)
    return [quantity, _price(line, currency), exact, money(line["amount"], currency)]


def _price(line: Mapping[str, Any], currency: str) -> str:
    """The unit price where there is one; else the charges below the line say it."""
    if "adjustment" in line:
        return ""
    if below := _charges_below(line):
        return TIERED if any(charge["reason"].startswith("tier ") for charge in below) else ""
    if not line["charges"]:
        return ""
    (charge,) = line["charges"]
    return UNPRICED if charge["reason"] == UNPRICED else precise(charge["unit_price"], currency)


def _charge_row(kind: str, charge: Mapping[str, Any], currency: str, *, exact: bool) -> Row:
    amount = precise(charge["amount"], currency)
    price = precise(charge["unit_price"], currency)
    reason = charge["reason"] + in_unit(charge)
    figures = [grouped(charge["quantity"]), price, amount, "" if exact else amount]
    return _row(kind, reason[:1].upper() + reason[1:], figures)


def _charges_below(line: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The charges that say more than the line itself does."""
    charges: Sequence[Mapping[str, Any]] = line["charges"]
    if len(charges) == 1 and "in_unit" not in charges[0]:
        of_charge, of_line = charges[0]["quantity"], line["quantity"]
        return () if of_charge == of_line or Decimal(of_charge) == Decimal(of_line) else charges
    return charges


def _finer(line: Mapping[str, Any], currency: str) -> bool:
    """Whether an amount of this line has more digits than the currency shows."""
    amounts = [line["amount_exact"], *(charge["amount"] for charge in _charges_below(line))]
    return any(len(trimmed(Decimal(text)).partition(".")[2]) > MINOR_UNITS[currency] for text in amounts)
