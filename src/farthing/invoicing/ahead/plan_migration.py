"""Moving subscriptions to another version of their plan: shown first, with the money, then done as shown.

{"to_version": 3, "from_versions": [1, 2], "mode": "next_period"}

mode: `now`, `next_period`, or `start_of_period` (of the period that runs: its fees and its usage are then
those of the new version).

Without `confirm` nothing is done. The answer says for each subscription what its invoices to come would be
before and after, by the code that issues them: up to the end of the period that runs, for `next_period` to
the end of the one after it, of which no usage is known yet. Its `confirm`, handed back within an hour, does
exactly that: the same subscriptions, as they stood, from the same moments. Where one of them has changed or
been invoiced in between, nothing is done (`migration_changed`). Usage that arrives meanwhile changes the
amounts before and after alike, and is no part of what is confirmed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b

import msgspec

from farthing.catalog import store as catalog_store
from farthing.catalog.model import Plan, PlanVersion
from farthing.catalog.service import all_meters, get_plan, plan_versions_by_id
from farthing.customers import store as customers_store
from farthing.customers.billable import periods_from
from farthing.customers.changes import plans_by_version
from farthing.customers.facts import AskedChange, parse_version
from farthing.customers.life import definitions_of, meters_of
from farthing.customers.model import Customer, Fact, FactContent, FactKind, NewFact, Subscription
from farthing.customers.rules import Ground, decide_change, term_at, with_fact
from farthing.customers.terms.service import all_terms
from farthing.customers.timeline import lives_of, stretch_at
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.batches import add_covers, carried_for
from farthing.invoicing.drafting.usage_reading import usage_of
from farthing.invoicing.due import due_bills, parted, with_one_offs
from farthing.invoicing.model import Cover, Draft
from farthing.invoicing.run import drafted_in_order
from farthing.invoicing.service import versions_of
from farthing.kernel.errors import Conflict, FarthingError, Fault, InvalidInput, LimitExceeded
from farthing.kernel.instant import format_instant, from_unix_microseconds, unix_microseconds
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.reading import Faults, Fields, parse_choice, parse_list, parse_text, shown
from farthing.usage.service import prepare_usage

SUBSCRIPTIONS_MAX = 200_000
"""Most subscriptions of one plan that are looked at."""
SHOWN_MAX = 1_000
"""Most subscriptions that are listed; the sums are those of all."""
FROM_VERSIONS_MAX = 1_000
CONFIRM_WITHIN = timedelta(hours=1)


class Mode(StrEnum):
    """From when on a subscription is on the new version."""

    NOW = "now"
    NEXT_PERIOD = "next_period"
    START_OF_PERIOD = "start_of_period"


@dataclass(frozen=True, slots=True)
class Asked:
    """A migration as it is asked for. from_versions None: all other versions. confirm None: only shown."""

    plan: str
    to_version: int
    from_versions: frozenset[int] | None
    mode: Mode
    confirm: str | None


@dataclass(frozen=True, slots=True)
class Move:
    """One subscription that moves, the fact that it becomes, and until when its invoices are looked at."""

    subscription: Subscription
    from_version: int
    fact: NewFact
    horizon: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """One subscription that does not move, and why."""

    subscription: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PlanMigration:
    """What a migration does, or would do. before, after: the totals of the invoices to come, by subscription id."""

    asked: Asked
    done: bool
    confirm: str
    currency: str
    moves: tuple[Move, ...]
    refused: tuple[Refusal, ...]
    before: Mapping[int, Decimal]
    after: Mapping[int, Decimal]


def migrate_plan(
    books: Books, store: EventStore, tenant_id: int, plan: str, raw: object, now: datetime
) -> PlanMigration:
    """Show what moving subscriptions to a version of their plan does, or do it.

    Raises InvalidInput `invalid_migration`, `unknown_version`; NotFound `plan_not_found`; Conflict `migration_changed`,
    `confirmation_expired`, `currency_mismatch`; LimitExceeded `too_many_subscriptions`.
    """
    asked = parse_migration(raw, plan)
    get_plan(books, tenant_id, plan)
    with books.read_only(tenant_id) as conn:
        target = catalog_store.select_plan_version(conn, tenant_id, plan, asked.to_version)
    if target is None:
        complaint = f"{shown(plan)} has no version {asked.to_version}"
        raise InvalidInput.of("unknown_version", [Fault("to_version", complaint)])
    moment = now if asked.confirm is None else _moment_of(asked.confirm, now)
    with books.read_only(tenant_id) as conn:
        ready = _ready(conn, tenant_id, asked, moment)
        confirm = _confirmation(asked, ready, moment)
        if asked.confirm is not None and (done := _done_before(conn, tenant_id, asked)):
            return PlanMigration(asked, True, asked.confirm, target.plan.currency, done, (), {}, {})
    _check(asked, confirm)
    prepare_usage(books, store, tenant_id, now)
    before = _totals(books, store, tenant_id, ready, ready.subscriptions)
    after = _totals(books, store, tenant_id, ready, [_moved(move, target) for move in ready.moves])
    found = PlanMigration(
        asked, False, confirm, target.plan.currency, ready.moves, ready.refused, before, after
    )
    if asked.confirm is None:
        return found
    with books.transaction(tenant_id) as conn:
        catalog_store.lock_catalog(conn, tenant_id)
        customers_store.lock_subscriptions(conn, tenant_id, [move.subscription.key for move in ready.moves])
        ready = _ready(conn, tenant_id, asked, moment)
        _check(asked, _confirmation(asked, ready, moment))
        facts = [
            (move.subscription.key, replace(move.fact, key=_fact_key(asked.confirm))) for move in ready.moves
        ]
        if facts:
            customers_store.insert_facts(conn, tenant_id, facts, now)
    return replace(found, done=True)


def parse_migration(raw: object, plan: str) -> Asked:
    """Raises InvalidInput `invalid_migration`, or the code of its parts where they are the only ones."""
    faults = Faults("invalid_migration")
    fields = Fields(raw, "", faults)
    to_version = fields.required("to_version", parse_version)
    from_versions = fields.optional("from_versions", _parse_versions, None)
    mode = fields.required("mode", _parse_mode)
    confirm = fields.optional("confirm", parse_text, None)
    fields.refuse_unknown()
    if from_versions and to_version in from_versions:
        faults.add("from_versions", "must not name the version that they move to")
    faults.refuse()
    return Asked(plan, to_version, from_versions, mode, confirm)


def migration_json(found: PlanMigration) -> dict[str, object]:
    """The migration as it is shown."""
    with exact():
        before, after = (sum(amounts.values(), ZERO) for amounts in (found.before, found.after))
    changing = sorted(found.moves, key=lambda move: (-abs(_difference(found, move)), move.subscription.key))
    return {
        "plan": found.asked.plan,
        "to_version": found.asked.to_version,
        "mode": found.asked.mode.value,
        "done": found.done,
        "confirm": found.confirm,
        "currency": found.currency,
        "count": len(found.moves),
        "before": plain(before),
        "after": plain(after),
        "subscriptions": [_move_json(found, move) for move in changing[:SHOWN_MAX]],
        "refused_count": len(found.refused),
        "refused": [
            {"subscription": one.subscription, "code": one.code, "message": one.message}
            for one in found.refused[:SHOWN_MAX]
        ],
    }


def _difference(found: PlanMigration, move: Move) -> Decimal:
    number = move.subscription.subscription_id
    return found.after.get(number, ZERO) - found.before.get(number, ZERO)


def _move_json(found: PlanMigration, move: Move) -> dict[str, object]:
    number = move.subscription.subscription_id
    return {
        "subscription": move.subscription.key,
        "customer": move.subscription.customer,
        "from_version": move.from_version,
        "effective_at": format_instant(move.fact.effective_at),
        "before": plain(found.before.get(number, ZERO)),
        "after": plain(found.after.get(number, ZERO)),
    }


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the books say of a migration at a moment."""

    moves: tuple[Move, ...]
    refused: tuple[Refusal, ...]
    customers: Mapping[int, Customer]
    invoiced: Mapping[str, datetime]

    @property
    def subscriptions(self) -> list[Subscription]:
        return [move.subscription for move in self.moves]


def _ready(conn: BooksConnection, tenant_id: int, asked: Asked, moment: datetime) -> _Ready:
    found = customers_store.select_subscriptions_to(conn, tenant_id, asked.plan, SUBSCRIPTIONS_MAX + 1)
    if len(found) > SUBSCRIPTIONS_MAX:
        raise LimitExceeded(
            "too_many_subscriptions", f"the plan has more than {SUBSCRIPTIONS_MAX} subscriptions"
        )
    ids = [one.subscription_id for one in found]
    customers = customers_store.select_customers_by_id(conn, tenant_id, {one.customer_id for one in found})
    invoiced = customers_store.select_invoiced_until(conn, tenant_id, ids)
    refs = catalog_store.select_plan_refs(conn, tenant_id, [asked.plan])
    definitions = definitions_of(conn, tenant_id, refs, found)
    meters = meters_of(conn, tenant_id, definitions.values(), found, ())
    moves: list[Move] = []
    refused: list[Refusal] = []
    for subscription in found:
        customer = customers[subscription.customer_id]
        ground = Ground(
            customer.currency,
            customer.timezone,
            plans_by_version(refs),
            definitions,
            meters,
            invoiced.get(subscription.key),
        )
        try:
            move = _move(subscription, asked, ground, moment)
        except FarthingError as error:
            refused.append(Refusal(subscription.key, error.code, error.message))
        else:
            if move is not None:
                moves.append(move)
    return _Ready(tuple(moves), tuple(refused), customers, invoiced)


def _move(subscription: Subscription, asked: Asked, ground: Ground, moment: datetime) -> Move | None:
    """The move of one subscription; None where it is not on a version that moves."""
    lives = lives_of(subscription)
    now = max(moment, subscription.start)
    stretch = stretch_at(lives, now)
    if stretch is None or stretch.plan != asked.plan or stretch.version == asked.to_version:
        return None
    if asked.from_versions is not None and stretch.version not in asked.from_versions:
        return None
    term = term_at(subscription, lives, ground.plans, ground.timezone, now)
    assert term is not None
    periods = periods_from(term, now)
    period = next(periods)
    horizon = period.end
    match asked.mode:
        case Mode.NOW:
            at = now
        case Mode.NEXT_PERIOD:
            at = period.end
            horizon = next(periods, period).end
        case Mode.START_OF_PERIOD:
            at = max(period.start, stretch.start)
    then = stretch_at(lives, at)
    if then is None or then.plan != asked.plan or then.version == asked.to_version:
        return None  # It has ended by then, or it is to be on another plan, or on that version already.
    content = FactContent(FactKind.PLAN, plan=asked.plan, version=asked.to_version)
    fact, standing = decide_change(subscription, AskedChange(None, at, content), ground, moment)
    return None if standing is not None else Move(subscription, stretch.version, fact, horizon)


def _moved(move: Move, target: PlanVersion) -> Subscription:
    return with_fact(move.subscription, move.fact, target.plan_version_id)


def _totals(
    books: Books, store: EventStore, tenant_id: int, ready: _Ready, subscriptions: Sequence[Subscription]
) -> dict[int, Decimal]:
    """The totals of the invoices that are still to be issued up to each one's horizon, by subscription id."""
    if not subscriptions:
        return {}
    horizons = {move.subscription.subscription_id: move.horizon for move in ready.moves}
    plans: dict[int, Plan] = plan_versions_by_id(books, tenant_id, versions_of(subscriptions))
    meters = {meter.key: meter for meter in all_meters(books, tenant_id)}
    agreed = all_terms(books, tenant_id)
    bills = [
        bill
        for bill in due_bills(subscriptions, ready.customers, plans, max(horizons.values()), agreed)
        if bill.due_since <= horizons[bill.subscription.subscription_id]
    ]
    totals: dict[int, Decimal] = dict.fromkeys(horizons, ZERO)
    covers: dict[int, list[Cover]] = {}
    with books.read_only(tenant_id) as conn:
        missing, _ = parted(bills, rows.select_issued(conn, tenant_id, horizons))
        missing = with_one_offs(missing, customers_store.select_one_offs(conn, tenant_id, unbilled=True))
        usage = usage_of(conn, store, tenant_id, meters, missing)
        add_covers(conn, tenant_id, missing, covers)
        carried = carried_for(conn, tenant_id, missing, agreed, forward=False)
    for bill, draft in drafted_in_order(missing, usage, covers, carried):
        if isinstance(draft, Draft):
            with exact():
                totals[bill.subscription.subscription_id] += draft.totals.total
    return totals


# ---- The confirmation: the moment, and a hash of what was shown at it


def _confirmation(asked: Asked, ready: _Ready, moment: datetime) -> str:
    hashed = [
        asked.plan,
        asked.to_version,
        sorted(asked.from_versions) if asked.from_versions is not None else None,
        asked.mode.value,
        [
            [
                move.subscription.key,
                move.subscription.last_change_id,
                format_instant(move.fact.effective_at),
                invoiced and format_instant(invoiced),
            ]
            for move in ready.moves
            for invoiced in (ready.invoiced.get(move.subscription.key),)
        ],
        sorted(Counter(one.code for one in ready.refused).items()),
    ]
    digest = blake2b(msgspec.json.encode(hashed), digest_size=16).hexdigest()
    return f"{unix_microseconds(moment)}-{digest}"


def _moment_of(confirm: str, now: datetime) -> datetime:
    micros = confirm.partition("-")[0]
    if not (micros.isascii() and micros.isdigit() and len(micros) <= 17):
        raise InvalidInput("invalid_confirmation", "confirm is not what a dry run answered", path="confirm")
    moment = from_unix_microseconds(int(micros))
    if moment > now or now - moment > CONFIRM_WITHIN:
        raise Conflict(
            "confirmation_expired", "what was shown is out of date: ask for it anew", path="confirm"
        )
    return moment


def _check(asked: Asked, confirm: str) -> None:
    if asked.confirm is not None and asked.confirm != confirm:
        complaint = "what it would do is not what was shown: ask for it anew"
        raise Conflict("migration_changed", complaint, path="confirm")


def _fact_key(confirm: str) -> str:
    return f"migration-{confirm}"


def _done_before(conn: BooksConnection, tenant_id: int, asked: Asked) -> tuple[Move, ...]:
    """The moves that were made under this confirmation."""
    assert asked.confirm is not None
    key = _fact_key(asked.confirm)
    found = customers_store.select_subscriptions_to(conn, tenant_id, asked.plan, SUBSCRIPTIONS_MAX)
    return tuple(
        Move(
            subscription,
            _version_before(subscription, fact),
            NewFact(key, fact.effective_at, fact.content),
            fact.effective_at,
        )
        for subscription in found
        for fact in subscription.facts
        if fact.key == key
    )


def _version_before(subscription: Subscription, fact: Fact) -> int:
    """Of the plan that the subscription was on before a fact."""
    earlier = tuple(one for one in subscription.facts if one.change_id < fact.change_id)
    stretch = stretch_at(lives_of(replace(subscription, facts=earlier)), fact.effective_at)
    return subscription.version if stretch is None else stretch.version


def _parse_mode(raw: object, path: str) -> Mode:
    return Mode(parse_choice(raw, path, tuple(Mode), code="invalid_mode"))


def _parse_versions(raw: object, path: str) -> frozenset[int]:
    faults = Faults("invalid_migration")
    versions = parse_list(raw, path, parse_version, most=FROM_VERSIONS_MAX, faults=faults)
    if raw == []:
        faults.add(path, "must have at least one item")
    faults.refuse()
    return frozenset(versions)
