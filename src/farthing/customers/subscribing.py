"""What writing subscriptions would do: the wanted content beside what stands. Pure.

A new one begins with its opening facts. For one that stands, what the content says is compared with what
is to hold last, changes that are scheduled included, and the difference becomes facts from `effective` on:
so the same content a second time changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from farthing.catalog.model import Outcome, PlanRef
from farthing.catalog.plan import rate_card_json
from farthing.customers.changes import Contradictions, SubscriptionChange, SubscriptionsStanding, at_field
from farthing.customers.content import anchor_text
from farthing.customers.facts import content_json
from farthing.customers.model import (
    Fact,
    FactContent,
    FactKind,
    FieldChange,
    Moment,
    NewFact,
    Subscription,
    SubscriptionContent,
)
from farthing.customers.opening import opening_facts
from farthing.customers.rules import Ground, complaints_of, key_for, moment_of, with_fact
from farthing.customers.timeline import Stretch, lives_of, standing_facts
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import Faults, shown
from farthing.rating import price_json


def decide_subscriptions(
    standing: SubscriptionsStanding, wanted: Sequence[SubscriptionContent], paths: Sequence[str]
) -> list[SubscriptionChange]:
    """What becomes of each wanted subscription. Keys are distinct; `paths` says where each one stands.

    Raises:
        InvalidInput: `unknown_customer`, `unknown_plan`, and whatever `rules.py` says of its facts.
        Conflict: `currency_mismatch`; `subscription_immutable` where customer, anchor, start, trial or
            phases would change; `already_invoiced` where a change would reach into what is invoiced, or
            where it is invoiced to its end; or `conflict` for several kinds.
    """
    faults = Faults("invalid_subscription")
    for content, path in zip(wanted, paths, strict=True):
        if content.customer not in standing.currencies:
            complaint = f"{shown(content.customer)} is not a customer"
            faults.add(at_field(path, "customer"), complaint, code="unknown_customer")
        if _plan_of(content, standing) is None:
            which = shown(content.plan) + (f" version {content.version}" if content.version else "")
            where = "phases[0].plan" if content.phases else "plan"
            faults.add(at_field(path, where), f"{which} is not a plan", code="unknown_plan")
    faults.refuse()
    conflicts = Contradictions()
    changes = [
        _decided(standing, content, path, faults, conflicts)
        for content, path in zip(wanted, paths, strict=True)
    ]
    faults.refuse()
    conflicts.refuse()
    return changes


def end_complaint(subscription: Subscription, end: datetime, invoiced_until: datetime | None) -> str:
    """Why a subscription cannot end then, or nothing.

    Usage that is invoiced is not undone by ending earlier; fees that were paid for later are credited. And
    once the last period is invoiced, cut short by the end, a later end would make it another period, of
    which the rest were never billed: reactivate it instead.
    """
    if invoiced_until is None:
        return ""
    if end < invoiced_until:
        return f"must not be earlier than {format_instant(invoiced_until)}: until then it is invoiced"
    if subscription.end is not None and invoiced_until >= subscription.end:
        return f"stays {format_instant(subscription.end)}: the subscription is invoiced to its end"
    return ""


def new_end(subscription: Subscription, end: datetime, content: FactContent) -> list[NewFact]:
    """The facts that make a subscription end then, in place of when it was to end."""
    facts = [
        NewFact(
            f"withdraw-{fact.change_id}", fact.effective_at, FactContent(FactKind.WITHDRAW), fact.change_id
        )
        for fact in standing_facts(subscription.facts)
        if fact.content.kind is FactKind.CANCEL and fact.effective_at == subscription.end
    ]
    key = (
        "end"
        if all(fact.key != "end" for fact in subscription.facts)
        else key_for(subscription, end, content, free=True)
    )
    return [*facts, NewFact(key, end, content)]


def made_as(subscription: Subscription) -> Subscription:
    """A subscription with the facts that it was made with, and without what became of it since."""
    opening = [
        fact for fact in subscription.facts if fact.key.startswith(("start-", "phase-")) or fact.key == "end"
    ]
    made = replace(subscription, facts=tuple(opening))
    lives = lives_of(made)
    return replace(made, end=lives[-1].end if lives else made.start)


def _plan_of(content: SubscriptionContent, standing: SubscriptionsStanding) -> PlanRef | None:
    """The version named; else the one that the subscription is on already; else the latest."""
    before = standing.by_key.get(content.key)
    version = content.version
    if version is None and before is not None:
        last = _first(before) if content.phases else last_stretch(before)
        version = last.version if last.plan == content.plan else None
    return standing.plans.get((content.plan, version))


def _decided(
    standing: SubscriptionsStanding,
    content: SubscriptionContent,
    path: str,
    faults: Faults,
    conflicts: Contradictions,
) -> SubscriptionChange:
    plan = _plan_of(content, standing)
    assert plan is not None
    currency = standing.currencies[content.customer]
    if plan.currency != currency:
        complaint = f"{shown(plan.key)} is in {plan.currency}, the customer is billed in {currency}"
        conflicts.add("currency_mismatch", at_field(path, "plan"), complaint)
    before = standing.by_key.get(content.key)
    timezone = standing.timezones.get(content.customer, "UTC")
    invoiced_until = standing.invoiced_until.get(content.key)
    ground = Ground(currency, timezone, standing.plans, standing.definitions, standing.meters, invoiced_until)
    if before is None:
        new = _opened(content, plan)
        facts = [_with_version(fact, ground) for fact in opening_facts(content, timezone)]
        _check(new, facts, ground, content, path, faults, conflicts)
        return SubscriptionChange(Outcome.CREATED, content, plan, None, tuple(facts))
    facts, fields = _differences(before, content, plan, ground, standing.now, path, conflicts)
    _check(before, facts, ground, content, path, faults, conflicts)
    outcome = Outcome.CHANGED if facts else Outcome.UNCHANGED
    return SubscriptionChange(outcome, content, plan, before, tuple(facts), tuple(fields))


def _opened(content: SubscriptionContent, plan: PlanRef) -> Subscription:
    """A new subscription, before its facts."""
    version_id = plan.plan_version_id or 0
    return Subscription(
        0,
        content.key,
        0,
        content.customer,
        version_id,
        plan.key,
        plan.version,
        content.anchor,
        content.start,
        None,
    )


def _with_version(fact: NewFact, ground: Ground) -> NewFact:
    if (
        fact.content.kind is not FactKind.PLAN
        or fact.content.version is not None
        or fact.content.plan is None
    ):
        return fact
    ref = ground.refs.get((fact.content.plan, None))
    return fact if ref is None else replace(fact, content=replace(fact.content, version=ref.version))


def _check(
    subscription: Subscription,
    facts: Sequence[NewFact],
    ground: Ground,
    content: SubscriptionContent,
    path: str,
    faults: Faults,
    conflicts: Contradictions,
) -> None:
    """Each fact beside those before it."""
    for fact in facts:
        if fact.withdraws is None:
            for contradicts, code, field, message in complaints_of(
                subscription, lives_of(subscription), fact, ground
            ):
                where = at_field(path, _place(fact, field, content))
                if contradicts:
                    conflicts.add(code, where, message)
                else:
                    faults.add(where, message, code=code)
        ref = ground.refs.get((fact.content.plan or "", fact.content.version))
        if (
            fact.content.kind is FactKind.PLAN
            and (fact.content.plan, fact.content.version) not in ground.plans
        ):
            return  # Nothing more can be said of what comes after a plan that is none.
        subscription = with_fact(subscription, fact, None if ref is None else ref.plan_version_id)


def _place(fact: NewFact, field: str, content: SubscriptionContent) -> str:
    """Where in the content that stands which a complaint about a fact names."""
    if fact.key.startswith("phase-"):
        return f"phases[{int(fact.key.removeprefix('phase-')) - 1}].{field}"
    if fact.content.kind is FactKind.ADD_ON and fact.content.rate_card is not None:
        keys = [card.key for card in content.add_ons or ()]
        return f"add_ons[{keys.index(fact.content.rate_card.key)}]" + field.removeprefix("rate_card")
    if fact.content.kind is FactKind.CANCEL:
        return "end"
    if fact.content.kind is FactKind.TRIAL:
        return f"trial.{field}"
    if content.phases and field != "at":
        return f"phases[0].{field}"
    return "effective" if field == "at" else field


def _first(subscription: Subscription) -> Stretch:
    return lives_of(replace(subscription, facts=()))[0].stretches[0]


def last_stretch(subscription: Subscription) -> Stretch:
    """What holds last, as far as is known."""
    lives = lives_of(subscription)
    return lives[-1].stretches[-1] if lives else _first(subscription)


def _differences(
    before: Subscription,
    content: SubscriptionContent,
    plan: PlanRef,
    ground: Ground,
    now: datetime | None,
    path: str,
    conflicts: Contradictions,
) -> tuple[list[NewFact], list[FieldChange]]:
    """The facts that make a standing subscription what the content says, and what they change, for people."""
    for name, was, will_be in (
        ("customer", before.customer, content.customer),
        ("anchor", anchor_text(before.anchor), anchor_text(content.anchor)),
        ("start", format_instant(before.start), format_instant(content.start)),
    ):
        if was != will_be:
            complaint = f"is {was} and stays so: end this subscription and begin another"
            conflicts.add("subscription_immutable", at_field(path, name), complaint)
    for name in _reopened(before, content, ground):
        complaint = "is said when a subscription begins and stays so: use changes"
        conflicts.add("subscription_immutable", at_field(path, name), complaint)
    facts: list[NewFact] = []
    fields: list[FieldChange] = []
    effective = moment_of(content.effective, before, lives_of(before), ground, now or before.start)
    last = last_stretch(before)
    for change, shown_as in _changes_of_terms(last, content, plan) if not content.phases else ():
        key = key_for(before, effective, change, free=True)
        facts.append(NewFact(key, effective, change))
        fields += shown_as
    if facts and content.effective is not Moment.NOW:
        fields.append(FieldChange("effective", None, format_instant(effective)))
    if content.end is not None and content.end != before.end:
        if complaint := end_complaint(before, content.end, ground.invoiced_until):
            conflicts.add("already_invoiced", at_field(path, "end"), complaint)
        was_end = None if before.end is None else format_instant(before.end)
        fields.append(FieldChange("end", was_end, format_instant(content.end)))
        facts += new_end(before, content.end, FactContent(FactKind.CANCEL))
    return facts, fields


def _reopened(before: Subscription, content: SubscriptionContent, ground: Ground) -> Iterator[str]:
    """What of the opening would be another: trial, phases. Only what the content says is looked at."""
    stood = {fact.key: fact for fact in before.facts}
    wanted = {fact.key: fact for fact in opening_facts(content, ground.timezone)}
    if content.trial is not None and not _equal(stood.get("start-trial"), wanted["start-trial"]):
        yield "trial"
    if content.phases:
        keys = {key for key in (*stood, *wanted) if key.startswith("phase-")}
        keys |= {"start-quantities", "start-overrides"}
        first = _first(before)
        same_first = first.plan == content.plan and content.version in (None, first.version)
        if not same_first or any(not _equal(stood.get(key), wanted.get(key)) for key in sorted(keys)):
            yield "phases"


def _equal(fact: Fact | None, wanted: NewFact | None) -> bool:
    """Whether a standing fact is the wanted one; a plan without a version is whatever version it became."""
    if fact is None or wanted is None:
        return fact is None and wanted is None
    content = wanted.content
    if content.kind is FactKind.PLAN and content.version is None:
        content = replace(content, version=fact.content.version)
    return fact.effective_at == wanted.effective_at and content_json(fact.content) == content_json(content)


def _changes_of_terms(
    last: Stretch, content: SubscriptionContent, plan: PlanRef
) -> Iterator[tuple[FactContent, list[FieldChange]]]:
    """Plan, quantities, overrides and add-ons: what is said and does not hold."""
    quantities = {
        card: number for card, number in (content.quantities or {}).items() if number != last.quantity(card)
    }
    moves = (plan.key, plan.version) != (last.plan, last.version)
    # Another plan takes the overrides of the last one off, so all that are said are said anew.
    kept = {} if plan.key != last.plan else last.overrides
    overrides = {card: price for card, price in (content.overrides or {}).items() if price != kept.get(card)}
    fields = [
        FieldChange(f"quantities.{card}", trimmed(last.quantity(card)), trimmed(number))
        for card, number in quantities.items()
    ]
    for card, price in overrides.items():
        was = last.overrides.get(card)
        fields.append(
            FieldChange(
                f"overrides.{card}", was and price_json(was), None if price is None else price_json(price)
            )
        )
    if moves:
        moved = [FieldChange("plan", last.plan, plan.key)] if plan.key != last.plan else []
        moved.append(FieldChange("version", last.version, plan.version))
        terms = FactContent(
            FactKind.PLAN,
            plan=plan.key,
            version=plan.version,
            quantities=quantities or None,
            overrides=overrides or None,
        )
        yield terms, [*moved, *fields]
    else:
        if quantities:
            yield FactContent(FactKind.QUANTITY, quantities=quantities), fields[: len(quantities)]
        if overrides:
            yield FactContent(FactKind.OVERRIDE, overrides=overrides), fields[len(quantities) :]
    if content.add_ons is None:
        return
    standing = {card.key: card for card in last.add_ons}
    wanted = {card.key: card for card in content.add_ons}
    for name in [*standing, *(name for name in wanted if name not in standing)]:
        was_card, card_now = standing.get(name), wanted.get(name)
        if was_card == card_now:
            continue
        said = FieldChange(
            f"add_ons.{name}", was_card and rate_card_json(was_card), card_now and rate_card_json(card_now)
        )
        if was_card is not None:
            yield FactContent(FactKind.REMOVE_ADD_ON, add_on=name), [said]
        if card_now is not None:
            yield FactContent(FactKind.ADD_ON, rate_card=card_now), [] if was_card is not None else [said]
