"""What writing customers and subscriptions would do: the wanted content beside what stands. Pure.

Everything is decided before anything is written, for one thing as for twenty thousand, and every
contradiction is named at once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from farthing.catalog.model import Outcome, PlanRef
from farthing.customers.content import anchor_text, customer_json
from farthing.customers.model import (
    Customer,
    CustomerContent,
    FieldChange,
    Subscription,
    SubscriptionContent,
)
from farthing.kernel.errors import Conflict, Fault
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import FAULTS_SHOWN_MAX, Faults, shown


@dataclass(frozen=True, slots=True)
class CustomersStanding:
    """What the books hold that bears on the customers to be written.

    by_key: those of them that exist.
    holders: for each of their subjects that is taken, the key of the customer that it means.
    subscribed: the ids of those that have a subscription.
    """

    by_key: Mapping[str, Customer]
    holders: Mapping[str, str]
    subscribed: Collection[int]


@dataclass(frozen=True, slots=True)
class CustomerChange:
    """One customer to be written: what it is to be, and what it was."""

    outcome: Outcome
    content: CustomerContent
    before: Customer | None

    @property
    def aliases(self) -> tuple[str, ...]:
        """As they will be: what was not said about them leaves them as they are."""
        if self.content.aliases is not None:
            return self.content.aliases
        return self.before.aliases if self.before else ()


@dataclass(frozen=True, slots=True)
class SubscriptionsStanding:
    """What the books hold, or are about to, that bears on the subscriptions to be written.

    by_key: those of them that exist.
    currencies: of their customers, by key.
    plans: by plan key and version; version None is the latest.
    invoiced_until: for existing ones with an invoice, the end of the last period invoiced, also in advance.
    """

    by_key: Mapping[str, Subscription]
    currencies: Mapping[str, str]
    plans: Mapping[tuple[str, int | None], PlanRef]
    invoiced_until: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """One subscription to be written: what it is to be, and what it was."""

    outcome: Outcome
    content: SubscriptionContent
    plan: PlanRef
    before: Subscription | None


class Contradictions:
    """Conflicts as they are found; one kind keeps its code."""

    def __init__(self) -> None:
        self._found: list[tuple[str, Fault]] = []

    def add(self, code: str, path: str, message: str) -> None:
        self._found.append((code, Fault(path, message)))

    def refuse(self) -> None:
        if not self._found:
            return
        codes = {code for code, _ in self._found}
        faults = [fault for _, fault in self._found[:FAULTS_SHOWN_MAX]]
        if len(self._found) > len(faults):
            faults.append(Fault("", f"and {len(self._found) - len(faults)} more conflicts"))
        code = codes.pop() if len(codes) == 1 else "conflict"
        raise Conflict(code, "; ".join(map(str, faults)), faults=faults)


def decide_customers(
    standing: CustomersStanding, wanted: Sequence[CustomerContent], paths: Sequence[str]
) -> list[CustomerChange]:
    """What becomes of each wanted customer. Keys are distinct; `paths` says where each one stands.

    Raises Conflict: `alias_taken` (with the key of the customer that has it), `currency_fixed` and
    `timezone_fixed` (the customer has a subscription), or `conflict` for several kinds.
    """
    changes = [_customer_change(standing.by_key.get(content.key), content) for content in wanted]
    conflicts = Contradictions()
    _check_subjects(standing, changes, paths, conflicts)
    for change, path in zip(changes, paths, strict=True):
        before = change.before
        if before is None or before.customer_id not in standing.subscribed:
            continue
        for name in ("currency", "timezone"):
            now, then = getattr(change.content, name), getattr(before, name)
            if now != then:
                complaint = f"cannot become {now}: {shown(before.key)} has a subscription billed in {then}"
                conflicts.add(f"{name}_fixed", _at(path, name), complaint)
    conflicts.refuse()
    return changes


def _customer_change(before: Customer | None, content: CustomerContent) -> CustomerChange:
    if before is None:
        return CustomerChange(Outcome.CREATED, content, None)
    outcome = Outcome.CHANGED if customer_differences(before, content) else Outcome.UNCHANGED
    return CustomerChange(outcome, content, before)


def customer_differences(before: Customer, content: CustomerContent) -> tuple[FieldChange, ...]:
    """The fields that would change; aliases only where something was said about them."""
    was, will_be = customer_json(before), customer_json(content)
    return tuple(
        FieldChange(name, was[name], will_be[name]) for name in will_be if was[name] != will_be[name]
    )


def _check_subjects(
    standing: CustomersStanding,
    changes: Sequence[CustomerChange],
    paths: Sequence[str],
    conflicts: Contradictions,
) -> None:
    """A subject means one customer, once everything is written: what one gives up another may take."""
    held = dict(standing.holders)
    for change in changes:
        if change.before is not None:
            for alias in set(change.before.aliases) - set(change.aliases):
                held.pop(alias, None)
    for change, path in zip(changes, paths, strict=True):
        key = change.content.key
        for subject in (key, *(change.content.aliases or ())):
            holder = held.setdefault(subject, key)
            if holder != key:
                name = "key" if subject == key else "aliases"
                complaint = f"{shown(subject)} means the customer {shown(holder)} already"
                conflicts.add("alias_taken", _at(path, name), complaint)


def plans_by_version(refs: Iterable[PlanRef]) -> dict[tuple[str, int | None], PlanRef]:
    """Plan versions by key and version; version None is the latest, which comes last among the given."""
    plans: dict[tuple[str, int | None], PlanRef] = {}
    for ref in refs:
        plans[ref.key, ref.version] = plans[ref.key, None] = ref
    return plans


def decide_subscriptions(
    standing: SubscriptionsStanding, wanted: Sequence[SubscriptionContent], paths: Sequence[str]
) -> list[SubscriptionChange]:
    """What becomes of each wanted subscription. Keys are distinct; `paths` says where each one stands.

    Raises:
        InvalidInput: `unknown_customer`, `unknown_plan`.
        Conflict: `currency_mismatch`; `subscription_immutable` where more than the end would change;
            `already_invoiced` where the end would fall before what is invoiced, or where it is
            invoiced to its end; or `conflict` for several kinds.
    """
    faults = Faults("invalid_subscription")
    for content, path in zip(wanted, paths, strict=True):
        if content.customer not in standing.currencies:
            complaint = f"{shown(content.customer)} is not a customer"
            faults.add(_at(path, "customer"), complaint, code="unknown_customer")
        if _plan_of(content, standing) is None:
            which = shown(content.plan) + (f" version {content.version}" if content.version else "")
            faults.add(_at(path, "plan"), f"{which} is not a plan", code="unknown_plan")
    faults.refuse()
    conflicts = Contradictions()
    changes = [
        _subscription_change(standing, content, path, conflicts)
        for content, path in zip(wanted, paths, strict=True)
    ]
    conflicts.refuse()
    return changes


def _plan_of(content: SubscriptionContent, standing: SubscriptionsStanding) -> PlanRef | None:
    """The version named; else the one the subscription is on already; else the latest."""
    before = standing.by_key.get(content.key)
    version = content.version
    if version is None and before is not None and before.plan == content.plan:
        version = before.version
    return standing.plans.get((content.plan, version))


def _subscription_change(
    standing: SubscriptionsStanding, content: SubscriptionContent, path: str, conflicts: Contradictions
) -> SubscriptionChange:
    plan = _plan_of(content, standing)
    assert plan is not None
    before = standing.by_key.get(content.key)
    currency = standing.currencies[content.customer]
    if plan.currency != currency:
        complaint = f"{shown(plan.key)} is in {plan.currency}, the customer is billed in {currency}"
        conflicts.add("currency_mismatch", _at(path, "plan"), complaint)
    if before is None:
        return SubscriptionChange(Outcome.CREATED, content, plan, None)
    for name, was, will_be in (
        ("customer", before.customer, content.customer),
        ("plan", before.plan, content.plan),
        ("version", before.version, plan.version),
        ("anchor", anchor_text(before.anchor), anchor_text(content.anchor)),
        ("start", format_instant(before.start), format_instant(content.start)),
    ):
        if was != will_be and not (name == "version" and before.plan != content.plan):
            complaint = f"is {was} and stays so: end this subscription and begin another"
            conflicts.add("subscription_immutable", _at(path, name), complaint)
    if content.end is None or content.end == before.end:
        return SubscriptionChange(Outcome.UNCHANGED, content, plan, before)
    invoiced_until = standing.invoiced_until.get(before.key)
    if complaint := end_complaint(before, content.end, invoiced_until):
        conflicts.add("already_invoiced", _at(path, "end"), complaint)
    return SubscriptionChange(Outcome.CHANGED, content, plan, before)


def end_complaint(subscription: Subscription, end: datetime, invoiced_until: datetime | None) -> str:
    """Why a subscription cannot end then, or nothing.

    What is invoiced is not undone by ending earlier. And once the last period is invoiced, cut short
    by the end, a later end would make it another period, of which the rest were never billed.
    """
    if invoiced_until is None:
        return ""
    if end < invoiced_until:
        return f"must not be earlier than {format_instant(invoiced_until)}: until then it is invoiced"
    if subscription.end is not None and invoiced_until >= subscription.end:
        return f"stays {format_instant(subscription.end)}: the subscription is invoiced to its end"
    return ""


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
