"""What a customer is charged for, at a moment: the rate cards of all its subscriptions that charge usage. Pure.

The answer stays right for a while: until a period or a stretch of a subscription ends. It is kept with the
customer's subscriptions as they were read; whoever keeps them knows by their version when to read them again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farthing.catalog.model import Meter, Plan, RateCard
from farthing.customers.billable import periods_from, terms_of
from farthing.customers.model import Subscription
from farthing.customers.timeline import Life, Stretch, lives_of
from farthing.kernel.period import Period
from farthing.wallets.holds.ladders import Ladder, ladders_of
from farthing.wallets.schedule import takes_units

SLICES_KEPT = 4
KINDS_KEPT = 10_000

LadderKey = tuple[int, datetime, str, str]
"""Subscription, start of its period, rate card, ladder: what has a running quantity of its own."""


@dataclass(frozen=True, slots=True)
class ChargedCard:
    """A rate card that a subscription charges usage by, in the period that a moment lies in."""

    subscription_id: int
    subscription: str
    period: Period
    currency: str
    card: RateCard


@dataclass(frozen=True, slots=True)
class ChargedKind:
    """Usage of one meter with the same dimensions, as one rate card charges it: its ladders, each with its key.

    climbed: the keys of those on which it matters where they stand.
    unit: the meter whose units may pay for it before it is priced; None: nothing but money pays.
    """

    charged: ChargedCard
    ladders: tuple[tuple[Ladder, LadderKey], ...]
    climbed: tuple[LadderKey, ...]
    unit: str | None = None


def _kind(
    charged: ChargedCard, dimensions: Mapping[str, str], moment: datetime | None, meters: Mapping[str, Meter]
) -> ChargedKind:
    place = (charged.subscription_id, charged.period.start, charged.card.key)
    ladders = tuple(
        (ladder, (*place, ladder.name)) for ladder in ladders_of(charged.card.price, dimensions, moment)
    )
    climbed = tuple(key for ladder, key in ladders if ladder.has_places)
    unit = charged.card.meters[0] if takes_units(charged.card, meters) else None
    return ChargedKind(charged, ladders, climbed, unit)


@dataclass(frozen=True, slots=True)
class Slice:
    """What is charged for from `start` until `end` (None: open): by meter, and the meters by event type.

    named: the dimensions that prices of a meter's usage look at.
    """

    start: datetime
    end: datetime | None
    by_meter: Mapping[str, tuple[ChargedCard, ...]]
    named: Mapping[str, tuple[str, ...]]
    meters: Mapping[str, Meter]
    by_type: Mapping[str, tuple[Meter, ...]]
    _kinds: dict[object, list[ChargedKind]] = field(default_factory=dict, compare=False, repr=False)

    def charges(self, meter: str, subscription: str | None) -> bool:
        """Whether this subscription, or any where it is None, charges usage of a meter."""
        cards = self.by_meter.get(meter, ())
        if subscription is None:
            return bool(cards)
        return any(card.subscription == subscription for card in cards)

    def kinds(
        self, meter: str, subscription: str | None, dimensions: Mapping[str, str], moment: datetime | None
    ) -> list[ChargedKind]:
        """How usage of a meter with these dimensions is charged; remembered where the moment makes no difference.

        Raises InvalidInput `price_not_authorizable`.
        """
        named = self.named.get(meter, ())
        told = (meter, subscription, *[dimensions.get(name) for name in named])
        known = self._kinds.get(told)
        if known is not None:
            return known
        cards = [
            card
            for card in self.by_meter.get(meter, ())
            if subscription is None or card.subscription == subscription
        ]
        found = [_kind(card, dimensions, moment, self.meters) for card in cards]
        if not any(card.card.needs.clocks for card in cards):
            if len(self._kinds) >= KINDS_KEPT:
                self._kinds.clear()
            self._kinds[told] = found
        return found

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(slots=True)
class CustomerTerms:
    """A customer's subscriptions with their plans, and the answers that were worked out from them."""

    customer_id: int
    customer: str
    currency: str
    timezone: str
    subscriptions: Sequence[Subscription]
    plans: Mapping[int, Plan]
    meters: Mapping[str, Meter]
    _slices: list[Slice] = field(default_factory=list)

    def at(self, moment: datetime) -> Slice:
        """What is charged for at a moment."""
        for known in self._slices:
            if known.holds(moment):
                return known
        found = _slice(self, moment)
        self._slices = [found, *self._slices[: SLICES_KEPT - 1]]
        return found


def _slice(terms: CustomerTerms, moment: datetime) -> Slice:
    starts, ends = [datetime.min.replace(tzinfo=moment.tzinfo)], list[datetime]()
    by_meter: dict[str, list[ChargedCard]] = {}
    for subscription in terms.subscriptions:
        lives = lives_of(subscription)
        for life in lives:
            for stretch in life.stretches:
                if stretch.end is not None and stretch.end <= moment:
                    starts.append(stretch.end)
                elif stretch.start > moment:
                    ends.append(stretch.start)
                else:
                    starts.append(stretch.start)
                    ends += [stretch.end] if stretch.end is not None else []
                    period = _period(terms, subscription, life, moment)
                    starts.append(period.start)
                    ends.append(period.end)
                    _add(by_meter, terms, subscription, stretch, period)
    used = {key: terms.meters[key] for key in by_meter if key in terms.meters}
    by_type: dict[str, list[Meter]] = {}
    for meter in used.values():
        by_type.setdefault(meter.event_type, []).append(meter)
    return Slice(
        max(starts),
        min(ends, default=None),
        {key: tuple(cards) for key, cards in by_meter.items()},
        {key: _named(cards) for key, cards in by_meter.items()},
        used,
        {event_type: tuple(meters) for event_type, meters in by_type.items()},
    )


def _named(cards: Sequence[ChargedCard]) -> tuple[str, ...]:
    return tuple(sorted({name for card in cards for name in card.card.needs.dimensions}))


def _period(terms: CustomerTerms, subscription: Subscription, life: Life, moment: datetime) -> Period:
    """The billed period that a moment of a life lies in."""
    for term in terms_of(life, subscription.anchor, terms.plans, terms.timezone):
        if term.start <= moment and (term.end is None or moment < term.end):
            return next(periods_from(term, moment))
    raise AssertionError("the terms of a life tile it")


def _add(
    by_meter: dict[str, list[ChargedCard]],
    terms: CustomerTerms,
    subscription: Subscription,
    stretch: Stretch,
    period: Period,
) -> None:
    if not stretch.mode.charges_usage:
        return
    plan = terms.plans[stretch.plan_version_id]
    for card in stretch.rate_cards(plan):
        charged = ChargedCard(subscription.subscription_id, subscription.key, period, plan.currency, card)
        for meter in card.meters:
            by_meter.setdefault(meter, []).append(charged)
