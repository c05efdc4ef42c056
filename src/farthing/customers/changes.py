"""What writing customers and subscriptions would do: the wanted content beside what stands. Pure.

Everything is decided before anything is written, for one thing as for twenty thousand, and every
contradiction is named at once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farthing.catalog.model import Meter, Outcome, Plan, PlanRef
from farthing.customers.content import customer_json
from farthing.customers.model import (
    Customer,
    CustomerContent,
    FieldChange,
    NewFact,
    Subscription,
    SubscriptionContent,
)
from farthing.kernel.errors import Conflict, Fault
from farthing.kernel.reading import FAULTS_SHOWN_MAX, shown


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
    invoiced_until: for existing ones with an invoice, the end of the last period invoiced.
    definitions: of the plan versions that they have to do with; meters: that their prices have to do with.
    timezones: of their customers, by key. now: the moment of the change.
    """

    by_key: Mapping[str, Subscription]
    currencies: Mapping[str, str]
    plans: Mapping[tuple[str, int | None], PlanRef]
    invoiced_until: Mapping[str, datetime]
    definitions: Mapping[tuple[str, int], Plan] = field(default_factory=dict)
    meters: Mapping[str, Meter] = field(default_factory=dict)
    timezones: Mapping[str, str] = field(default_factory=dict)
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """One subscription to be written: what it is to be, what it was, and the facts that make the difference.

    fields: what differs, for people.
    """

    outcome: Outcome
    content: SubscriptionContent
    plan: PlanRef
    before: Subscription | None
    facts: tuple[NewFact, ...] = ()
    fields: tuple[FieldChange, ...] = ()


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
                conflicts.add(f"{name}_fixed", at_field(path, name), complaint)
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
                conflicts.add("alias_taken", at_field(path, name), complaint)


def plans_by_version(refs: Iterable[PlanRef]) -> dict[tuple[str, int | None], PlanRef]:
    """Plan versions by key and version; version None is the latest, which comes last among the given."""
    plans: dict[tuple[str, int | None], PlanRef] = {}
    for ref in refs:
        plans[ref.key, ref.version] = plans[ref.key, None] = ref
    return plans


def at_field(path: str, name: str) -> str:
    """The path of a field of the thing at a path."""
    return f"{path}.{name}" if path else name
