"""How a subscription begins: trial, phases, add-ons, and the facts that they become.

{"trial": {"days": 14, "usage": "charged"}}      {"trial": {"until": "2024-01-15T00:00:00Z"}}
{"phases": [{"plan": "ramp", "quantities": {"seats": "5"}, "duration": {"interval": "month", "count": 3}},
            {"plan": "ramp", "quantities": {"seats": "20"}, "until": "2025-01-01T00:00:00Z"}, {"plan": "payg"}]}
{"add_ons": [{"key": "support", "name": "Support", "price": {"model": "flat", "amount": "99"}}]}

Phases follow each other, so they cannot overlap: each lasts until its moment, or for its duration by the
customer's calendar from its own beginning. The last one may be open; where it ends, the subscription ends.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from farthing.catalog.model import RateCard
from farthing.catalog.plan import parse_rate_card
from farthing.customers.facts import parse_terms
from farthing.customers.model import (
    Duration,
    FactContent,
    FactKind,
    NewFact,
    Phase,
    SubscriptionContent,
    Trial,
)
from farthing.kernel.instant import parse_instant
from farthing.kernel.period import (
    INTERVAL_COUNT_MAX,
    Interval,
    billing_periods,
    parse_interval,
    parse_interval_count,
)
from farthing.kernel.reading import Faults, Fields, parse_choice, parse_count, parse_list, refuse_repeated

PHASES_MAX = 120
ADD_ONS_MAX = 100
TERMS = ("plan", "version", "quantities", "overrides")

_USAGE = ("free", "charged")


def opening_facts(content: SubscriptionContent, timezone: str) -> list[NewFact]:
    """What a new subscription begins with beside its plan, as facts, in order.

    Their keys tell what they were: `start-trial`, `phase-2`, `end`.
    """
    return list(_opening(content, timezone))


def opens_with_facts(content: SubscriptionContent) -> bool:
    """Whether there is anything beside its plan to say of how it begins."""
    return bool(content.add_ons or content.quantities or content.overrides or content.trial or content.phases)


def _opening(content: SubscriptionContent, timezone: str) -> Iterator[NewFact]:
    start = content.start
    for card in content.add_ons or ():
        yield NewFact(f"start-add-on-{card.key}", start, FactContent(FactKind.ADD_ON, rate_card=card))
    if content.quantities:
        yield NewFact(
            "start-quantities", start, FactContent(FactKind.QUANTITY, quantities=content.quantities)
        )
    if content.overrides:
        yield NewFact("start-overrides", start, FactContent(FactKind.OVERRIDE, overrides=content.overrides))
    if content.trial is not None:
        until = _after(content.trial.until, start, timezone)
        trial = FactContent(FactKind.TRIAL, trial_end=until, usage_charged=content.trial.usage_charged)
        yield NewFact("start-trial", start, trial)
    begins: datetime | None = start
    for number, phase in enumerate(content.phases, start=1):
        assert begins is not None
        if number > 1:
            yield NewFact(f"phase-{number}", begins, _phase_content(phase))
        begins = None if phase.until is None else _after(phase.until, begins, timezone)
    end = content.end if content.end is not None else begins if content.phases else None
    if end is not None:
        yield NewFact("end", end, FactContent(FactKind.CANCEL))


def parse_trial(raw: object, path: str) -> Trial:
    """`{"days": 14}` or `{"until": ...}`, with `usage: charged` where only fees are free."""
    faults = Faults("invalid_trial")
    fields = Fields(raw, path, faults)
    days = fields.optional("days", _parse_days, None)
    until = fields.optional("until", parse_instant, None)
    usage = fields.optional(
        "usage", lambda raw, path: parse_choice(raw, path, _USAGE, code="invalid_usage"), "free"
    )
    fields.refuse_unknown()
    if fields.is_object and ("days" in fields) == ("until" in fields):
        faults.add(path, "must say either days or until")
    faults.refuse()
    length = Duration(Interval.DAY, days) if days is not None else until
    assert length is not None
    return Trial(length, usage == "charged")


def parse_phases(raw: object, path: str) -> tuple[Phase, ...]:
    """Phases in order; all but the last say how long they last."""
    faults = Faults("invalid_phases")
    phases = parse_list(raw, path, _parse_phase, most=PHASES_MAX, faults=faults)
    if raw == []:
        faults.add(path, "must have at least one item")
    if not len(faults):
        for place, phase in enumerate(phases[:-1]):
            if phase.until is None:
                faults.add(f"{path}[{place}]", "must say until or duration: another phase follows")
    faults.refuse()
    return tuple(phases)


def parse_add_ons(raw: object, path: str) -> tuple[RateCard, ...]:
    """Rate cards beside those of the plan."""
    faults = Faults("invalid_subscription")
    cards = parse_list(raw, path, parse_rate_card, most=ADD_ONS_MAX, faults=faults)
    refuse_repeated(raw, path, faults)
    faults.refuse()
    return tuple(cards)


def check_order(start: datetime, phases: Sequence[Phase], path: str, faults: Faults) -> None:
    """Each phase ends after it begins, as far as that can be told without a calendar."""
    begins = start
    for place, phase in enumerate(phases):
        if isinstance(phase.until, datetime):
            if phase.until <= begins:
                complaint = "must be later than the beginning of the phase: phases follow each other"
                faults.add(f"{path}[{place}].until", complaint, code="invalid_phases")
            begins = phase.until


def _phase_content(phase: Phase) -> FactContent:
    return FactContent(
        FactKind.PLAN,
        plan=phase.plan,
        version=phase.version,
        quantities=phase.quantities,
        overrides=phase.overrides,
    )


def _parse_phase(raw: object, path: str) -> Phase:
    faults = Faults("invalid_phases")
    fields = Fields(raw, path, faults)
    terms = parse_terms(fields)
    until = fields.optional("until", parse_instant, None)
    duration = fields.optional("duration", _parse_duration, None)
    fields.refuse_unknown()
    if "until" in fields and "duration" in fields:
        faults.add(fields.at("duration"), "must not stand beside until")
    faults.refuse()
    return Phase(**terms, until=until if until is not None else duration)  # type: ignore[arg-type]


def _parse_duration(raw: object, path: str) -> Duration:
    faults = Faults("invalid_phases")
    fields = Fields(raw, path, faults)
    interval = fields.required("interval", parse_interval)
    count = fields.optional("count", parse_interval_count, 1)
    fields.refuse_unknown()
    faults.refuse()
    return Duration(interval, count)


def _parse_days(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=INTERVAL_COUNT_MAX, code="invalid_trial")


def _after(until: datetime | Duration, begins: datetime, timezone: str) -> datetime:
    if isinstance(until, datetime):
        return until
    return next(billing_periods(begins, until.interval, until.count, timezone, begins)).end
