"""What of an issued invoice can be given back, told from its document and from what was given back before. Pure.

A coupon, a drawdown of a prepaid commitment and an overage are made of other lines: they are spread over those, so
that giving back a line gives back what the customer owed for it. The other lines stand for themselves. Lines with the
same taxes are a bundle, and its taxes are given back with it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from farthing.invoicing.credit_notes.model import Bundle, Creditable, CreditableLine
from farthing.invoicing.drafting.shares import MADE_OF_OTHERS
from farthing.invoicing.model import LineKind
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.kernel.rounding import allocate

Given = Mapping[tuple[str, int], Decimal]
"""What was given back before, by kind (`line`, `tax`) and place on the invoice, from 1 on."""


def creditable_of(
    document: Mapping[str, Any], given: Given, credited: Decimal, given_up: Decimal = ZERO
) -> Creditable:
    """What is left of an invoice. credited: in all, with tax. given_up: what of it was written off as lost."""
    currency = document["currency"]
    with exact():
        amounts = _spread(document, MINOR_UNITS[currency])
        bundles: dict[tuple[int, ...], list[dict[str, Any]]] = {}
        for line in document["lines"]:
            if line["line"] in amounts:
                named = tuple(dict.fromkeys(one["tax"] - 1 for one in line.get("taxes", ())))
                bundles.setdefault(named, []).append(line)
        lines = [
            CreditableLine(
                line["line"],
                place,
                Decimal(line["quantity"]),
                amounts[line["line"]],
                amounts[line["line"]] - given.get(("line", line["line"]), ZERO),
                line,
            )
            for place, some in enumerate(bundles.values())
            for line in some
        ]
        return Creditable(
            tuple(sorted(lines, key=lambda line: line.number)),
            tuple(_bundle(document, named, place, lines, given) for place, named in enumerate(bundles)),
            Decimal(document["total"]) - credited - given_up,
            document.get("prices_include_tax", False),
            currency,
            whole=not given_up,
        )


def _bundle(
    document: Mapping[str, Any], named: tuple[int, ...], place: int, lines: list[CreditableLine], given: Given
) -> Bundle:
    taxes = tuple(Decimal(document["taxes"][tax]["amount"]) for tax in named)
    return Bundle(
        named,
        sum((line.billed for line in lines if line.bundle == place), ZERO),
        sum((line.left for line in lines if line.bundle == place), ZERO),
        taxes,
        tuple(amount - given.get(("tax", tax + 1), ZERO) for tax, amount in zip(named, taxes, strict=True)),
    )


def _spread(document: Mapping[str, Any], minor_units: int) -> dict[int, Decimal]:
    """The amount of each line that stands for itself, by number, with its parts of those that are made of it."""
    amounts = {
        line["line"]: Decimal(line["amount"]) for line in document["lines"] if not _is_made_of_others(line)
    }
    for line in document["lines"]:
        if not _is_made_of_others(line):
            continue
        overage = line["kind"] == LineKind.OVERAGE
        factor = Decimal(line["charges"][0]["unit_price"]) if overage else ONE
        shares = line["adjustment"]["of"]
        exacts = [Decimal(share["amount"]) * factor for share in shares]
        # What is of no line of this invoice any more goes with the first.
        exacts[0] += Decimal(line["amount_exact"]) - sum(exacts, ZERO)
        parts = allocate(exacts, Decimal(line["amount"]), minor_units)
        for share, part in zip(shares, parts, strict=True):
            amounts[share["line"]] += part
    return amounts


def _is_made_of_others(line: Mapping[str, Any]) -> bool:
    return "adjustment" in line and line["kind"] in MADE_OF_OTHERS and bool(line["adjustment"]["of"])
