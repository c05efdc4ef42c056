"""From usage to lines: what a rate card asks of its meters, how rating is told the answer, how its lines read.
Pure.

    the rate card's price -> what it needs -> usage of each meter -> rows of usage -> lines
                             meter_queries                          usage_rows       usage_lines

A line says in its description which window of time it is of ("Energy (peak)"); in what its quantity is
counted, where that is no number of things (seconds, an amount of money); and how much of each meter was
used, where it counts several.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from farthing.catalog.model import RateCard
from farthing.invoicing.model import Line
from farthing.kernel.memo import Memo
from farthing.kernel.period import Period
from farthing.rating import Events, Measure, Row, rate_rows
from farthing.usage.model import Detail, UsageRow

MeterQuery = tuple[str, Detail]
"""A meter's key, and how finely its usage is told."""

BillUsage = Mapping[MeterQuery, Sequence[UsageRow]]
"""The usage of one bill."""


PARTS_BITS = 20
"""A usage span's id is its bill's position, then so many bits for the part of the bill (`parts.py`)."""
PART_MASK = (1 << PARTS_BITS) - 1
_QUERIES: Memo[tuple[MeterQuery, ...]] = Memo(10_000)


def meter_queries(card: RateCard) -> tuple[MeterQuery, ...]:
    """What must be known of usage to bill this card: one for each of its meters, none for a fixed fee."""
    return _QUERIES.of(card, None, lambda: tuple((meter, Detail.of(card.needs)) for meter in card.meters))


def usage_rows(card: RateCard, usage: BillUsage) -> list[Row]:
    """The usage of a card's meters as its price takes it: a row for each combination of dimensions.

    Of several meters, the quantities of a combination stand in one row, whichever of them have it.
    """
    queries = meter_queries(card)
    if len(queries) == 1:
        return [usage_row(card, row) for row in usage.get(queries[0], ())]
    found: dict[tuple[tuple[str, str], ...], dict[str, Decimal]] = {}
    for query in queries:
        for row in usage.get(query, ()):
            found.setdefault(tuple(sorted(row.dimensions.items())), {})[query[0]] = row.quantity
    return [Row(dict(dimensions), quantities=quantities) for dimensions, quantities in found.items()]


def usage_row(card: RateCard, row: UsageRow) -> Row:
    """One row of usage of the card's one meter. The number of events is told to a price that looks at it."""
    events = None if card.needs.events is Events.NONE else row.events
    return Row(row.dimensions, row.quantity, events=events, runs=row.runs)


def usage_lines(card: RateCard, period: Period, rows: Sequence[Row], *, final: bool = True) -> list[Line]:
    """What these rows owe. A line stands if anything was used or anything is owed.

    final: whether the period ends with these rows, so that what is owed without usage is due.
    """
    measures = card.needs.measures
    measure = measures[0] if len(measures) == 1 else Measure.QUANTITY
    return [
        Line(
            rate_card=card.key,
            description=described(card.name, row.dimensions),
            meter=card.meter,
            dimensions=row.dimensions,
            service_period=period,
            quantity=row.quantity,
            amount_exact=row.amount,
            charges=row.charges,
            measure=Measure.QUANTITY if row.adjusts else measure,
            quantities=row.quantities,
            adjusts=row.adjusts,
        )
        for row in rate_rows(card.price, rows, final=final)
        if rows or row.amount
    ]


def described(name: str, dimensions: Mapping[str, str]) -> str:
    """`Energy (peak)`: the rate card's name, and the windows of time that the line is of."""
    return name + _windows(dimensions)


def name_of(description: str, dimensions: Mapping[str, str]) -> str:
    """The rate card's name of a line that is described so."""
    return description.removesuffix(_windows(dimensions))


def _windows(dimensions: Mapping[str, str]) -> str:
    if not dimensions:
        return ""
    # The names of clocks hold a space, and no dimension of a meter is called so.
    windows = [value for name, value in sorted(dimensions.items()) if " " in name]
    return f" ({', '.join(windows)})" if windows else ""


class UsageOfBills:
    """The usage of bills, taken in the order of the bills: no more than one bill's is held at a time.

    answers: for each query its rows in the order of their spans, whose ids begin with the bills' positions.
        They may come while they are taken.
    """

    def __init__(self, answers: Mapping[MeterQuery, Iterator[UsageRow]]) -> None:
        self._answers = answers
        self._next = {query: next(rows, None) for query, rows in answers.items()}
        self._asked = -1

    def of(self, position: int) -> BillUsage:
        """The usage of a bill that comes after all that were asked for before."""
        assert position > self._asked, "bills are drafted in their order"
        self._asked = position
        found = {query: self._taken(query, position) for query in self._answers}
        return {query: rows for query, rows in found.items() if rows}

    def _taken(self, query: MeterQuery, position: int) -> list[UsageRow]:
        rows: list[UsageRow] = []
        row = self._next[query]
        while row is not None and row.span_id >> PARTS_BITS <= position:
            if row.span_id >> PARTS_BITS == position:
                rows.append(row)
            row = next(self._answers[query], None)
        self._next[query] = row
        return rows
