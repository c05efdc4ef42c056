"""Whose usage is drawn as it is sealed, and by which prices. Pure.

Usage is drawn in the transaction that seals it where the quantity of a period is all that its price looks at, and
where one price holds for the whole period:

    drawn when sealed      the price counts one meter that sums or counts events, and looks at no single event;
                           the subscription runs on the same terms from the start of the period to its end, without
                           coupons and commitments
    drawn by a duty        everything else, and usage of a meter that the customer holds units of: what it comes to
                           is told by the code that would bill it (a few seconds later, or minutes), see
                           `invoicing/accruing.py`. Sealing tells how far the usage of such a meter has come: what is
                           authorised is priced behind that
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from farthing.catalog.model import Aggregation, Meter, Plan, RateCard
from farthing.customers.billable import Term, periods_from, terms_of
from farthing.customers.model import Subscription, SubscriptionAnchor
from farthing.customers.timeline import Life, Stretch, lives_of
from farthing.kernel.period import Period
from farthing.rating import Events, in_proportion
from farthing.usage.model import NO_DETAIL, Detail

Numbers = npt.NDArray[np.int64]
ADDING_UP = (Aggregation.SUM, Aggregation.COUNT)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SealedCard:
    """A rate card whose usage is drawn when it is sealed.

    in_proportion: whether it costs the same whatever came before.
    drawn: whether it is drawn then; else only its position is told, and a duty draws it.
    unit_amounts: what one unit was found to cost, by dimensions.
    """

    card: RateCard
    meter: str
    detail: Detail
    in_proportion: bool
    drawn: bool = True
    unit_amounts: dict[tuple[tuple[str, str], ...], Decimal] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Subscriptions that began alike and were never changed since: most are, so they are not told one by one.

    subscription_ids, customer_ids: whose, place by place.
    """

    plan_version_id: int
    anchor: SubscriptionAnchor
    start: datetime
    timezone: str
    subscription_ids: Sequence[int]
    customer_ids: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPeriod:
    """A period of subscriptions that share it, with the rate cards whose usage is drawn when it is sealed.

    first_place: they have the places from this one on among all that a schedule tells of.
    """

    first_place: int
    subscription_ids: Numbers
    customer_ids: Numbers
    currency: str
    period: Period
    cards: tuple[SealedCard, ...]

    @property
    def end_place(self) -> int:
        """The place behind the last one."""
        return self.first_place + len(self.subscription_ids)


_Charging = tuple[str, Period, tuple[SealedCard, ...]]
"""What a period of a subscription is charged by: the currency, when, and the rate cards."""


def drawn_when_sealed(card: RateCard, meters: Mapping[str, Meter]) -> bool:
    """Whether all that the price of a rate card looks at is a quantity that grows with each event."""
    if len(card.meters) != 1 or card.needs.events is not Events.NONE:
        return False
    meter = meters.get(card.meters[0])
    return meter is not None and meter.aggregation in ADDING_UP


def of_one_stretch(lives: Sequence[Life], period: Period) -> Stretch | None:
    """The stretch that holds for a whole period and charges its usage; None where there is no such one."""
    for life in lives:
        for stretch in life.stretches:
            if stretch.start <= period.start and (stretch.end is None or stretch.end >= period.end):
                return stretch if stretch.mode.charges_usage else None
    return None


def takes_units(card: RateCard, meters: Mapping[str, Meter]) -> bool:
    """Whether usage of a rate card may be paid with units of its meter."""
    return drawn_when_sealed(card, meters) and Detail.of(card.needs) == NO_DETAIL


def beside_units(cards: tuple[SealedCard, ...], unit_meters: frozenset[str] | None) -> tuple[SealedCard, ...]:
    """The rate cards of a customer that holds units of these meters: what units leave to be priced is told by the
    code that would bill it, so of usage of such a meter only the position is told, where the price depends on it."""
    if unit_meters is None:
        return cards
    return tuple(
        replace(card, drawn=False) if card.meter in unit_meters else card
        for card in cards
        if card.meter not in unit_meters or not card.in_proportion
    )


class Schedule:
    """The periods of subscriptions that meet a stretch of time, as far as they are drawn when sealed.

    start, end: it holds for all moments of `[start, end]`, which is as far as the periods in it reach beyond the
        stretch that was asked for. So one for the first batch of a month mostly serves the whole month.
    unit_meters: of customers with wallets of units, their meters: units pay for that usage before money does.
    """

    def __init__(
        self,
        alike: Iterable[Alike],
        changed: Iterable[Subscription],
        timezones: Mapping[int, str],
        plans: Mapping[int, Plan],
        meters: Mapping[str, Meter],
        start: datetime,
        end: datetime,
        unit_meters: Mapping[int, frozenset[str]] | None = None,
    ) -> None:
        """Of subscriptions without coupons and commitments. timezones: of the customers of those that changed."""
        self.start, self.end = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        self.periods: list[DrawnPeriod] = []
        self._first, self._last = start, end
        self._plans, self._meters = plans, meters
        self._parts: dict[Term, list[Period]] = {}
        self._cards: dict[int, tuple[SealedCard, ...]] = {}
        for some in alike:
            charged = self._found(_one_of(some), some.timezone)
            self._add(some.subscription_ids, some.customer_ids, charged, unit_meters or {})
        for one in changed:
            charged = self._found(one, timezones[one.customer_id])
            self._add([one.subscription_id], [one.customer_id], charged, unit_meters or {})

    def _add(
        self,
        subscription_ids: Sequence[int],
        customer_ids: Sequence[int],
        charged: Sequence[_Charging],
        unit_meters: Mapping[int, frozenset[str]],
    ) -> None:
        places: dict[frozenset[str] | None, list[int]] = {}
        for place, customer_id in enumerate(customer_ids):
            places.setdefault(unit_meters.get(customer_id), []).append(place)
        subscriptions = np.array(subscription_ids, dtype=np.int64)
        customers = np.array(customer_ids, dtype=np.int64)
        for units, of in places.items():
            for currency, period, cards in charged:
                if own := beside_units(cards, units):
                    first_place = self.periods[-1].end_place if self.periods else 0
                    self.periods.append(
                        DrawnPeriod(first_place, subscriptions[of], customers[of], currency, period, own)
                    )

    def holds_for(self, first: datetime, last: datetime) -> bool:
        """Whether events from `first` to `last` all lie in the time that it is of."""
        return self.start <= first and last <= self.end

    def asked(self, first: datetime, last: datetime) -> dict[tuple[str, Detail], list[DrawnPeriod]]:
        """For each meter and detail the periods, in order, that events from `first` to `last` may lie in."""
        asked: dict[tuple[str, Detail], list[DrawnPeriod]] = {}
        wanted: dict[int, list[list[DrawnPeriod]]] = {}  # by the rate cards, which most periods share
        for one in self.periods:
            if one.period.start <= last and first < one.period.end:
                lists = wanted.get(id(one.cards))
                if lists is None:
                    queries = dict.fromkeys((card.meter, card.detail) for card in one.cards)
                    lists = wanted[id(one.cards)] = [asked.setdefault(query, []) for query in queries]
                for periods in lists:
                    periods.append(one)
        return asked

    def _found(self, subscription: Subscription, timezone: str) -> list[_Charging]:
        found: list[_Charging] = []
        lives = lives_of(subscription)
        for life in lives:
            for term in terms_of(life, subscription.anchor, self._plans, timezone):
                for period in self._periods_of(term):
                    stretch = of_one_stretch((life,), period)
                    if stretch is None:
                        continue
                    plan = self._plans[stretch.plan_version_id]
                    cards = self._sealed_cards(stretch, plan)
                    if cards:
                        found.append((plan.currency, period, cards))
        return found

    def _periods_of(self, term: Term) -> list[Period]:
        """Worked out once for all that share a term: customers that began together."""
        if term not in self._parts:
            found: list[Period] = []
            if term.start <= self._last and (term.end is None or term.end > self._first):
                for period in periods_from(term, max(self._first, term.start)):
                    if period.start > self._last:
                        break
                    found.append(period)
            self._parts[term] = found
            self._bound(term, found)
        return self._parts[term]

    def _bound(self, term: Term, found: Sequence[Period]) -> None:
        """It holds for no moment of a term that lies in none of the periods found of it."""
        if not found:
            if term.start > self._last:
                self.end = min(self.end, term.start - _MOMENT)
            elif term.end is not None:
                self.start = max(self.start, term.end)
            return
        if found[0].start > term.start:
            self.start = max(self.start, found[0].start)
        if term.end is None or found[-1].end < term.end:
            self.end = min(self.end, found[-1].end - _MOMENT)

    def _sealed_cards(self, stretch: Stretch, plan: Plan) -> tuple[SealedCard, ...]:
        cards = stretch.rate_cards(plan)
        if stretch.overrides or stretch.add_ons:
            return self._made(cards)
        version = stretch.plan_version_id
        if version not in self._cards:
            self._cards[version] = self._made(cards)
        return self._cards[version]

    def _made(self, cards: Sequence[RateCard]) -> tuple[SealedCard, ...]:
        return tuple(
            SealedCard(card, card.meters[0], Detail.of(card.needs), in_proportion(card.price))
            for card in cards
            if drawn_when_sealed(card, self._meters)
        )


def _one_of(alike: Alike) -> Subscription:
    """A subscription that stands for all of them."""
    return Subscription(
        alike.subscription_ids[0],
        "",
        alike.customer_ids[0],
        "",
        alike.plan_version_id,
        "",
        0,
        alike.anchor,
        alike.start,
        None,
    )
