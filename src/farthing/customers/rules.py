"""What may be changed about a subscription, and when. Pure.

A change is decided beside the facts that stand: the timeline with it must be one that can be billed. A
change never reaches back into time whose usage is invoiced: usage is not rated again. What was paid in
advance for later can be credited, so it holds nothing back.

Codes: `before_start`, `already_invoiced`, `subscription_ended`, `unknown_plan`, `currency_mismatch`,
`unknown_rate_card`, `not_a_fixed_fee`, `rate_card_taken`, `unknown_meter`, `invalid_price`, `already_paused`,
`not_paused`, `already_cancelled`, `not_cancelled`, `invalid_end`, `invalid_trial`, `trial_not_at_start`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from farthing.catalog.fitting import card_complaints
from farthing.catalog.model import Meter, Plan, PlanRef, RateCard
from farthing.customers.billable import Term, periods_from, terms_of
from farthing.customers.facts import AskedChange, content_json, with_invoice
from farthing.customers.model import Fact, FactContent, FactKind, Moment, NewFact, Subscription
from farthing.customers.timeline import Life, Mode, Stretch, lives_of, standing_facts, stretch_at
from farthing.kernel.errors import Conflict, Fault, InvalidInput
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import shown

Complaint: TypeAlias = tuple[bool, str, str, str]
"""Whether it contradicts what stands (or can never be right), its code, the field and the message."""

_TERMS = (FactKind.PLAN, FactKind.QUANTITY, FactKind.OVERRIDE, FactKind.ADD_ON, FactKind.REMOVE_ADD_ON)


@dataclass(frozen=True, slots=True)
class Ground:
    """What the books hold, or are about to, that bears on a change.

    refs: plan versions by key and version; version None is the latest.
    plans: the definitions of those that the subscription and the change have to do with, by key and version.
    meters: those that the change's add-on names and that its rate cards have, by key.
    invoiced_until: the end of the last period that is invoiced, if there is one.
    """

    currency: str
    timezone: str
    refs: Mapping[tuple[str, int | None], PlanRef]
    plans: Mapping[tuple[str, int], Plan]
    meters: Mapping[str, Meter]
    invoiced_until: datetime | None = None


def decide_change(
    subscription: Subscription, asked: AskedChange, ground: Ground, now: datetime
) -> tuple[NewFact, Fact | None]:
    """The fact that a change becomes, and the standing one where it was made under this key already.

    Raises:
        InvalidInput, Conflict: every complaint at once, under its code where there is one, else
            `invalid_change` or `conflict`.
    """
    lives = lives_of(subscription)
    at = moment_of(asked.at, subscription, lives, ground, now)
    content = _resolved(asked.content, ground)
    key = asked.key or key_for(subscription, at, content)
    standing = next((fact for fact in subscription.facts if fact.key == key), None)
    if standing is not None:
        return _same(standing, NewFact(key, at, content), asked, subscription), standing
    if content.kind is FactKind.REACTIVATE and (ending := _end_ahead(subscription, lives, at)) is not None:
        # Once the time up to the end is invoiced the end stays: one reactivates from there, and not before it.
        refuse(list(withdrawal_complaints(ending, ground.invoiced_until, None)))
        called_off = FactContent(FactKind.WITHDRAW)
        return NewFact(key, ending.effective_at, called_off, ending.change_id), None
    fact = NewFact(key, at, _billed_at_once(content, at, subscription, lives, ground))
    refuse(list(complaints_of(subscription, lives, fact, ground)))
    return fact, None


def moment_of(
    at: datetime | Moment, subscription: Subscription, lives: tuple[Life, ...], ground: Ground, now: datetime
) -> datetime:
    """The instant that a moment is. The end of a period is that of the period that now, or the start, lies in."""
    if isinstance(at, datetime):
        return at
    moment = max(now, subscription.start)
    if at is Moment.NOW:
        return moment
    found = term_at(subscription, lives, ground.plans, ground.timezone, moment)
    return moment if found is None else next(periods_from(found, moment)).end


def term_at(
    subscription: Subscription,
    lives: tuple[Life, ...],
    plans: Mapping[tuple[str, int], Plan],
    timezone: str,
    moment: datetime,
) -> Term | None:
    """The term that a moment lies in; None where the subscription does not run then."""
    for life in lives:
        if life.start <= moment and (life.end is None or moment < life.end):
            by_id = {one.plan_version_id: plans[one.plan, one.version] for one in life.stretches}
            for term in terms_of(life, subscription.anchor, by_id, timezone):
                if term.start <= moment and (term.end is None or moment < term.end):
                    return term
    return None


def complaints_of(
    subscription: Subscription, lives: tuple[Life, ...], fact: NewFact, ground: Ground
) -> Iterable[Complaint]:
    """Why this fact cannot be written, all of it."""
    content, at = fact.content, fact.effective_at
    if at < subscription.start:
        yield (
            False,
            "before_start",
            "at",
            f"must not be before the start, {format_instant(subscription.start)}",
        )
    if ground.invoiced_until is not None and at < ground.invoiced_until:
        until = format_instant(ground.invoiced_until)
        yield True, "already_invoiced", "at", f"must not be earlier than {until}: until then it is invoiced"
    yield from plan_complaints(content, ground)
    before = stretch_at(lives, at)
    if content.kind is FactKind.REACTIVATE:
        if before is not None or not lives:
            yield True, "not_cancelled", "kind", "cannot reactivate: the subscription is not cancelled"
        return
    if content.kind is FactKind.CANCEL:
        yield from _cancel_complaints(lives, at, before)
        return
    if at < subscription.start:
        return
    if before is None:
        yield True, "subscription_ended", "at", "the subscription does not run then: reactivate it first"
        return
    if content.kind is FactKind.PAUSE and before.mode is Mode.PAUSED:
        yield True, "already_paused", "kind", "the subscription is paused then already"
    if content.kind is FactKind.RESUME and before.mode is not Mode.PAUSED:
        yield True, "not_paused", "kind", "the subscription is not paused then"
    if content.kind is FactKind.TRIAL:
        yield from _trial_complaints(content, at, before, lives)
    if content.kind in _TERMS:
        yield from _terms_complaints(subscription, fact, before, ground)


def plan_complaints(content: FactContent, ground: Ground) -> Iterable[Complaint]:
    """Why a plan that is named cannot be that of the subscription."""
    if content.kind is not FactKind.PLAN:
        return
    assert content.plan is not None
    ref = ground.refs.get((content.plan, content.version))
    if ref is None:
        which = shown(content.plan) + (f" version {content.version}" if content.version else "")
        yield False, "unknown_plan", "plan", f"{which} is not a plan"
    elif ref.currency != ground.currency:
        complaint = f"{shown(ref.key)} is in {ref.currency}, the customer is billed in {ground.currency}"
        yield True, "currency_mismatch", "plan", complaint


def clashes(subscription: Subscription, plans: Mapping[tuple[str, int], Plan]) -> Iterable[Complaint]:
    """Rate cards that would stand twice at some time: an add-on beside one of the plan that has its key."""
    for life in lives_of(subscription):
        for stretch in life.stretches:
            taken = {card.key for card in plans[stretch.plan, stretch.version].rate_cards}
            for card in stretch.add_ons:
                if card.key in taken:
                    complaint = f"{shown(card.key)} is a rate card of the plan {shown(stretch.plan)} already"
                    yield True, "rate_card_taken", "rate_card", complaint


def withdrawal_complaints(
    fact: Fact, invoiced_until: datetime | None, started: datetime | None
) -> Iterable[Complaint]:
    """Why a fact cannot be called off: what follows from it is invoiced.

    started: the start of the last period that was invoiced in advance by itself.

    An end and a change of plan may part periods: once the part before is invoiced, the cut stays. A
    reactivation whose first fees are invoiced stays: what would credit them is cancelling it.
    """
    at = fact.effective_at
    cuts = fact.content.kind in (FactKind.CANCEL, FactKind.PLAN)
    if invoiced_until is not None and (at < invoiced_until or (cuts and at == invoiced_until)):
        until = format_instant(invoiced_until)
        yield (
            True,
            "already_invoiced",
            "",
            f"it took effect on {format_instant(at)}: until {until} it is invoiced",
        )
    elif fact.content.kind is FactKind.REACTIVATE and started is not None and started >= at:
        yield True, "already_invoiced", "", "its first fees are invoiced: cancel the subscription instead"


def with_fact(subscription: Subscription, fact: NewFact, plan_version_id: int | None) -> Subscription:
    """The subscription as it would be with one more fact."""
    made = Fact(
        subscription.last_change_id + 1,
        fact.key,
        fact.effective_at,
        fact.content,
        fact.effective_at,
        (plan_version_id or 0) if fact.content.kind is FactKind.PLAN else None,
        fact.withdraws,
    )
    return replace(subscription, facts=(*subscription.facts, made))


def refuse(complaints: list[Complaint]) -> None:
    """Raise all complaints at once, if there is one: what can never be right goes before what contradicts."""
    wrong = [complaint for complaint in complaints if not complaint[0]]
    named = wrong or complaints
    if not named:
        return
    codes = {code for _, code, _, _ in named}
    faults = [Fault(path, message) for _, _, path, message in dict.fromkeys(named)]
    if wrong:
        raise InvalidInput.of(codes.pop() if len(codes) == 1 else "invalid_change", faults)
    code = codes.pop() if len(codes) == 1 else "conflict"
    raise Conflict(code, "; ".join(map(str, faults)), faults=faults)


def key_for(subscription: Subscription, at: datetime, content: FactContent, *, free: bool = False) -> str:
    """A key that the same change at the same moment has again, unless it was called off.

    free: one that no fact has.
    """
    digest = blake2b(msgspec.json.encode(content_json(content)), digest_size=4).hexdigest()
    key = f"{content.kind.value}-{format_instant(at)}-{digest}"
    withdrawn = {fact.withdraws for fact in subscription.facts}
    taken = {fact.key for fact in subscription.facts if free or fact.change_id in withdrawn}
    number = 1
    while (found := key if number == 1 else f"{key}-{number}") in taken:
        number += 1
    return found


# ---- The parts of it


def _resolved(content: FactContent, ground: Ground) -> FactContent:
    """With the version that the latest is now."""
    if content.kind is not FactKind.PLAN or content.version is not None or content.plan is None:
        return content
    ref = ground.refs.get((content.plan, None))
    return content if ref is None else replace(content, version=ref.version)


def _same(standing: Fact, wanted: NewFact, asked: AskedChange, subscription: Subscription) -> NewFact:
    """The wanted fact where it is the standing one. Raises Conflict `change_exists`, `change_withdrawn`."""
    same_moment = asked.at is Moment.NOW or standing.effective_at == wanted.effective_at
    content = with_invoice(standing.content, wanted.content.invoice_now)
    uncancelled = standing.withdraws is not None and wanted.content.kind is FactKind.REACTIVATE
    if not uncancelled and not (same_moment and content_json(content) == content_json(wanted.content)):
        raise Conflict("change_exists", f"{shown(wanted.key)} is another change already", path="key")
    if any(fact.withdraws == standing.change_id for fact in subscription.facts):
        raise Conflict(
            "change_withdrawn", f"the change {shown(wanted.key)} was called off: use a new key", path="key"
        )
    return wanted


def _end_ahead(subscription: Subscription, lives: tuple[Life, ...], at: datetime) -> Fact | None:
    """The cancellation that would end the life that a moment lies in."""
    for life in lives:
        if life.end is not None and life.start <= at < life.end:
            return next(
                fact
                for fact in standing_facts(subscription.facts)
                if fact.content.kind is FactKind.CANCEL and fact.effective_at == life.end
            )
    return None


def _billed_at_once(
    content: FactContent, at: datetime, subscription: Subscription, lives: tuple[Life, ...], ground: Ground
) -> FactContent:
    """A change at the very end of what is invoiced has no invoice of a period at which it would be billed soon:
    to end there, or to go on by another interval, is invoiced by itself."""
    if at != ground.invoiced_until or content.invoice_now:
        return content
    if content.kind is FactKind.CANCEL:
        return with_invoice(content, True)
    before = stretch_at(lives, at)
    if content.kind is not FactKind.PLAN or before is None or content.plan is None or content.version is None:
        return content
    old = ground.plans[before.plan, before.version]
    new = ground.plans.get((content.plan, content.version))
    same = new is None or (old.interval, old.interval_count) == (new.interval, new.interval_count)
    return content if same else with_invoice(content, True)


def _cancel_complaints(lives: tuple[Life, ...], at: datetime, before: Stretch | None) -> Iterable[Complaint]:
    ending = next((life for life in lives if life.end is not None and life.start < at), None)
    running = next(
        (life for life in lives if life.start <= at and (life.end is None or at <= life.end)), None
    )
    if lives and at <= lives[0].start:
        complaint = f"must be later than the start, {format_instant(lives[0].start)}"
        yield False, "invalid_end", "at", complaint
    elif running is None or running.end is not None:
        end = running.end if running is not None else (ending.end if ending is not None else None)
        when = "" if end is None else f" on {format_instant(end)}"
        yield True, "already_cancelled", "kind", f"the subscription ends{when} already"
    elif at == running.start:
        complaint = f"must be later than the start, {format_instant(running.start)}"
        yield False, "invalid_end", "at", complaint


def _trial_complaints(
    content: FactContent, at: datetime, before: Stretch, lives: tuple[Life, ...]
) -> Iterable[Complaint]:
    assert content.trial_end is not None
    if content.trial_end <= at:
        yield False, "invalid_trial", "until", f"must be later than its beginning, {format_instant(at)}"
    if before.mode not in (Mode.TRIAL, Mode.USAGE_CHARGED) and at not in {life.start for life in lives}:
        complaint = "a trial begins with the subscription; one that runs may be made longer or shorter"
        yield True, "trial_not_at_start", "at", complaint


def _terms_complaints(
    subscription: Subscription, fact: NewFact, before: Stretch, ground: Ground
) -> Iterable[Complaint]:
    content = fact.content
    if content.kind is FactKind.PLAN and (content.plan, content.version) not in ground.plans:
        return  # It is not a plan, which was said.
    if content.kind is FactKind.REMOVE_ADD_ON:
        if all(card.key != content.add_on for card in before.add_ons):
            yield (
                False,
                "unknown_rate_card",
                "add_on",
                f"{shown(content.add_on)} is no add-on of the subscription then",
            )
        return
    if content.rate_card is not None:
        yield from _add_on_complaints(content.rate_card, before, ground)
    with_it = with_fact(subscription, fact, None)
    after = stretch_at(lives_of(with_it), fact.effective_at)
    if after is not None:
        cards = {
            card.key: card for card in (*ground.plans[after.plan, after.version].rate_cards, *after.add_ons)
        }
        yield from _quantity_complaints(content, cards)
        yield from _override_complaints(content, cards, ground)
    yield from clashes(with_it, ground.plans)


def _add_on_complaints(card: RateCard, before: Stretch, ground: Ground) -> Iterable[Complaint]:
    if any(other.key == card.key for other in before.add_ons):
        yield True, "rate_card_taken", "rate_card.key", f"{shown(card.key)} is an add-on already"
    for key in card.meters:
        if key not in ground.meters:
            yield False, "unknown_meter", "rate_card.meter", f"{shown(key)} is not a meter of this catalog"
    for at, complaint in card_complaints(card.meters, card.price, ground.meters):
        yield False, "invalid_price", f"rate_card.{at or 'meter'}", complaint


def _quantity_complaints(content: FactContent, cards: Mapping[str, RateCard]) -> Iterable[Complaint]:
    for name in content.quantities or {}:
        if name not in cards:
            complaint = f"{shown(name)} is not a rate card of the subscription then"
            yield False, "unknown_rate_card", f"quantities.{name}", complaint
        elif cards[name].meters:
            complaint = "is metered: how much there is of it is counted, not said"
            yield False, "not_a_fixed_fee", f"quantities.{name}", complaint


def _override_complaints(
    content: FactContent, cards: Mapping[str, RateCard], ground: Ground
) -> Iterable[Complaint]:
    for name, price in (content.overrides or {}).items():
        if name not in cards:
            complaint = f"{shown(name)} is not a rate card of the subscription then"
            yield False, "unknown_rate_card", f"overrides.{name}", complaint
        elif price is not None:
            # What is wrong with the meters is said of the price: they are given, and it is new.
            for at, complaint in card_complaints(cards[name].meters, price, ground.meters):
                place = at.removeprefix("price") if at.startswith("price") else ""
                yield False, "invalid_price", f"overrides.{name}{place}", complaint
