"""Random lives, billed at random moments: what all invoices sum to is what the timeline owes, to the digit.

The second calculation knows nothing of invoices, credits or coverage. It cuts time wherever anything can
change, asks for each piece which facts hold (by its own reading of them), and adds fee x how many x share.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from life_ledger import Ledger, fee, plan

from farthing.customers.model import Fact, FactKind
from farthing.invoicing.model import FeeKey
from farthing.kernel.errors import Conflict, InvalidInput
from farthing.kernel.instant import zone_named
from farthing.kernel.period import Interval, billing_periods

START = datetime(2024, 1, 1, tzinfo=UTC)
LAST_DAY = 150
CARDS: dict[tuple[str, int], dict[str, tuple[int, int]]] = {
    # plan and version -> rate card -> (fee, whether in advance)
    ("pro", 1): {"base": (31, 1), "late": (7, 0)},
    ("pro", 2): {"base": (40, 1), "seat": (3, 1)},
    ("team", 1): {"base": (31, 1), "seat": (5, 1), "late": (11, 0)},
    ("year", 1): {"base": (365, 1)},
}
INTERVALS = {"pro": "month", "team": "month", "year": "quarter"}


def plans(proration: str) -> list[Any]:
    return [
        plan(
            key,
            *(
                fee(str(amount), card, "advance" if ahead else "arrears")
                for card, (amount, ahead) in cards.items()
            ),
            proration=proration,
            interval=INTERVALS[key],
        )
        for (key, _), cards in CARDS.items()
    ]


# ---- The second calculation


@dataclass
class State:
    plan: tuple[str, int] = ("pro", 1)
    running: bool = True
    paused: bool = False
    trial_end: datetime | None = None
    term_start: datetime = START


def owed(facts: list[Fact], until: datetime, anchor: Any, timezone: str, proration: str) -> Fraction:
    """The sum of all fees of all time before `until`."""
    off = {fact.withdraws for fact in facts}
    counting = sorted(
        (fact for fact in facts if fact.withdraws is None and fact.change_id not in off),
        key=lambda fact: (fact.effective_at, fact.change_id),
    )
    moments = {START, until, *(fact.effective_at for fact in counting)}
    moments |= {fact.content.trial_end for fact in counting if fact.content.trial_end is not None}
    state, quantities, overrides, add_ons = State(), defaultdict(lambda: 1), {}, {}
    total = Fraction(0)
    cuts = sorted(moment for moment in moments if moment is not None and START <= moment <= until)
    for start, end in pairwise(cuts):
        for fact in counting:
            if fact.effective_at == start:
                apply(fact, state, quantities, overrides, add_ons)
        free = state.trial_end is not None and start < state.trial_end
        if not state.running or state.paused or free:
            continue
        cards = {card: overrides.get(card, amount) for card, (amount, _) in CARDS[state.plan].items()}
        cards |= {card: overrides.get(card, amount) for card, amount in add_ons.items()}
        each = sum(Fraction(amount) * quantities[card] for card, amount in cards.items())
        total += each * share(start, end, state, anchor, timezone, proration)
    return total


def apply(  # noqa: C901  one case for each kind
    fact: Fact, state: State, quantities: Any, overrides: Any, add_ons: Any
) -> None:
    content, moment = fact.content, fact.effective_at
    match content.kind:
        case FactKind.PLAN:
            if content.plan != state.plan[0]:
                for card in [card for card in overrides if card not in add_ons]:
                    del overrides[card]
                if INTERVALS[content.plan or ""] != INTERVALS[state.plan[0]]:
                    state.term_start = moment
            state.plan = (content.plan or "", content.version or 0)
        case FactKind.CANCEL:
            if state.running:
                state.running, state.trial_end = False, None
        case FactKind.REACTIVATE:
            if not state.running:
                state.running, state.paused, state.trial_end, state.term_start = True, False, None, moment
        case FactKind.PAUSE:
            state.paused = True
        case FactKind.RESUME:
            state.paused = False
        case FactKind.TRIAL:
            state.trial_end = content.trial_end
        case FactKind.ADD_ON:
            assert content.rate_card is not None
            add_ons[content.rate_card.key] = int(content.rate_card.price.model.amount)
        case FactKind.REMOVE_ADD_ON:
            # Of an add-on that was called off there is nothing to remove.
            (
                add_ons.pop(content.add_on, None),
                overrides.pop(content.add_on, None),
                quantities.pop(content.add_on, None),
            )
    for card, number in (content.quantities or {}).items():
        quantities[card] = int(number)
    for card, price in (content.overrides or {}).items():
        if price is None:
            overrides.pop(card, None)
        else:
            overrides[card] = int(price.model.amount)


def share(
    start: datetime, end: datetime, state: State, anchor: Any, timezone: str, proration: str
) -> Fraction:
    """How many full periods a piece of time is, counted period by period."""
    origin = state.term_start if anchor == "anniversary" else anchor
    interval = Interval(INTERVALS[state.plan[0]])
    found = Fraction(0)
    for period in billing_periods(origin, interval, 1, timezone, start):
        if period.start >= end:
            return found
        first, last = max(start, period.start), min(end, period.end)
        if proration == "second":
            found += Fraction((last - first) / timedelta(microseconds=1)) / Fraction(
                (period.end - period.start) / timedelta(microseconds=1)
            )
        else:
            days = [local_day(moment, timezone) for moment in (first, last, period.start, period.end)]
            found += Fraction((days[1] - days[0]).days, (days[3] - days[2]).days)
    raise AssertionError


def local_day(moment: datetime, timezone: str) -> date:
    return moment.astimezone(zone_named(timezone)).date()


# ---- Random lives

moments = st.integers(0, LAST_DAY * 24 * 4).map(lambda quarter: START + timedelta(minutes=15 * quarter))
days = st.integers(0, LAST_DAY).map(lambda day: START + timedelta(days=day))
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("plan", {"plan": "pro", "version": 1}),
    ("plan", {"plan": "pro", "version": 2}),
    ("plan", {"plan": "team"}),
    ("plan", {"plan": "team", "quantities": {"seat": "4"}}),
    ("plan", {"plan": "year"}),
    ("plan", {"plan": "pro", "version": 1, "invoice": "now"}),
    ("quantity", {"quantities": {"seat": "3"}}),
    ("quantity", {"quantities": {"seat": "0"}}),
    ("quantity", {"quantities": {"base": "2"}, "invoice": "now"}),
    ("override", {"overrides": {"base": {"model": "flat", "amount": "13"}}}),
    ("override", {"overrides": {"base": None}}),
    ("add_on", {"rate_card": fee("17", "extra")}),
    ("add_on", {"rate_card": fee("19", "extra", "arrears")}),
    ("remove_add_on", {"add_on": "extra"}),
    ("pause", {}),
    ("resume", {}),
    ("cancel", {}),
    ("reactivate", {}),
    ("trial", {"until": "2024-01-20T06:00:00Z"}),
    ("trial", {"until": "2024-02-10T00:00:00Z"}),
]
whens = st.none() | st.just("period_end") | moments | days
steps = st.one_of(
    st.tuples(st.just("bill"), moments | days, st.none()),
    st.tuples(
        st.just("change"),
        moments | days,
        st.tuples(st.sampled_from(BODIES), st.none() | st.just("period_end") | moments | days),
    ),
    st.tuples(st.just("withdraw"), moments | days, st.integers(0, 20)),
)


def live(ledger: Ledger, history: list[Any]) -> None:
    """Changes and billing runs in the order of their moments; what is refused is left out."""
    for what, moment, detail in sorted(history, key=lambda step: step[1]):
        try:
            if what == "bill":
                ledger.bill(moment)
            elif what == "withdraw":
                facts = [fact for fact in ledger.subscription.facts if fact.withdraws is None]
                taken = {fact.withdraws for fact in ledger.subscription.facts}
                facts = [fact for fact in facts if fact.change_id not in taken]
                if facts:
                    ledger.withdraw(facts[detail % len(facts)], moment)
            else:
                (kind, body), when = detail
                at = (
                    {}
                    if when is None
                    else {"at": when if isinstance(when, str) else f"{when:%Y-%m-%dT%H:%M:%SZ}"}
                )
                ledger.change(moment, kind, **body, **at)
        except (InvalidInput, Conflict):
            continue
        check_never_more_credited_than_charged(ledger)


def check_never_more_credited_than_charged(ledger: Ledger) -> None:
    """For every fee, and at every moment of its time."""
    standing: dict[FeeKey, Fraction] = defaultdict(Fraction)
    for line in ledger.lines:
        assert line.fee is not None
        standing[line.fee] += Fraction(line.amount_exact)
        assert 0 <= standing[line.fee] <= Fraction(line.fee.amount * line.fee.quantity)


CALLED_OFF = [
    ("change", START + timedelta(days=1), (BODIES[11], START + timedelta(days=10))),
    ("change", START + timedelta(days=2), (BODIES[13], START + timedelta(days=40))),
    ("withdraw", START + timedelta(days=3), 0),
    ("bill", START + timedelta(days=70), None),
]
"""An add-on, its removal, and then the add-on is called off: the removal stands and removes nothing."""


@example(history=CALLED_OFF, anchor="calendar", timezone="UTC", proration="day")
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=st.lists(steps, min_size=1, max_size=14),
    anchor=st.sampled_from(["calendar", "anniversary", date(2023, 12, 31)]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    proration=st.sampled_from(["second", "day"]),
)
def test_all_invoices_sum_to_what_the_timeline_owes(
    history: list[Any], anchor: Any, timezone: str, proration: str
) -> None:
    ledger = Ledger(plans(proration), START, anchor, timezone)
    live(ledger, history)
    end = START + timedelta(days=LAST_DAY + 10)
    if ledger.subscription.end is None:
        ledger.change(end - timedelta(days=3), "cancel", at=f"{end:%Y-%m-%dT%H:%M:%SZ}")
    last = ledger.subscription.end
    assert last is not None
    ledger.bill(max(end, last) + timedelta(days=1))
    check_never_more_credited_than_charged(ledger)
    billed = sum((Fraction(line.amount_exact) for line in ledger.lines), Fraction(0))
    expected = owed(list(ledger.subscription.facts), last, anchor, timezone, proration)
    assert abs(billed - expected) <= Fraction(len(ledger.lines) + 1, 10**18)
    assert ledger.bill(last + timedelta(days=400)) == [], "and nothing more is ever billed"
