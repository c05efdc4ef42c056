"""What a subscription is, and when: its facts, folded into stretches. Pure.

    facts       12 January: team        20 January: 8 seats        5 March: cancelled
    stretches   [1 Jan, 12 Jan) pro     [12 Jan, 20 Jan) team      [20 Jan, 5 Mar) team, 8 seats

A subscription has a life from its start until it is cancelled, and another one from each reactivation.
The stretches of a life tile it: no gap, no overlap, each other than its neighbours. Facts count in the
order of their moments, among those of one moment in the order in which they were made; a withdrawn fact
does not count at all. What makes no difference (to resume what is not paused) makes none here either:
whether it may be asked for is decided where it is written (`rules.py`).

- A plan comes with the quantities and overrides that it states. Quantities stay for the rate cards of
  the same keys. Overrides stay for another version of the same plan, and end with a plan of another key.
- Add-ons stay whatever the plan is.
- A reactivation brings back what was in force, running.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.catalog.model import Plan, RateCard
from farthing.customers.model import Fact, FactKind, Subscription
from farthing.kernel.quantity import ONE
from farthing.rating import Price


class Mode(StrEnum):
    """What is charged in a stretch: everything, usage alone, or nothing."""

    RUNNING = "running"
    PAUSED = "paused"
    TRIAL = "trial"
    USAGE_CHARGED = "usage_charged"

    @property
    def status(self) -> str:
        """As it is shown: active, paused or trial."""
        return {Mode.RUNNING: "active", Mode.PAUSED: "paused"}.get(self, "trial")

    @property
    def charges_fees(self) -> bool:
        return self is Mode.RUNNING

    @property
    def charges_usage(self) -> bool:
        return self in (Mode.RUNNING, Mode.USAGE_CHARGED)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time `[start, end)` over which nothing about a subscription changes; end None is open."""

    start: datetime
    end: datetime | None
    plan_version_id: int
    plan: str
    version: int
    mode: Mode = Mode.RUNNING
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    overrides: Mapping[str, Price] = field(default_factory=dict)
    add_ons: tuple[RateCard, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it charges what its plan says and nothing else."""
        return self.mode is Mode.RUNNING and not (self.quantities or self.overrides or self.add_ons)

    def rate_cards(self, plan: Plan) -> tuple[RateCard, ...]:
        """What is charged for: the plan's rate cards at the customer's own prices, then the add-ons."""
        if not self.overrides and not self.add_ons:
            return plan.rate_cards
        return tuple(
            replace(card, price=self.overrides[card.key]) if card.key in self.overrides else card
            for card in (*plan.rate_cards, *self.add_ons)
        )

    def quantity(self, rate_card: str) -> Decimal:
        """How many of a fixed fee; one unless it was said."""
        return self.quantities.get(rate_card, ONE)


@dataclass(frozen=True, slots=True)
class Life:
    """A subscription from its start, or a reactivation, until it is cancelled (None: not yet).

    refund_unused: whether what was paid for the time after the end is credited.
    """

    start: datetime
    end: datetime | None
    refund_unused: bool
    stretches: tuple[Stretch, ...]


def lives_of(subscription: Subscription) -> tuple[Life, ...]:
    """Every life of a subscription, in order. There is none where it was cancelled before it began."""
    if not subscription.facts:
        return (Life(subscription.start, None, True, (_first_stretch(subscription),)),)
    fold = _Fold(_first_stretch(subscription))
    for fact in standing_facts(subscription.facts):
        fold.apply(fact)
    return fold.lives()


def standing_facts(facts: Iterable[Fact]) -> list[Fact]:
    """The facts that count, in the order in which they do: those called off are left out, as are their callers-off."""
    kept = list(facts)
    withdrawn = {fact.withdraws for fact in kept if fact.withdraws is not None}
    return sorted(
        (fact for fact in kept if fact.withdraws is None and fact.change_id not in withdrawn),
        key=lambda fact: (fact.effective_at, fact.change_id),
    )


def stretch_at(lives: Iterable[Life], moment: datetime) -> Stretch | None:
    """The stretch that a moment lies in; None where the subscription does not run then."""
    for life in lives:
        for stretch in life.stretches:
            if stretch.start <= moment and (stretch.end is None or moment < stretch.end):
                return stretch
    return None


def end_of(lives: tuple[Life, ...], start: datetime) -> datetime | None:
    """When a subscription ends for good, as far as is known."""
    return lives[-1].end if lives else start


def _first_stretch(subscription: Subscription) -> Stretch:
    return Stretch(
        subscription.start, None, subscription.plan_version_id, subscription.plan, subscription.version
    )


class _Fold:
    """The state that facts are applied to, one after another, and the lives that have come of it."""

    def __init__(self, first: Stretch) -> None:
        self._now: Stretch = first
        """What holds since its start; of a subscription that does not run, what would hold."""
        self._running = True
        self._paused = False
        self._trial_end: datetime | None = None
        self._usage_charged = False
        self._stretches: list[Stretch] = []
        self._lives: list[Life] = []

    def apply(self, fact: Fact) -> None:
        at = max(fact.effective_at, self._now.start)
        self._pass_time(at)
        content = fact.content
        match content.kind:
            case FactKind.CANCEL:
                self._cancel(at, content.refund_unused)
                return
            case FactKind.REACTIVATE:
                if not self._running:
                    self._now = replace(self._now, start=at)
                    self._running, self._paused, self._trial_end = True, False, None
            case FactKind.PAUSE | FactKind.RESUME:
                self._paused = content.kind is FactKind.PAUSE
            case FactKind.TRIAL:
                self._trial_end, self._usage_charged = content.trial_end, content.usage_charged
            case _:
                self._turn(at, _with_terms(self._now, fact))
        self._turn(at, self._now)

    def lives(self) -> tuple[Life, ...]:
        if self._trial_end is not None:
            self._pass_time(self._trial_end)
        if self._running:
            self._close(None, True)
        return tuple(self._lives)

    def _pass_time(self, to: datetime) -> None:
        """A trial ends by itself."""
        if self._trial_end is not None and self._trial_end <= to:
            ended, self._trial_end = self._trial_end, None
            self._turn(max(ended, self._now.start), self._now)

    def _turn(self, at: datetime, changed: Stretch) -> None:
        """From `at` on this holds."""
        if self._running and at > self._now.start:
            self._stretches.append(replace(self._now, end=at))
        self._now = replace(changed, start=at, end=None, mode=self._mode(at))

    def _mode(self, at: datetime) -> Mode:
        if self._paused:
            return Mode.PAUSED
        if self._trial_end is None or self._trial_end <= at:
            return Mode.RUNNING
        return Mode.USAGE_CHARGED if self._usage_charged else Mode.TRIAL

    def _cancel(self, at: datetime, refund_unused: bool) -> None:
        if self._running:
            self._close(at, refund_unused)
            self._running, self._trial_end = False, None
            self._now = replace(self._now, start=at)

    def _close(self, end: datetime | None, refund_unused: bool) -> None:
        if end is None or end > self._now.start:
            self._stretches.append(replace(self._now, end=end))
        if self._stretches:
            stretches = tuple(_joined(self._stretches))
            self._lives.append(Life(stretches[0].start, end, refund_unused, stretches))
        self._stretches = []


def _with_terms(now: Stretch, fact: Fact) -> Stretch:
    """What holds once plan, quantities, overrides or add-ons have changed."""
    content = fact.content
    overrides = dict(now.overrides)
    if content.kind is FactKind.PLAN:
        assert content.plan is not None
        assert content.version is not None
        assert fact.plan_version_id is not None
        if content.plan != now.plan:
            kept = {card.key for card in now.add_ons}
            overrides = {card: price for card, price in overrides.items() if card in kept}
        now = replace(now, plan_version_id=fact.plan_version_id, plan=content.plan, version=content.version)
    for card, price in (content.overrides or {}).items():
        if price is None:
            overrides.pop(card, None)
        else:
            overrides[card] = price
    add_ons = now.add_ons
    quantities = dict(now.quantities)
    gone = content.add_on if content.rate_card is None else content.rate_card.key
    if gone is not None:
        add_ons = tuple(card for card in add_ons if card.key != gone)
        overrides.pop(gone, None)
        quantities.pop(gone, None)
    quantities |= content.quantities or {}
    if content.rate_card is not None:
        add_ons = (*add_ons, content.rate_card)
    return replace(now, quantities=quantities, overrides=overrides, add_ons=add_ons)


def _joined(stretches: Iterable[Stretch]) -> Iterable[Stretch]:
    """Neighbours that are the same are one."""
    last: Stretch | None = None
    for stretch in stretches:
        if last is not None and replace(stretch, start=last.start, end=last.end) == last:
            last = replace(last, end=stretch.end)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last
