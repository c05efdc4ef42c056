"""What becomes of a batch of requests, given what stands in the books. Pure.

Requests that free money come first, then those that want it, each kind in the order in which it came. Each sees
what the ones before it have moved. `Decided` is what is to be written, in one transaction that has locked the
grants; nothing is decided about a grant, a limit or an authorisation that may move meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.kernel.errors import Conflict, FarthingError, InvalidInput, NotFound
from farthing.kernel.period import CALENDAR, Period, billing_periods
from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import shown
from farthing.wallets.burn_down import Funds
from farthing.wallets.holds.model import (
    Asked,
    Authorize,
    Counted,
    Done,
    HappenedEvent,
    Hold,
    Insufficient,
    Level,
    LimitReached,
    Outcome,
    Part,
    Place,
    Priced,
    Release,
    Settle,
    SpendingLimit,
    Spent,
    Status,
    UnitsWanted,
)
from farthing.wallets.holds.pricing import Range, Use, uses_of_bounds, uses_of_event
from farthing.wallets.holds.terms import CustomerTerms, LadderKey
from farthing.wallets.holds.units import ALL_THERE_IS, priced_after, units_for, wanted_of

EVENT_AHEAD_MAX = timedelta(hours=1)
"""How far in the future the event of a settlement may lie: as much as any event (`too_early_seconds`)."""
EVENT_BEFORE_MAX = timedelta(days=1)
"""How long before its authorisation it may have happened."""


@dataclass(slots=True)
class Ground:
    """What the books hold that bears on a batch, as it was locked.

    holds: those of the keys that are asked for. holders: the customers that events' subjects mean.
    sealed, climbing: what is counted on each ladder, and what authorised usage may add to it.
    of_units: the customers that have units left. freed: by how much units may yet lower what is counted and priced on
    a ladder, since they pay for what is counted without having been held for it.
    """

    now: datetime
    customers: Mapping[str, CustomerTerms]
    by_id: Mapping[int, CustomerTerms]
    holds: dict[str, Hold]
    holders: Mapping[str, int]
    funds: Mapping[int, Funds]
    limits: Mapping[int, Sequence[SpendingLimit]] = field(default_factory=dict)
    spending: dict[Counted, Spent] = field(default_factory=dict)
    sealed: Mapping[LadderKey, Decimal] = field(default_factory=dict)
    climbing: dict[LadderKey, Decimal] = field(default_factory=dict)
    of_units: frozenset[int] = frozenset()
    freed: Mapping[LadderKey, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class Decided:
    """What is to be written, and what is answered, place by place of the requests."""

    outcomes: list[Outcome]
    opened: list[Hold] = field(default_factory=list)
    settled: list[tuple[Hold, HappenedEvent]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    held: dict[int, Decimal] = field(default_factory=dict)
    reserved: dict[int, Decimal] = field(default_factory=dict)
    spending: dict[Counted, Spent] = field(default_factory=dict)


def uses_of(asked: Asked, ground: Ground) -> list[Use]:
    """What a request is charged by. Raises what it is refused with."""
    if isinstance(asked, Authorize):
        terms = ground.customers.get(asked.customer)
        if terms is None:
            raise NotFound(
                "customer_not_found", f"there is no customer {shown(asked.customer)}", path="customer"
            )
        return _uses_ahead(asked, terms, ground.now)
    hold = ground.holds.get(asked.key)
    if isinstance(asked, Settle) and hold is not None and hold.status is Status.HELD:
        _check_event(asked.event, hold, ground)
        moment = asked.event.time or ground.now
        slice_ = ground.by_id[hold.customer_id].at(moment)
        uses = uses_of_event(slice_, asked.event.type, asked.event.data, moment)
        return [use for use in uses if use.kind.charged.currency == hold.currency]
    return []


def _uses_ahead(asked: Authorize, terms: CustomerTerms, now: datetime) -> list[Use]:
    slice_ = terms.at(now)
    if not any(slice_.charges(meter, asked.subscription) for meter in slice_.by_meter):
        whose = shown(asked.customer) if asked.subscription is None else shown(asked.subscription)
        raise Conflict("not_subscribed", f"there is no subscription of {whose} that charges usage now")
    if asked.event is not None:
        uses = uses_of_event(slice_, asked.event.type, asked.event.data, None, asked.subscription)
    else:
        uses = uses_of_bounds(slice_, asked.usage, asked.subscription)
    if len({use.kind.charged.currency for use in uses}) > 1:
        said = "this usage is charged in several currencies: authorise it for one subscription"
        raise Conflict("mixed_currencies", said)
    return uses


def _check_event(event: HappenedEvent, hold: Hold, ground: Ground) -> None:
    if event.subject != hold.customer and ground.holders.get(event.subject or "") != hold.customer_id:
        said = f"must be {shown(hold.customer)} or an alias of it"
        raise InvalidInput("event_of_another_customer", f"event.subject {said}", path="event.subject")
    moment = event.time or ground.now
    if not hold.created_at - EVENT_BEFORE_MAX <= moment <= ground.now + EVENT_AHEAD_MAX:
        said = "lies too far from its authorisation; send it as an event"
        raise InvalidInput("event_time_out_of_range", f"event.time {said}", path="event.time")


def decide(
    batch: Sequence[Asked], priced: Sequence[Sequence[Use] | FarthingError], ground: Ground
) -> Decided:
    """Decide each request. `priced`: what each is charged by, or is refused with. `exact()` is in force."""
    decided = Decided([NotFound("authorization_not_found", "")] * len(batch))
    for index, asked in enumerate(batch):
        if not isinstance(asked, Authorize):
            decided.outcomes[index] = _ended(asked, priced[index], ground, decided)
    for index, asked in enumerate(batch):
        if isinstance(asked, Authorize):
            decided.outcomes[index] = _authorized(asked, priced[index], ground, decided)
    return decided


# ---- Authorise


def _authorized(
    asked: Authorize, uses: Sequence[Use] | FarthingError, ground: Ground, decided: Decided
) -> Outcome:
    standing = None if asked.check else ground.holds.get(asked.key)
    if standing is not None:
        if standing.input_hash != asked.input_hash:
            said = f"the authorisation {shown(asked.key)} was asked for with another input"
            return Conflict("idempotency_conflict", said, path="key")
        return Done(standing, again=True)
    if isinstance(uses, FarthingError):
        return uses
    terms = ground.customers[asked.customer]
    currency = uses[0].kind.charged.currency if uses else terms.currency
    funds = ground.funds.get(terms.customer_id)
    units: list[Part] = []
    wanted: tuple[UnitsWanted, ...] = ()
    if funds is not None and terms.customer_id in ground.of_units:
        units, wanted, uses = _units_held(asked, uses, funds, ground.now)
    costs = [use.worst(_ranges(use, ground)) for use in uses]
    required = sum(costs, ZERO)
    limits, reached = _limits(asked, terms, required, ground)
    parts = _taken(funds, uses, costs, ground.now) if funds is not None else []
    taken = sum((part.amount for part in parts), ZERO)
    if asked.check or reached is not None or taken < required:
        _give_back(funds, parts)
        _give_back(funds, units)
        if asked.check:
            available = _available(funds, uses, ground.now)
            return Priced(terms.customer, required, available, currency, reached, wanted)
        return reached or Insufficient(required, taken, currency, wanted)
    hold = Hold(
        asked.key,
        terms.customer_id,
        terms.customer,
        currency,
        asked.input_hash,
        required,
        (*units, *parts),
        tuple(_places(uses, ground)),
        tuple(limits),
        ground.now,
        ground.now + timedelta(seconds=asked.ttl_seconds),
    )
    decided.opened.append(hold)
    ground.holds[hold.key] = hold
    _move(decided.held, hold.held_parts, 1)
    for place in hold.places:
        _climb(ground, place, 1)
    for limit in limits:
        _spend(ground, decided, limit, required, ZERO)
    return Done(hold)


def _units_held(
    asked: Authorize, uses: Sequence[Use], funds: Funds, at: datetime
) -> tuple[list[Part], tuple[UnitsWanted, ...], list[Use]]:
    """The units that pay for a wish, how much they may pay and what there is, and what is left to be priced."""
    there: list[list[Part]] | None = None
    if asked.check:
        there = [units_for(use, funds, ALL_THERE_IS, at) for use in uses]
        for own in there:
            _give_back(funds, own)
    held = [units_for(use, funds, use.total, at) for use in uses]
    wanted = wanted_of(uses, held if there is None else there)
    return [part for own in held for part in own], wanted, priced_after(uses, held)


def _ranges(use: Use, ground: Ground) -> dict[LadderKey, Range]:
    """Where each ladder may stand when the usage is counted: all that is authorised before it may be, or not."""
    ranges: dict[LadderKey, Range] = {}
    for key in use.kind.climbed:
        counted = max(ground.sealed.get(key, ZERO), ZERO)
        low = max(counted - ground.freed.get(key, ZERO), ZERO) if ground.freed else counted
        ranges[key] = (low, counted + max(ground.climbing.get(key, ZERO), ZERO))
    return ranges


def _places(uses: Sequence[Use], ground: Ground) -> list[Place]:
    places = []
    for use in uses:
        for key, (_, high) in _ranges(use, ground).items():
            places.append(Place(*key, use.total, high))
    return places


def _taken(funds: Funds, uses: Sequence[Use], costs: Sequence[Decimal], at: datetime) -> list[Part]:
    """What the grants can give for these costs, in the order in which they burn down."""
    parts: list[Part] = []
    for use, cost in zip(uses, costs, strict=True):
        if cost > ZERO:
            parts += _taken_for(funds, use, cost, at)
    return parts


def _taken_for(funds: Funds, use: Use, cost: Decimal, at: datetime) -> list[Part]:
    charged = use.kind.charged
    taken = funds.take(cost, at, charged.card.meters, charged.card.key, charged.currency)
    return [
        Part(charged.subscription_id, charged.period.start, charged.card.key, grant_id, amount)
        for grant_id, amount in taken
    ]


def _give_back(funds: Funds | None, parts: Sequence[Part]) -> None:
    if funds is not None:
        for part in parts:
            funds.give_back(part.grant_id, part.amount)


def _available(funds: Funds | None, uses: Sequence[Use], at: datetime) -> Decimal:
    """All that the grants could give for this usage, whatever it came to."""
    if funds is None:
        return ZERO
    parts = [part for use in uses for part in _taken_for(funds, use, ALL_THERE_IS, at)]
    _give_back(funds, parts)
    return sum((part.amount for part in parts), ZERO)


# ---- Limits

OLDEST_PERIOD = timedelta(days=800)
"""No period of a limit began longer ago: the longest is a year."""


def limit_period(limit: SpendingLimit, now: datetime) -> Period:
    """The period of a limit that a moment lies in."""
    return next(billing_periods(CALENDAR, limit.interval, 1, limit.timezone, now))


def spent_now(spending: Mapping[Counted, Spent], limit: SpendingLimit, now: datetime) -> Spent:
    """What counts against a limit in its present period."""
    return spending.get(Counted(limit.limit_id, limit_period(limit, now).start), Spent(ZERO, ZERO))


def _limits(
    asked: Authorize, terms: CustomerTerms, required: Decimal, ground: Ground
) -> tuple[list[Counted], LimitReached | None]:
    """The limits that a wish counts against, and the first of them that it would exceed."""
    counted: list[Counted] = []
    for limit in ground.limits.get(terms.customer_id, ()):
        if limit.level is not Level.CUSTOMER and asked.limits.get(limit.level) != limit.name:
            continue
        period = limit_period(limit, ground.now)
        one = Counted(limit.limit_id, period.start)
        spent = ground.spending.get(one, Spent(ZERO, ZERO))
        left = limit.amount - spent.held - spent.spent
        if required > left:
            return [], LimitReached(limit, required, max(left, ZERO), limit.currency, period.end)
        counted.append(one)
    return counted, None


def _spend(ground: Ground, decided: Decided, limit: Counted, held: Decimal, spent: Decimal) -> None:
    for kept in (ground.spending, decided.spending):
        before = kept.get(limit, Spent(ZERO, ZERO))
        kept[limit] = Spent(before.held + held, before.spent + spent)


# ---- Settle and release


def _ended(
    asked: Settle | Release, uses: Sequence[Use] | FarthingError, ground: Ground, decided: Decided
) -> Outcome:
    hold = ground.holds.get(asked.key)
    if hold is None:
        return NotFound("authorization_not_found", f"there is no authorisation {shown(asked.key)}")
    if isinstance(asked, Release):
        return _released(hold, ground, decided)
    if hold.status in (Status.SETTLED, Status.COUNTED):
        same = (hold.event_source, hold.event_id, hold.event_hash)
        if same == (asked.event.source, asked.event.id, asked.event.hash):
            return Done(hold, again=True)
        return Conflict("settled_with_another_event", f"{shown(hold.key)} was settled with another event")
    if hold.status is Status.RELEASED:
        return Conflict("authorization_released", f"{shown(hold.key)} was released; send the event by itself")
    if hold.status is Status.EXPIRED or hold.expires_at <= ground.now:
        return Conflict("authorization_expired", f"{shown(hold.key)} has expired; send the event by itself")
    if isinstance(uses, FarthingError):
        return uses
    return _settled(asked, hold, uses, ground, decided)


def _settled(asked: Settle, hold: Hold, uses: Sequence[Use], ground: Ground, decided: Decided) -> Outcome:
    for place in hold.places:
        _climb(ground, place, -1)
    ends = {place[:4]: place.end for place in hold.places}
    units: list[Part] = []
    if hold.customer_id in ground.of_units:
        units, uses = _units_settled(hold, uses, ground)
    costs, places = [], list[Place]()
    for use in uses:
        ranges = {}
        for key, (low, high) in _ranges(use, ground).items():
            # Within what was reckoned with when it was authorised: what came later was reckoned behind it.
            ranges[key] = (low, max(low, min(ends.get(key, high), high)))
            places.append(Place(*key, use.total, ranges[key][1]))
        costs.append(use.worst(ranges, exactly=True))
    parts = _covered(hold, uses, costs, ground)
    cost, covered = sum(costs, ZERO), sum((part.amount for part in parts), ZERO)
    settled = hold._replace(
        places=tuple(places),
        status=Status.SETTLED,
        ended_at=ground.now,
        cost=cost,
        covered=covered,
        settled_parts=(*units, *parts),
        event_source=asked.event.source,
        event_id=asked.event.id,
        event_hash=asked.event.hash,
    )
    decided.settled.append((settled, asked.event))
    ground.holds[hold.key] = settled
    _move(decided.held, hold.held_parts, -1)
    _move(decided.reserved, settled.settled_parts, 1)
    for place in settled.places:
        _climb(ground, place, 1)
    for limit in hold.limits:
        _spend(ground, decided, limit, -hold.amount, cost)
    return Done(settled)


def _units_settled(hold: Hold, uses: Sequence[Use], ground: Ground) -> tuple[list[Part], list[Use]]:
    """The units that pay for an event: those that were held, then what is free; and what is left to be priced."""
    funds = ground.funds[hold.customer_id]
    held = [part for part in hold.held_parts if part.unit is not None]
    wanted = [max(use.total, ZERO) if use.kind.unit is not None else ZERO for use in uses]
    found, missing = _from_held(held, uses, wanted, funds)
    for own, use, more in zip(found, uses, missing, strict=True):
        own += units_for(use, funds, more, ground.now)
    return [part for own in found for part in own], priced_after(uses, found)


def _covered(hold: Hold, uses: Sequence[Use], costs: Sequence[Decimal], ground: Ground) -> list[Part]:
    """What pays for an event: what was held for its rate card, what was held for others, then what is available."""
    funds = ground.funds.get(hold.customer_id)
    held = [part for part in hold.held_parts if part.unit is None]
    found, missing = _from_held(held, uses, costs, funds)
    parts = [part for own in found for part in own]
    if funds is not None:
        parts += _taken(funds, uses, missing, ground.now)
    return parts


def _from_held(
    held: Sequence[Part], uses: Sequence[Use], wanted: Sequence[Decimal], funds: Funds | None
) -> tuple[list[list[Part]], list[Decimal]]:
    """What of parts that are held pays for so much of each use, and what of each is missing; the rest is free again."""
    left = [part.amount for part in held]
    missing = [max(want, ZERO) for want in wanted]
    found: list[list[Part]] = [[] for _ in uses]
    for own_card in (True, False):
        for place, part in enumerate(held):
            for index, use in enumerate(uses):
                charged = use.kind.charged
                key = (charged.subscription_id, charged.card.key)
                fits = key == (part.subscription_id, part.rate_card)
                if own_card is not fits or (not own_card and not _may_pay(funds, part, use)):
                    continue
                used = min(left[place], missing[index])
                if used > ZERO:
                    left[place] -= used
                    missing[index] -= used
                    found[index].append(
                        Part(*key[:1], charged.period.start, key[1], part.grant_id, used, part.unit)
                    )
    if funds is not None:
        for place, part in enumerate(held):
            funds.give_back(part.grant_id, left[place])
    return found, missing


def _may_pay(funds: Funds | None, part: Part, use: Use) -> bool:
    """Whether what is held for one rate card may pay for the usage of another."""
    grants = () if funds is None else funds.grants
    card = use.kind.charged.card
    return any(
        grant.grant_id == part.grant_id and grant.scope.covers(card.meters, card.key) for grant in grants
    )


def _released(hold: Hold, ground: Ground, decided: Decided) -> Outcome:
    if hold.status in (Status.SETTLED, Status.COUNTED):
        return Conflict("authorization_settled", f"{shown(hold.key)} is settled: its call has happened")
    if hold.status is not Status.HELD:
        return Done(hold, again=True)
    ended = hold._replace(places=(), status=Status.RELEASED, ended_at=ground.now)
    decided.released.append(hold.key)
    ground.holds[hold.key] = ended
    let_go(hold, ground, decided)
    return Done(ended)


def let_go(hold: Hold, ground: Ground, decided: Decided) -> None:
    """What an open authorisation holds is free again. `exact()` is in force."""
    _move(decided.held, hold.held_parts, -1)
    _give_back(ground.funds.get(hold.customer_id), hold.held_parts)
    for place in hold.places:
        _climb(ground, place, -1)
    for limit in hold.limits:
        _spend(ground, decided, limit, -hold.amount, ZERO)


def _move(moved: dict[int, Decimal], parts: Sequence[Part], sign: int) -> None:
    for part in parts:
        moved[part.grant_id] = moved.get(part.grant_id, ZERO) + sign * part.amount


def _climb(ground: Ground, place: Place, sign: int) -> None:
    key = place[:4]
    ground.climbing[key] = ground.climbing.get(key, ZERO) + sign * place.quantity
