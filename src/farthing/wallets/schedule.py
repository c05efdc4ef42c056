"""Whose usage is drawn as it is sealed, and by which prices. Pure.

Usage is drawn in the transaction that seals it where the quantity of a period is all that its price looks at, and
where one price holds for the whole period:

    drawn when sealed      the price counts one meter that sums or counts events, and looks at no single event;
                           the subscription runs on the same terms from the start of the period to its end, without
                           coupons and commitments
    drawn by a duty        everything else: what it comes to is told by the code that would bill it (a few seconds
                           later, or minutes), see `invoicing/accruing.py`
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from farthing.catalog.model import Aggregation, Meter, Plan, RateCard
from farthing.customers.billable import Term, periods_from, terms_of
from farthing.customers.model import Subscription
from farthing.customers.terms.model import Terms
from farthing.customers.timeline import Life, Stretch, lives_of
from farthing.kernel.period import Period
from farthing.rating import Events, in_proportion
from farthing.usage.model import Detail

_ADDING_UP = (Aggregation.SUM, Aggregation.COUNT)


@dataclass(frozen=True, slots=True)
class SealedCard:
    """A rate card whose usage is drawn when it is sealed.

    in_proportion: whether it costs the same whatever came before.
    unit_amounts: what one unit was found to cost, by dimensions.
    """

    card: RateCard
    meter: str
    detail: Detail
    in_proportion: bool
    unit_amounts: dict[tuple[tuple[str, str], ...], Decimal] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class DrawnPeriod:
    """A period of a subscription, with the rate cards whose usage is drawn when it is sealed."""

    subscription_id: int
    customer_id: int
    currency: str
    period: Period
    cards: tuple[SealedCard, ...]


def drawn_when_sealed(card: RateCard, meters: Mapping[str, Meter]) -> bool:
    """Whether all that the price of a rate card looks at is a quantity that grows with each event."""
    if len(card.meters) != 1 or card.needs.events is not Events.NONE:
        return False
    meter = meters.get(card.meters[0])
    return meter is not None and meter.aggregation in _ADDING_UP


def of_one_stretch(lives: Sequence[Life], period: Period) -> Stretch | None:
    """The stretch that holds for a whole period and charges its usage; None where there is no such one."""
    for life in lives:
        for stretch in life.stretches:
            if stretch.start <= period.start and (stretch.end is None or stretch.end >= period.end):
                return stretch if stretch.mode.charges_usage else None
    return None


class Schedule:
    """The periods of subscriptions that meet a stretch of time `[start, end]`, as far as they are drawn when sealed."""

    def __init__(
        self,
        subscriptions: Iterable[Subscription],
        timezones: Mapping[int, str],
        plans: Mapping[int, Plan],
        terms: Mapping[int, Terms],
        meters: Mapping[str, Meter],
        start: datetime,
        end: datetime,
    ) -> None:
        self.start, self.end = start, end
        self.periods: list[DrawnPeriod] = []
        self._plans, self._meters = plans, meters
        self._parts: dict[Term, list[Period]] = {}
        self._cards: dict[int, tuple[SealedCard, ...]] = {}
        for subscription in subscriptions:
            if not terms.get(subscription.subscription_id):
                self._add(subscription, timezones[subscription.customer_id])

    def holds_for(self, first: datetime, last: datetime) -> bool:
        """Whether events from `first` to `last` all lie in the time that it is of."""
        return self.start <= first and last <= self.end

    def _add(self, subscription: Subscription, timezone: str) -> None:
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
                        self.periods.append(
                            DrawnPeriod(
                                subscription.subscription_id,
                                subscription.customer_id,
                                plan.currency,
                                period,
                                cards,
                            )
                        )

    def _periods_of(self, term: Term) -> list[Period]:
        """Worked out once for all that share a term: customers that began together."""
        if term not in self._parts:
            found: list[Period] = []
            if term.start <= self.end and (term.end is None or term.end > self.start):
                for period in periods_from(term, max(self.start, term.start)):
                    if period.start > self.end:
                        break
                    found.append(period)
            self._parts[term] = found
        return self._parts[term]

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
