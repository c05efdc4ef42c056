"""Use cases of authorisations: a batch of requests in one transaction; setting spending limits.

    its turn -> read, and lock the grants (by id) and limits of all customers concerned -> decide -> write -> commit

Batches of one tenant take turns; with everybody else they share one lock order, so they wait for each other and never
in a circle. Money is never remembered from one batch to the next;
what a customer is charged for is, until its version changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec
import psycopg
from psycopg.errors import DeadlockDetected, RestrictViolation, SerializationFailure, UniqueViolation

from farthing.catalog.model import Meter, Plan
from farthing.catalog.model import Outcome as Made
from farthing.catalog.store import select_meters_after, select_plan_versions
from farthing.customers.model import Subscription
from farthing.customers.service import get_customer
from farthing.customers.store import select_subscriptions_of
from farthing.customers.timeline import lives_of
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, FarthingError, NotFound, Unavailable
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.reading import shown
from farthing.wallets import draw_store
from farthing.wallets.burn_down import Funds
from farthing.wallets.holds import batch_store as batch_rows
from farthing.wallets.holds import limits_store as limit_rows
from farthing.wallets.holds import store as rows
from farthing.wallets.holds.batch_store import CustomerRow, Version
from farthing.wallets.holds.decide import OLDEST_PERIOD, Decided, Ground, decide, spent_now, uses_of
from farthing.wallets.holds.ladders import ladders_of
from farthing.wallets.holds.lookup import parse_limit
from farthing.wallets.holds.model import (
    Asked,
    Authorize,
    HappenedEvent,
    Hold,
    Outcome,
    Settle,
    SpendingLimit,
    Spent,
    Status,
)
from farthing.wallets.holds.pricing import Use
from farthing.wallets.holds.store import Movement
from farthing.wallets.holds.terms import CustomerTerms, LadderKey
from farthing.wallets.holds.units import holders_of_units
from farthing.wallets.holds.units_store import select_unit_places
from farthing.wallets.model import ChargeKey

TRIES = 5
"""How often a batch is begun anew where another one came in between."""
REMEMBERED_MAX = 50_000
"""Customers of one tenant whose terms one process remembers."""


@dataclass(slots=True)
class _Remembered:
    """What a tenant's customers are charged for, as of a version of its catalog and subscriptions.

    plans: by id of their versions, which never change.
    """

    version: Version
    meters: Mapping[str, Meter]
    plans: dict[int, Plan] = field(default_factory=dict)
    terms: dict[int, CustomerTerms] = field(default_factory=dict)
    touched: dict[int, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class Settled:
    """An event that this batch settled an authorisation with: to be put into the log now."""

    event: HappenedEvent
    at: datetime


Gather = Callable[[], tuple[Sequence[Asked], datetime]]
"""Says what is in a batch, and when it is; asked again, the same requests."""


class Authorizations:
    """Applies batches for one process, one at a time. Remembers customers' terms, never money."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._remembered: dict[int, _Remembered] = {}

    def apply(
        self, tenant_id: int, batch: Sequence[Asked], now: datetime
    ) -> tuple[list[Outcome], list[Settled]]:
        """What becomes of each request, committed; and the events that are to be put into the log.

        Raises Unavailable where the books do not answer: then nothing is known of any of them, and each may be
        asked again.
        """
        return self.apply_next(tenant_id, lambda: (batch, now))

    def apply_next(self, tenant_id: int, gather: Gather) -> tuple[list[Outcome], list[Settled]]:
        """The same for a batch that is gathered once its turn has come."""
        for _ in range(TRIES):
            try:
                return self._apply(tenant_id, gather)
            except UniqueViolation as error:
                if error.diag.constraint_name != batch_rows.HOLDS_KEY:
                    return self._one_by_one(tenant_id, gather, error)
            except RestrictViolation:
                pass  # One of them has expired since it was read: decide again.
            except Unavailable as error:
                if not isinstance(error.__cause__, DeadlockDetected | SerializationFailure):
                    raise
            except psycopg.IntegrityError as error:
                return self._one_by_one(tenant_id, gather, error)
        raise Unavailable("too_busy", "others keep changing the same wallets; try again in a moment")

    def _one_by_one(
        self, tenant_id: int, gather: Gather, error: psycopg.IntegrityError
    ) -> tuple[list[Outcome], list[Settled]]:
        """One of them cannot be written: the others must not suffer from it."""
        batch, now = gather()
        if len(batch) == 1:
            if isinstance(error, UniqueViolation):
                return [_settled_elsewhere(batch[0], error)], []
            raise error
        outcomes: list[Outcome] = []
        settled: list[Settled] = []
        for asked in batch:
            one, events = self.apply(tenant_id, [asked], now)
            outcomes += one
            settled += events
        return outcomes, settled

    def _apply(self, tenant_id: int, gather: Gather) -> tuple[list[Outcome], list[Settled]]:
        with self._books.in_turn(tenant_id, batch_rows.TURN, batch_rows.PLANNING) as conn, exact():
            batch, now = gather()
            ground, priced = self._ground(conn, tenant_id, batch, now)
            decided = decide(batch, priced, ground)
            _write(conn, tenant_id, decided, now)
        return decided.outcomes, [Settled(event, now) for _, event in decided.settled]

    # ---- What the books hold

    def _ground(
        self, conn: BooksConnection, tenant_id: int, batch: Sequence[Asked], now: datetime
    ) -> tuple[Ground, list[list[Use] | FarthingError]]:
        wishes = [asked for asked in batch if isinstance(asked, Authorize)]
        ends = {asked.key for asked in batch if not isinstance(asked, Authorize)}
        keys = ends | {asked.key for asked in wishes if not asked.check}
        concerned = batch_rows.lock_concerned(conn, tenant_id, {asked.customer for asked in wishes}, keys)
        by_id = self._terms(conn, tenant_id, concerned.customers, concerned.version)
        limited = [customer.customer_id for customer in concerned.customers if customer.limited]
        limits = limit_rows.lock_limits(conn, tenant_id, limited) if limited else {}
        ground = Ground(
            now,
            {terms.customer: terms for terms in by_id.values()},
            by_id,
            concerned.holds,
            _holders(conn, tenant_id, batch, concerned.holds),
            {customer_id: Funds(own) for customer_id, own in concerned.grants.items()},
            limits,
            of_units=holders_of_units(concerned.grants),
        )
        if limits:
            ids = [limit.limit_id for own in limits.values() for limit in own]
            ground.spending = limit_rows.select_spending(conn, tenant_id, ids, now - OLDEST_PERIOD)
        priced = [_priced(asked, ground) for asked in batch]
        self._find_places(conn, tenant_id, priced, ground)
        return ground, priced

    def _terms(
        self, conn: BooksConnection, tenant_id: int, customers: Sequence[CustomerRow], version: Version
    ) -> dict[int, CustomerTerms]:
        """What these customers are charged for: as remembered, or read anew where anything about it changed."""
        known = self._remembered.get(tenant_id)
        if known is None or known.version.meter_id != version.meter_id or len(known.terms) > REMEMBERED_MAX:
            meters = {meter.key: meter for meter in select_meters_after(conn, tenant_id, None, None)}
            known = self._remembered[tenant_id] = _Remembered(version, meters)
        elif known.version != version:
            for changed in batch_rows.select_changed_customers(conn, tenant_id, known.version, version):
                known.terms.pop(changed, None)
            known.version = version
        missing = [
            customer
            for customer in customers
            if customer.customer_id not in known.terms
            or known.touched[customer.customer_id] != customer.touched_at
        ]
        if missing:
            _read_terms(conn, tenant_id, missing, known)
            known.touched |= {customer.customer_id: customer.touched_at for customer in missing}
        return {customer.customer_id: known.terms[customer.customer_id] for customer in customers}

    def _find_places(
        self,
        conn: BooksConnection,
        tenant_id: int,
        priced: Sequence[Sequence[Use] | FarthingError],
        ground: Ground,
    ) -> None:
        """Where the ladders stand whose place matters."""
        uses = [
            use for one in priced if not isinstance(one, FarthingError) for use in one if use.kind.climbed
        ]
        if not uses:
            return
        charged = (use.kind.charged for use in uses)
        cards = {ChargeKey(one.subscription_id, one.period.start, one.card.key): one.card for one in charged}
        sealed: dict[LadderKey, Decimal] = {}
        for of, quantities in draw_store.select_positions(conn, tenant_id, cards).items():
            for dimensions, quantity in quantities.items():
                told = msgspec.json.decode(dimensions) if dimensions else {}
                for ladder in ladders_of(cards[of].price, told, None):
                    key = (of.subscription_id, of.period_start, of.rate_card, ladder.name)
                    sealed[key] = sealed.get(key, ZERO) + quantity
        ground.sealed = sealed
        if ground.of_units:
            _find_priced(conn, tenant_id, uses, ground)
        ground.climbing = rows.select_climbing(conn, tenant_id, list(ground.by_id))


def _find_priced(conn: BooksConnection, tenant_id: int, uses: Sequence[Use], ground: Ground) -> None:
    """Of what is counted only what units do not pay stands on a ladder: as it is now, and how far that may go down."""
    unit_of = {key: use.kind.unit for use in uses if use.kind.unit is not None for key in use.kind.climbed}
    places = select_unit_places(conn, tenant_id, unit_of) if unit_of else {}
    drawn = {key: quantity for key, (quantity, _) in places.items()}
    ground.sealed = {key: counted - drawn.get(key, ZERO) for key, counted in ground.sealed.items()}
    ground.freed = {key: undrawn for key, (_, undrawn) in places.items() if undrawn}


def _priced(asked: Asked, ground: Ground) -> list[Use] | FarthingError:
    try:
        return uses_of(asked, ground)
    except FarthingError as error:
        return error


def _holders(
    conn: BooksConnection, tenant_id: int, batch: Sequence[Asked], holds: dict[str, Hold]
) -> dict[str, int]:
    """The customers of events whose subject is not simply the customer's key."""
    subjects = {
        asked.event.subject
        for asked in batch
        if isinstance(asked, Settle)
        and asked.event.subject is not None
        and (hold := holds.get(asked.key)) is not None
        and hold.customer != asked.event.subject
    }
    return rows.select_holders(conn, tenant_id, subjects) if subjects else {}


def _read_terms(
    conn: BooksConnection, tenant_id: int, customers: Sequence[CustomerRow], known: _Remembered
) -> None:
    """Remember what these customers are charged for."""
    by_customer: dict[int, list[Subscription]] = {}
    versions: set[int] = set()
    for subscription in select_subscriptions_of(conn, tenant_id, [one.customer_id for one in customers]):
        by_customer.setdefault(subscription.customer_id, []).append(subscription)
        versions |= {stretch.plan_version_id for life in lives_of(subscription) for stretch in life.stretches}
    if new := versions - known.plans.keys():
        for plan_version_id, version in select_plan_versions(conn, tenant_id, new).items():
            known.plans[plan_version_id] = version.plan
    for customer in customers:
        known.terms[customer.customer_id] = CustomerTerms(
            customer.customer_id,
            customer.key,
            customer.currency,
            customer.timezone,
            by_customer.get(customer.customer_id, []),
            known.plans,
            known.meters,
        )


def _write(conn: BooksConnection, tenant_id: int, decided: Decided, now: datetime) -> None:
    """What was decided. That nobody else was quicker with one of these authorisations, constraints say."""
    opened = [hold for hold in decided.opened if hold.status is Status.HELD]
    settled = [(hold, event.line) for hold, event in decided.settled]
    movements = movements_of(decided)
    if opened or settled or decided.released or movements:
        batch = batch_rows.Batch(opened, settled, decided.released, movements)
        batch_rows.write_batch(conn, tenant_id, batch, now)
    if decided.spending:
        limit_rows.move_spending(conn, tenant_id, decided.spending)


def movements_of(decided: Decided) -> list[Movement]:
    """By how much the counters of grants move, in the order of their ids."""
    moved = sorted({*decided.held, *decided.reserved})
    movements = (
        Movement(grant_id, decided.held.get(grant_id, ZERO), decided.reserved.get(grant_id, ZERO))
        for grant_id in moved
    )
    return [movement for movement in movements if movement.held or movement.settled]


def _settled_elsewhere(asked: Asked, error: UniqueViolation) -> Conflict:
    assert isinstance(asked, Settle), f"only events are unique beside keys: {error}"
    said = f"the event {shown(asked.event.id)} of {shown(asked.event.source)} settled another authorisation"
    return Conflict("event_settled_elsewhere", said, path="event.id")


# ---- Spending limits


def put_limit(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[SpendingLimit, Spent, Made]:
    """Set a limit; one of the same customer, level, name and interval is replaced.

    One that is set below what counts against it already lets nothing more through until its period ends.

    Raises InvalidInput; NotFound `customer_not_found`.
    """
    content = parse_limit(raw)
    customer = get_customer(books, tenant_id, content.customer)
    with books.transaction(tenant_id) as conn:
        before = limit_rows.select_limits_after(conn, tenant_id, 0, None, customer.customer_id)
        limit_id = limit_rows.put_limit(conn, tenant_id, customer.customer_id, content, now)
        after = limit_rows.select_limits_after(conn, tenant_id, limit_id - 1, 1, customer.customer_id)[0]
        spent = spent_now(
            limit_rows.select_spending(conn, tenant_id, [limit_id], now - OLDEST_PERIOD), after, now
        )
    was = next((limit for limit in before if limit.limit_id == limit_id), None)
    if was is None:
        return after, spent, Made.CREATED
    return after, spent, Made.UNCHANGED if was.amount == after.amount else Made.CHANGED


def delete_limit(books: Books, tenant_id: int, limit_id: int, now: datetime) -> tuple[SpendingLimit, Spent]:
    """From now on it bounds nothing. What it was. Raises NotFound `spending_limit_not_found`."""
    with books.transaction(tenant_id) as conn:
        found = limit_rows.select_limits_after(conn, tenant_id, limit_id - 1, 1, None)
        if not found or found[0].limit_id != limit_id:
            raise NotFound("spending_limit_not_found", f"there is no spending limit {limit_id}")
        spending = limit_rows.select_spending(conn, tenant_id, [limit_id], now - OLDEST_PERIOD)
        limit_rows.remove_limit(conn, tenant_id, limit_id, now)
    return found[0], spent_now(spending, found[0], now)
