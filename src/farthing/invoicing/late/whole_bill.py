"""What a bill comes to, told apart by what each amount is of. Pure.

So that two bills of one period can be compared amount by amount, whatever lines they have:

    usage, a fee                    of a rate card and dimensions
    a coupon, a drawdown, overage   of the coupon or commitment, and of the line that it is made of
    what else a commitment says,    of the commitment or plan
    the plan's minimum

What interim invoices billed is aside: it is taken off either bill alike. A credit note or a correction by rate card and
dimensions can so be told net of the coupons on it, and taxed as what it is of.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from farthing.catalog.model import TAX_CATEGORY_DEFAULT
from farthing.invoicing.model import Line, LineKind
from farthing.kernel.instant import parse_instant
from farthing.kernel.period import Period
from farthing.kernel.quantity import ONE, ZERO, exact

MADE_OF_LINES = (LineKind.COUPON, LineKind.DRAWDOWN, LineKind.OVERAGE)
ASIDE = (
    LineKind.BILLED,
    LineKind.CARRIED,
    LineKind.CARRIED_FORWARD,
    LineKind.BROUGHT_FORWARD,
    LineKind.CORRECTION,
)


@dataclass(frozen=True, slots=True)
class Place:
    """What an amount is of. kind, key: of the coupon, commitment or plan; empty: the rate card's own.

    rate_card, dimensions: None and empty for what is of no line. service: where that matters, the time that it is for.
    """

    kind: LineKind | None
    key: str
    rate_card: str | None
    dimensions: tuple[tuple[str, str], ...]
    service: Period | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """How much stands in a place. quantity: of a commitment, the money that counts (see `Line`)."""

    amount: Decimal
    quantity: Decimal = ZERO
    title: str = ""
    tax_category: str = TAX_CATEGORY_DEFAULT

    def plus(self, amount: Decimal, quantity: Decimal) -> "Amount":
        return replace(self, amount=self.amount + amount, quantity=self.quantity + quantity)


Amounts = dict[Place, Amount]
CategoryOf = Callable[[str | None], str]
"""The tax category of a rate card."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A line, drafted or issued, as far as it matters here."""

    kind: LineKind
    key: str
    rate_card: str | None
    dimensions: tuple[tuple[str, str], ...]
    service: Period
    quantity: Decimal
    amount: Decimal
    unit_price: Decimal
    title: str
    tax_category: str
    of: tuple[tuple[int, Decimal], ...]


def place_of(rate_card: str | None, dimensions: Mapping[str, str]) -> Place:
    """The place of what a rate card charges for usage."""
    return Place(None, "", rate_card, tuple(sorted(dimensions.items())))


def amounts_of(lines: Sequence[Line]) -> Amounts:
    """The amounts of a drafted bill."""
    return _amounts([_of_line(line) for line in lines])


def amounts_of_document(lines: Sequence[Mapping[str, Any]], category_of: CategoryOf) -> Amounts:
    """The amounts of an issued invoice, by what its document says."""
    return _amounts([_of_said(line, category_of) for line in lines])


def _of_line(line: Line) -> _Told:
    adjustment = line.adjustment
    return _Told(
        line.kind,
        "" if adjustment is None else adjustment.key,
        line.rate_card,
        tuple(sorted(line.dimensions.items())),
        line.service_period,
        line.quantity,
        line.amount_exact,
        line.charges[0].unit_price if line.charges else ONE,
        line.description,
        line.tax_category,
        () if adjustment is None else tuple((share.line, share.amount) for share in adjustment.of),
    )


def _of_said(line: Mapping[str, Any], category_of: CategoryOf) -> _Told:
    adjustment = line.get("adjustment")
    start, end = (parse_instant(line["service_period"][name], name) for name in ("start", "end"))
    return _Told(
        LineKind(line["kind"]),
        "" if adjustment is None else adjustment["key"],
        line["rate_card"],
        tuple(sorted(line["dimensions"].items())),
        Period(start, end),
        Decimal(line["quantity"]),
        Decimal(line["amount_exact"]),
        Decimal(line["charges"][0]["unit_price"]) if line["charges"] else ONE,
        line["description"],
        category_of(line["rate_card"]),
        ()
        if adjustment is None
        else tuple((one["line"], Decimal(one["amount"])) for one in adjustment["of"]),
    )


def _amounts(lines: Sequence[_Told]) -> Amounts:
    found: Amounts = {}
    with exact():
        for line in lines:
            if line.kind not in ASIDE:
                for place, amount in _placed(line, lines):
                    standing = found.get(place)
                    found[place] = (
                        amount if standing is None else standing.plus(amount.amount, amount.quantity)
                    )
    return found


def _placed(line: _Told, lines: Sequence[_Told]) -> Iterable[tuple[Place, Amount]]:
    """Where the amount of one line stands: in one place, or in that of each line that it is made of."""
    if line.kind in (LineKind.USAGE, LineKind.FEE):
        service = line.service if line.kind is LineKind.FEE else None
        place = Place(None, "", line.rate_card, line.dimensions, service)
        yield place, Amount(line.amount, line.quantity, line.title, line.tax_category)
        return
    if line.kind not in MADE_OF_LINES:
        yield Place(line.kind, line.key, None, ()), Amount(line.amount, line.quantity, line.title)
        return
    factor = line.unit_price if line.kind is LineKind.OVERAGE else ONE
    for number, share in line.of:
        base = lines[number - 1]
        quantity = share.copy_negate() if line.kind is LineKind.DRAWDOWN else share
        place = Place(line.kind, line.key, base.rate_card, base.dimensions, base.service)
        counted = ZERO if line.kind is LineKind.COUPON else quantity
        yield place, Amount(share * factor, counted, line.title, base.tax_category)
