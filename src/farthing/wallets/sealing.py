"""What a sealed batch draws from wallets, in the transaction that makes it count (law 4).

    the batch's segment -> usage by (subscription, period) and dimensions -> what it costs after what came before
      -> [the sealer's transaction: positions move on, draws, ledger]

Everything that takes time happens before the transaction: one query over the batch for each meter, whoever its
customers are, and rating. A tenant without wallets pays for one look at the books.

What a price depends on, the quantity before the batch, is a position. One that is not known yet (the first batch of
a period, the first after a customer got its wallet) is told from everything sealed before.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from farthing.catalog import store as catalog_store
from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters
from farthing.customers.store import select_subscriptions_of
from farthing.customers.terms.store import select_terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.seal import SealedBatch
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.segment_file import SegmentFile
from farthing.events.typed_columns import wanted_columns
from farthing.kernel.errors import Corrupt, FarthingError, Unavailable
from farthing.kernel.instant import from_unix_microseconds
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.ledger.service import post_all
from farthing.rating import Price, Row, rate_rows
from farthing.usage.billing_store import usage_by_span
from farthing.usage.model import Detail, Span, UsageRow
from farthing.usage.service import billable_usage, prepare_usage
from farthing.wallets import draw_store as rows
from farthing.wallets.draws import draw_charges
from farthing.wallets.model import Cause, ChargeKey, UsageCharge
from farthing.wallets.schedule import DrawnPeriod, Schedule, SealedCard
from farthing.wallets.unit_store import select_unit_meters

MARGIN = timedelta(days=1)
"""How far the schedule reaches beyond the events it is made for, so that it serves the next batches as well."""
LONGEST_PERIOD = timedelta(days=366)
"""Usage that is further than this before the first grant is not looked at: an import of years that nothing was
prepaid in. Of a period that is longer, its invoice puts right what that leaves out."""
UNIT_AMOUNTS_MAX = 10_000
"""Amounts for one unit that are remembered of a rate card, by dimensions."""
Positions = dict[ChargeKey, dict[str, Decimal]]
"""Quantities by (subscription, period, rate card), then by dimensions."""
_MOMENT = timedelta(microseconds=1)

SettledHoldsOf = Callable[[BooksConnection, SealedBatch, datetime], Sequence[UsageCharge]]
"""Asked in the sealer's transaction: which settled holds the events of this batch take up, as charges of what was set
aside for events that count now, and of nothing for those that had counted before. Each is told once."""


def no_settled_holds(_conn: BooksConnection, _batch: SealedBatch, _now: datetime) -> Sequence[UsageCharge]:
    """Where nothing was authorised."""
    return ()


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What a batch draws: charges before it is known which periods are invoiced, and how far positions move.

    told: all of which the batch has usage, also where that costs nothing.
    """

    charges: list[UsageCharge]
    positions: dict[tuple[ChargeKey, str], Decimal]
    told: frozenset[ChargeKey] = frozenset()


@dataclass(slots=True)
class WalletDraws:
    """Beside the sealer: reckons a batch up, and draws it when it is committed."""

    books: Books
    store: EventStore
    settled_holds: SettledHoldsOf = no_settled_holds
    _schedules: dict[int, tuple[tuple[object, ...], Schedule]] = field(default_factory=dict)

    def __call__(self, batch: SealedBatch, now: datetime) -> Callable[[BooksConnection], None]:
        """Reckon a batch up that is written and not yet committed; what is to be done when it is."""
        reckoned = self._reckoned(batch, now)

        def commit(conn: BooksConnection) -> None:
            self._commit(conn, batch, reckoned, now)

        return commit

    def _commit(self, conn: BooksConnection, batch: SealedBatch, reckoned: Reckoned, now: datetime) -> None:
        charges = reckoned.charges
        if settled := self.settled_holds(conn, batch, now):
            charges = with_settled(charges, settled, reckoned.told)
        if reckoned.positions:
            rows.put_positions(conn, batch.tenant_id, reckoned.positions)
        if not charges:
            return
        transfers = draw_charges(conn, batch.tenant_id, charges, Cause.SEALED, batch.seal_id, now)
        post_all(conn, batch.tenant_id, transfers, now)

    def _reckoned(self, batch: SealedBatch, now: datetime) -> Reckoned:
        file = batch.segment
        if file is None:
            return Reckoned([], {})
        first, last = from_unix_microseconds(file.min_time_us), from_unix_microseconds(file.max_time_us)
        with self.books.read_only(batch.tenant_id) as conn:
            version = rows.select_version(conn, batch.tenant_id)
            if version[0] is None or version[-1] is None:  # no wallets, or nothing in them
                return Reckoned([], {})
            first = max(first, version[-1] - LONGEST_PERIOD)
            if last < first:
                return Reckoned([], {})
            subjects = _subjects_table(rows.select_subjects(conn, batch.tenant_id))
        schedule = self._schedule(batch.tenant_id, version, first, last)
        meters = {meter.key: meter for meter in all_meters(self.books, batch.tenant_id)}
        segment = _segment_of(batch, file)
        found: list[tuple[DrawnPeriod, SealedCard, list[UsageRow]]] = []
        for (meter_key, detail), places in schedule.asked(first, last).items():
            meter = meters[meter_key]
            if meter.event_type not in segment.event_types:
                continue
            if any(name not in segment.columns for name in wanted_columns([meter]).names()):
                continue  # The meter is younger than this batch: its usage is reckoned up later.
            spans = [_span(place, schedule.periods[place]) for place in places]
            usage = usage_by_span(self.store, [segment], subjects, meter, detail, spans)
            for place, some in _by_span(usage):
                period = schedule.periods[place]
                found += [
                    (period, card, some)
                    for card in period.cards
                    if card.meter == meter_key and card.detail == detail
                ]
        return self._charged(batch.tenant_id, meters, found, now)

    def _schedule(
        self, tenant_id: int, version: tuple[object, ...], first: datetime, last: datetime
    ) -> Schedule:
        known = self._schedules.get(tenant_id)
        if known is not None and known[0] == version and known[1].holds_for(first, last):
            return known[1]
        with self.books.read_only(tenant_id) as conn:
            timezones = rows.select_holders(conn, tenant_id)
            subscriptions = select_subscriptions_of(conn, tenant_id, timezones)
            ids = [one.subscription_id for one in subscriptions]
            versions = {one.plan_version_id for one in subscriptions}
            versions |= {
                fact.plan_version_id
                for one in subscriptions
                for fact in one.facts
                if fact.plan_version_id is not None
            }
            published = catalog_store.select_plan_versions(conn, tenant_id, versions)
            terms = select_terms(conn, tenant_id, ids)
            unit_meters = select_unit_meters(conn, tenant_id)
        schedule = Schedule(
            subscriptions,
            timezones,
            {number: one.plan for number, one in published.items()},
            terms,
            {meter.key: meter for meter in all_meters(self.books, tenant_id)},
            first - MARGIN,
            last + MARGIN,
            unit_meters,
        )
        self._schedules[tenant_id] = (version, schedule)
        return schedule

    def _charged(
        self,
        tenant_id: int,
        meters: Mapping[str, Meter],
        found: Sequence[tuple[DrawnPeriod, SealedCard, list[UsageRow]]],
        now: datetime,
    ) -> Reckoned:
        """What the usage of a batch costs, by (subscription, period, rate card)."""
        climbing = {_key(period, card): (period, card) for period, card, _ in found if not card.in_proportion}
        known, told = self._positions(tenant_id, meters, climbing, now) if climbing else ({}, {})
        positions = known | told
        # What was told is kept whole: the next batch asks for positions, not for what was used before them.
        moved = {(key, place): quantity for key, by in told.items() for place, quantity in by.items()}
        charges: list[UsageCharge] = []
        for period, card, some in found:
            key = _key(period, card)
            if not card.in_proportion:
                if key not in positions:
                    continue
                with exact():
                    for row in some:
                        place = _dimensions_text(row.dimensions)
                        moved[key, place] = positions[key].get(place, ZERO) + row.quantity
            amount = _amount(card, positions.get(key, {}), some)
            if amount:
                as_of = min(now, period.period.end - _MOMENT)
                meters_of = card.card.meters
                charges.append(
                    UsageCharge(key, period.customer_id, period.currency, meters_of, amount, as_of)
                )
        return Reckoned(charges, moved, frozenset(_key(period, card) for period, card, _ in found))

    def _positions(
        self,
        tenant_id: int,
        meters: Mapping[str, Meter],
        climbing: Mapping[ChargeKey, tuple[DrawnPeriod, SealedCard]],
        now: datetime,
    ) -> tuple[Positions, Positions]:
        """How much each of these had used before, by dimensions: as it is kept, and as it is told for the first time.

        Of those that nothing can be told of, nothing.
        """
        with self.books.read_only(tenant_id) as conn:
            known = rows.select_positions(conn, tenant_id, climbing)
        unknown = {key: value for key, value in climbing.items() if key not in known}
        try:
            return known, self._told(tenant_id, meters, unknown, now)
        except Corrupt:
            return known, {}  # Sealing goes on; whoever bills is told.

    def _told(
        self,
        tenant_id: int,
        meters: Mapping[str, Meter],
        unknown: Mapping[ChargeKey, tuple[DrawnPeriod, SealedCard]],
        now: datetime,
    ) -> Positions:
        """The same from everything that was sealed before."""
        keys = list(unknown)
        asked: dict[tuple[str, Detail], list[Span]] = {}
        for place, (period, card) in enumerate(unknown.values()):
            asked.setdefault((card.meter, card.detail), []).append(_span(place, period))
        told: Positions = {key: {} for key in keys}
        for (meter, detail), spans in asked.items():
            for row in self._sealed_before(tenant_id, meters[meter], detail, spans, now):
                told[keys[row.span_id]][_dimensions_text(row.dimensions)] = row.quantity
        return told

    def _sealed_before(
        self, tenant_id: int, meter: Meter, detail: Detail, spans: Sequence[Span], now: datetime
    ) -> list[UsageRow]:
        try:
            with self.books.read_only(tenant_id) as conn:
                return list(billable_usage(self.store, conn, tenant_id, meter, detail, spans))
        except Unavailable:
            prepare_usage(self.books, self.store, tenant_id, now)
        with self.books.read_only(tenant_id) as conn:
            return list(billable_usage(self.store, conn, tenant_id, meter, detail, spans))


def _amount(card: SealedCard, before: Mapping[str, Decimal], some: Sequence[UsageRow]) -> Decimal:
    """What more the usage of a period costs. Nothing where it cannot be rated: its invoice will say so."""
    try:
        return _in_proportion(card, some) if card.in_proportion else _climbed(card.card.price, before, some)
    except FarthingError:
        return ZERO


def _in_proportion(card: SealedCard, some: Sequence[UsageRow]) -> Decimal:
    total = ZERO
    with exact():
        for row in some:
            dimensions = tuple(sorted(row.dimensions.items()))
            each = card.unit_amounts.get(dimensions)
            if each is None:
                one = rate_rows(card.card.price, [Row(row.dimensions, ONE)], final=False)
                each = sum((line.amount for line in one), ZERO)
                if len(card.unit_amounts) >= UNIT_AMOUNTS_MAX:
                    card.unit_amounts.clear()
                card.unit_amounts[dimensions] = each
            total += row.quantity * each
    return total


def with_settled(
    charges: Sequence[UsageCharge], settled: Sequence[UsageCharge], told: Collection[ChargeKey]
) -> list[UsageCharge]:
    """The charges, each with the settled holds of its own.

    Where the batch tells what usage costs, a hold is taken up by that, if by nothing. Where usage is reckoned up later,
    what was settled is drawn now, and corrected by then.
    """
    left: dict[ChargeKey, list[UsageCharge]] = {}
    for one in settled:
        left.setdefault(one.key, []).append(one)
    found = []
    for charge in charges:
        own = left.pop(charge.key, None)
        if own is None:
            found.append(charge)
        else:
            found.append(replace(charge, settled=tuple(hold for one in own for hold in one.settled)))
    for key, some in left.items():
        found += [replace(one, amount=ZERO) if key in told else one for one in some]
    return found


def _climbed(price: Price, before: Mapping[str, Decimal], some: Sequence[UsageRow]) -> Decimal:
    """What more the usage of a period costs, after what was used before."""
    more = {_dimensions_text(row.dimensions): row for row in some}
    told = [Row(row.dimensions, row.quantity, before.get(text, ZERO)) for text, row in more.items()]
    told += [Row(_dimensions_of(text), ZERO, used) for text, used in before.items() if text not in more]
    with exact():
        return sum((line.amount for line in rate_rows(price, told, final=False)), ZERO)


def _dimensions_text(dimensions: Mapping[str, str]) -> str:
    return json.dumps(dimensions, sort_keys=True, ensure_ascii=True) if dimensions else ""


def _dimensions_of(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def _key(period: DrawnPeriod, card: SealedCard) -> ChargeKey:
    return ChargeKey(period.subscription_id, period.period.start, card.card.key)


def _span(place: int, period: DrawnPeriod) -> Span:
    return Span(place, period.customer_id, period.period.start, period.period.end)


def _by_span(usage: Iterator[UsageRow]) -> Iterator[tuple[int, list[UsageRow]]]:
    """Rows, which come in the order of their spans, span by span."""
    place, some = -1, list[UsageRow]()
    for row in usage:
        if row.span_id != place:
            if some:
                yield place, some
            place, some = row.span_id, []
        some.append(row)
    if some:
        yield place, some


def _segment_of(batch: SealedBatch, file: SegmentFile) -> Segment:
    return Segment(
        batch.seal_id,
        batch.segment_path,
        file.events,
        file.size_bytes,
        file.checksum,
        tuple(file.event_types),
        file.columns,
        from_unix_microseconds(file.min_time_us),
        from_unix_microseconds(file.max_time_us),
        # What is void with the seal that counts it pays nothing.
        tuple((one.source, one.event_id) for one in batch.corrections.voided),
    )


def _subjects_table(subjects: Sequence[tuple[str, int]]) -> pa.Table:
    return pa.table(
        {
            "subject": pa.array([subject for subject, _ in subjects], pa.string()),
            "customer_id": pa.array([customer_id for _, customer_id in subjects], pa.int64()),
        }
    )
