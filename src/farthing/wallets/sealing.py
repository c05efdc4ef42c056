"""What sealed batches draw from wallets, in the transaction that makes them count (law 4).

    the batches' segments -> usage by (subscription, period) and dimensions -> what it costs after what came before
      -> [the sealer's transaction: positions move on, draws, ledger]

Batches that are committed together are reckoned up together: a draw costs by customer, not by event. Everything that
takes time happens before the transaction: one query over the batches for each meter, whoever their customers are,
and rating. A tenant without wallets pays for one look at the books.

What a price depends on, the quantity before the batches, is a position. One that is not known yet (the first batch of
a period, the first after a customer got its wallet) is told from everything sealed before.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import pyarrow as pa

from farthing.catalog import store as catalog_store
from farthing.catalog.model import Meter
from farthing.catalog.service import all_meters
from farthing.customers.store import select_subscriptions_by_id
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.sealing.seal import SealedBatch
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.events.store.segment_file import SegmentFile
from farthing.kernel.errors import Corrupt, FarthingError, Unavailable
from farthing.kernel.instant import from_unix_microseconds, unix_microseconds
from farthing.kernel.quantity import ONE, ZERO, exact
from farthing.ledger.model import Transfer
from farthing.ledger.service import post_drawn
from farthing.rating import Price, Row, rate_rows
from farthing.usage.billing_store import usage_columns
from farthing.usage.model import Detail, Span, UsageRow
from farthing.usage.service import billable_usage, prepare_usage
from farthing.usage.store import subjects_of
from farthing.wallets import draw_store as rows
from farthing.wallets import schedule_store
from farthing.wallets.draws import draw_sealed
from farthing.wallets.model import ChargeKey, Charges, UsageCharge
from farthing.wallets.proportional import UsageColumns, amounts_of, usage_columns_of
from farthing.wallets.schedule import DrawnPeriod, Numbers, Schedule, SealedCard
from farthing.wallets.unit_draws import draw_settled_units
from farthing.wallets.unit_store import lock_grants_of, select_unit_meters

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

SettledHoldsOf = Callable[[BooksConnection, Sequence[SealedBatch], datetime], Sequence[UsageCharge]]
"""Asked in the sealer's transaction: which settled holds the events of these batches take up, as charges of what was
set aside for events that count now, and of nothing for those that had counted before. Each is told once."""


def no_settled_holds(
    _conn: BooksConnection, _batches: Sequence[SealedBatch], _now: datetime
) -> Sequence[UsageCharge]:
    """Where nothing was authorised."""
    return ()


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What batches draw: charges before it is known which periods are invoiced, and how far positions move.

    charges: of all that they have usage of, also where that costs nothing.
    """

    charges: Charges = field(default_factory=Charges)
    positions: dict[tuple[ChargeKey, str], Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Climbing:
    """Usage whose price depends on what was used before, of one subscription in one period by one rate card."""

    period: DrawnPeriod
    card: SealedCard
    customer_id: int
    some: list[Row]


@dataclass(slots=True)
class WalletDraws:
    """Beside the sealer: reckons batches up, and draws them when they are committed."""

    books: Books
    store: EventStore
    settled_holds: SettledHoldsOf = no_settled_holds
    _schedules: dict[int, tuple[tuple[object, ...], Schedule]] = field(default_factory=dict)

    def __call__(self, batches: Sequence[SealedBatch], now: datetime) -> Callable[[BooksConnection], None]:
        """Reckon a tenant's batches up that are written and not yet committed; what is to be done when they are."""
        reckoned = self._reckoned(batches, now)

        def commit(conn: BooksConnection) -> None:
            self._commit(conn, batches, reckoned, now)

        return commit

    def _commit(
        self, conn: BooksConnection, batches: Sequence[SealedBatch], reckoned: Reckoned, now: datetime
    ) -> None:
        tenant_id, seal_id = batches[-1].tenant_id, batches[-1].seal_id
        settled = self.settled_holds(conn, batches, now)
        if reckoned.positions:
            rows.put_positions(conn, tenant_id, reckoned.positions)
        of_units = [one for one in settled if one.unit is not None]
        posted: list[Transfer] = []
        if of_units:
            settled = [one for one in settled if one.unit is None]
            # Of everybody at once, since money is drawn right after: grants are locked in one order.
            lock_grants_of(
                conn, tenant_id, {one.customer_id for one in of_units} | _customers(reckoned, settled)
            )
            posted = draw_settled_units(conn, tenant_id, of_units, seal_id, now)
        drawn, transfers = draw_sealed(conn, tenant_id, reckoned.charges, settled, seal_id, now)
        post_drawn(conn, tenant_id, drawn, [*posted, *transfers], now)

    def _reckoned(self, batches: Sequence[SealedBatch], now: datetime) -> Reckoned:
        tenant_id = batches[0].tenant_id
        segments = [_segment_of(batch, batch.segment) for batch in batches if batch.segment is not None]
        if not segments:
            return Reckoned()
        with self.books.read_only(tenant_id) as conn:
            version = schedule_store.select_version(conn, tenant_id)
            if version[0] is None or version[-1] is None:  # no wallets, or nothing in them
                return Reckoned()
        times = min(one.min_time for one in segments), max(one.max_time for one in segments)
        first, last = max(times[0], version[-1] - LONGEST_PERIOD), times[1]
        if last < first:
            return Reckoned()
        subjects = self._subjects(tenant_id, segments)
        if not len(subjects):
            return Reckoned()
        schedule = self._schedule(tenant_id, version, first, last)
        meters = {meter.key: meter for meter in all_meters(self.books, tenant_id)}
        charges = Charges()
        climbing: dict[ChargeKey, _Climbing] = {}
        with exact():
            for (meter_key, detail), periods in schedule.asked(first, last).items():
                meter = meters[meter_key]
                some = [one for one in segments if meter.event_type in one.event_types]
                if not some or _younger(meter, some):
                    continue
                table = self._used(some, subjects, meter, detail, periods, times)
                usage = usage_columns_of(table, detail.names)
                _add_in_proportion(charges, usage, periods, (meter_key, detail), now)
                climbing |= _climbing(usage, periods, (meter_key, detail))
            positions = self._climbed(tenant_id, meters, charges, climbing, now) if climbing else {}
        return Reckoned(charges, positions)

    def _used(
        self,
        segments: Sequence[Segment],
        subjects: pa.Table,
        meter: Meter,
        detail: Detail,
        periods: Sequence[DrawnPeriod],
        times: tuple[datetime, datetime],
    ) -> pa.Table:
        """See `usage_columns`; times: of the first event of the batches and of the last one."""
        first, last = times
        start, end = min(one.period.start for one in periods), max(one.period.end for one in periods)
        covering = all(one.period.start <= first and last < one.period.end for one in periods)
        spans = _spans_table(periods)
        return usage_columns(
            self.store, segments, subjects, meter, detail, spans, start, end, covering=covering
        )

    def _subjects(self, tenant_id: int, segments: Sequence[Segment]) -> pa.Table:
        """The subjects of batches that mean a customer, as columns (subject, customer_id)."""
        names = subjects_of(self.store, segments)
        with self.books.read_only(tenant_id) as conn:
            known = schedule_store.select_subjects(conn, tenant_id, names)
        return pa.table(
            {
                "subject": pa.array(known.keys(), pa.string()),
                "customer_id": pa.array(known.values(), pa.int64()),
            }
        )

    def _schedule(
        self, tenant_id: int, version: tuple[object, ...], first: datetime, last: datetime
    ) -> Schedule:
        known = self._schedules.get(tenant_id)
        if known is not None and known[0] == version and known[1].holds_for(first, last):
            return known[1]
        with self.books.read_only(tenant_id) as conn:
            alike = schedule_store.select_alike(conn, tenant_id)
            zones = schedule_store.select_changed(conn, tenant_id)
            changed = select_subscriptions_by_id(conn, tenant_id, list(zones)) if zones else []
            versions = {one.plan_version_id for one in alike} | {one.plan_version_id for one in changed}
            versions |= {
                fact.plan_version_id
                for one in changed
                for fact in one.facts
                if fact.plan_version_id is not None
            }
            published = catalog_store.select_plan_versions(conn, tenant_id, versions)
            unit_meters = select_unit_meters(conn, tenant_id)
        schedule = Schedule(
            alike,
            changed,
            {one.customer_id: zones[one.subscription_id] for one in changed},
            {number: one.plan for number, one in published.items()},
            {meter.key: meter for meter in all_meters(self.books, tenant_id)},
            first - MARGIN,
            last + MARGIN,
            unit_meters,
        )
        self._schedules[tenant_id] = (version, schedule)
        return schedule

    def _climbed(
        self,
        tenant_id: int,
        meters: Mapping[str, Meter],
        charges: Charges,
        climbing: Mapping[ChargeKey, _Climbing],
        now: datetime,
    ) -> dict[tuple[ChargeKey, str], Decimal]:
        """Charges for usage whose price depends on what was used before; how far that moves positions."""
        known, told = self._positions(tenant_id, meters, climbing, now)
        positions = known | told
        # What was told is kept whole: the next batch asks for positions, not for what was used before them.
        moved = {(key, place): quantity for key, by in told.items() for place, quantity in by.items()}
        for key, one in climbing.items():
            before = positions.get(key)
            amount = ZERO
            if before is not None:
                for row in one.some:
                    place = _dimensions_text(row.dimensions)
                    moved[key, place] = before.get(place, ZERO) + row.quantity
            if not one.card.drawn:
                continue
            if before is not None:
                amount = _climbed(one.card.card.price, before, one.some)
            period, meters_of = one.period, one.card.card.meters
            charges.add(
                UsageCharge(key, one.customer_id, period.currency, meters_of, amount, _as_of(period, now))
            )
        return moved

    def _positions(
        self,
        tenant_id: int,
        meters: Mapping[str, Meter],
        climbing: Mapping[ChargeKey, _Climbing],
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
        unknown: Mapping[ChargeKey, _Climbing],
        now: datetime,
    ) -> Positions:
        """The same from everything that was sealed before."""
        keys = list(unknown)
        asked: dict[tuple[str, Detail], list[Span]] = {}
        for place, one in enumerate(unknown.values()):
            span = Span(place, one.customer_id, one.period.period.start, one.period.period.end)
            asked.setdefault((one.card.meter, one.card.detail), []).append(span)
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


def _younger(meter: Meter, segments: Sequence[Segment]) -> bool:
    """Whether a meter is younger than one of these batches, its usage so far being reckoned up later."""
    wanted = wanted_columns([meter]).names()
    return any(name not in one.columns for one in segments for name in wanted)


def _customers(reckoned: Reckoned, settled: Sequence[UsageCharge]) -> set[int]:
    return {*reckoned.charges.customer_ids, *(one.customer_id for one in settled)}


def _add_in_proportion(
    charges: Charges,
    usage: UsageColumns,
    periods: Sequence[DrawnPeriod],
    query: tuple[str, Detail],
    now: datetime,
) -> None:
    """What usage costs whose price is in proportion. Nothing where it cannot be rated: its invoice will say so."""
    of_cards: dict[int, list[DrawnPeriod]] = {}
    for period in periods:
        of_cards.setdefault(id(period.cards), []).append(period)
    for alike in of_cards.values():
        part = usage if len(of_cards) == 1 else usage.of([(one.first_place, one.end_place) for one in alike])
        for card in alike[0].cards:
            if card.in_proportion and (card.meter, card.detail) == query:
                places, amounts = amounts_of(part, partial(_unit_amount, card))
                _add(charges, alike, card, places, amounts, now)


def _add(
    charges: Charges,
    periods: Sequence[DrawnPeriod],
    card: SealedCard,
    places: Numbers,
    amounts: list[Decimal],
    now: datetime,
) -> None:
    begins = np.searchsorted(places, [one.first_place for one in periods]).tolist()
    ends = np.searchsorted(places, [one.end_place for one in periods]).tolist()
    for one, begin, end in zip(periods, begins, ends, strict=True):
        if begin == end:
            continue
        within = places[begin:end] - one.first_place
        start, name = one.period.start, card.card.key
        charges.keys.extend(
            [ChargeKey(number, start, name) for number in one.subscription_ids[within].tolist()]
        )
        charges.customer_ids.extend(one.customer_ids[within].tolist())
        charges.amounts.extend(amounts[begin:end])
        charges.currencies.extend([one.currency] * (end - begin))
        charges.meters.extend([card.card.meters] * (end - begin))
        charges.as_of.extend([_as_of(one, now)] * (end - begin))


def _as_of(period: DrawnPeriod, now: datetime) -> datetime:
    return min(now, period.period.end - _MOMENT)


def _unit_amount(card: SealedCard, dimensions: Mapping[str, str]) -> Decimal:
    """What one unit costs. Raises FarthingError where that cannot be told."""
    known = tuple(sorted(dimensions.items()))
    each = card.unit_amounts.get(known)
    if each is None:
        one = rate_rows(card.card.price, [Row(dimensions, ONE)], final=False)
        each = sum((line.amount for line in one), ZERO)
        if len(card.unit_amounts) >= UNIT_AMOUNTS_MAX:
            card.unit_amounts.clear()
        card.unit_amounts[known] = each
    return each


def _climbing(
    usage: UsageColumns, periods: Sequence[DrawnPeriod], query: tuple[str, Detail]
) -> dict[ChargeKey, _Climbing]:
    found: dict[ChargeKey, _Climbing] = {}
    for one in periods:
        cards = [card for card in one.cards if not card.in_proportion and (card.meter, card.detail) == query]
        if not cards:
            continue
        by_place: dict[int, list[Row]] = {}
        for place, dimensions, quantity in usage.rows(*usage.between(one.first_place, one.end_place)):
            by_place.setdefault(place - one.first_place, []).append(Row(dimensions, quantity))
        for place, some in by_place.items():
            subscription_id, customer_id = int(one.subscription_ids[place]), int(one.customer_ids[place])
            for card in cards:
                key = ChargeKey(subscription_id, one.period.start, card.card.key)
                found[key] = _Climbing(one, card, customer_id, some)
    return found


def _climbed(price: Price, before: Mapping[str, Decimal], some: Sequence[Row]) -> Decimal:
    """What more the usage of a period costs, after what was used before. Nothing where it cannot be rated."""
    more = {_dimensions_text(row.dimensions): row for row in some}
    told = [Row(row.dimensions, row.quantity, before.get(text, ZERO)) for text, row in more.items()]
    told += [Row(_dimensions_of(text), ZERO, used) for text, used in before.items() if text not in more]
    try:
        return sum((line.amount for line in rate_rows(price, told, final=False)), ZERO)
    except FarthingError:
        return ZERO


def _dimensions_text(dimensions: Mapping[str, str]) -> str:
    return json.dumps(dimensions, sort_keys=True, ensure_ascii=True) if dimensions else ""


def _dimensions_of(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def _spans_table(periods: Sequence[DrawnPeriod]) -> pa.Table:
    """See `usage.store.spans_table`: a span is a place."""
    counts = [len(one.subscription_ids) for one in periods]
    starts = np.repeat([unix_microseconds(one.period.start) for one in periods], counts)
    ends = np.repeat([unix_microseconds(one.period.end) for one in periods], counts)
    return pa.table(
        {
            "span_id": np.concatenate([np.arange(one.first_place, one.end_place) for one in periods]),
            "customer_id": np.concatenate([one.customer_ids for one in periods]),
            "span_start": pa.array(starts, pa.timestamp("us")),
            "span_end": pa.array(ends, pa.timestamp("us")),
        }
    )


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
