"""What must be so, from the journals alone; and where it is not.

For every identity (tenant, source, id) the oracle knows which lines were sent and which were
acknowledged. A line that was acknowledged is counted once, or is a repeat of the line that was, or
stands in quarantine with its reason. A line whose answer was lost may be there once or not at all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tests.crash import traffic
from tests.crash.journal import ACCEPTED
from tests.crash.outside import Held, Row, exact_json

FINDINGS_SHOWN = 20
_NEVER_TAKEN = range(400, 500)

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a line says, and why it cannot be counted, if so."""

    identity: Identity
    type: str
    subject: str | None
    time: datetime | None
    data: dict[str, Any]
    fault: str | None
    corrects: Identity | None = None
    """The event that it takes away or takes the place of."""


@lru_cache(maxsize=400_000)
def facts_of(line: str) -> Facts | None:
    """The facts of a line; None for what is no event."""
    try:
        event = exact_json(line)
        identity = (event["source"], event["id"])
    except (ValueError, KeyError, TypeError):
        return None
    time = datetime.fromisoformat(event["time"]).astimezone(UTC) if event.get("time") else None
    fault = None
    if time is not None and time.year < traffic.FIRST_YEAR:
        fault = "too_late"
    elif time is not None and time.year > 2100:
        fault = "too_early"
    elif event["type"] == traffic.METERED and "tokens" not in event["data"]:
        fault = "missing_value"
    corrects = None
    if "corrects" in event:
        corrects = (event.get("correctssource", event["source"]), event["corrects"])
    return Facts(identity, event["type"], event.get("subject"), time, event["data"], fault, corrects)


@dataclass(slots=True)
class Deliveries:
    """How often a line was sent, refusals left out, and how often it was acknowledged."""

    sent: int = 0
    acknowledged: int = 0


@dataclass(slots=True)
class _Tenant:
    events: dict[Identity, dict[str, Deliveries]] = field(default_factory=lambda: defaultdict(dict))
    broken: dict[str, Deliveries] = field(default_factory=dict)

    def deliveries(self, line: str) -> Deliveries:
        facts = facts_of(line)
        lines = self.broken if facts is None else self.events[facts.identity]
        return lines.setdefault(line, Deliveries())


class Oracle:
    """Reads journal records; says what is wrong with what a system holds."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = defaultdict(_Tenant)
        self._requests: dict[tuple[str, int], dict[str, Any]] = {}

    def read(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Take in what the clients wrote down."""
        for journal, record in records:
            if "lines" in record:
                self._requests[journal, record["n"]] = record
                for line in record["lines"]:
                    self._tenants[record["tenant"]].deliveries(line).sent += 1
            else:
                self._answered(self._requests.pop((journal, record["n"])), record)

    def _answered(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        refused = set(answer["refused"])
        for place, line in enumerate(request["lines"]):
            deliveries = self._tenants[request["tenant"]].deliveries(line)
            if answer["status"] in _NEVER_TAKEN or place in refused:
                deliveries.sent -= 1
            elif answer["status"] == ACCEPTED:
                deliveries.acknowledged += 1

    def acknowledged(self, tenant: str) -> int:
        """How many events were acknowledged, repeats included."""
        return sum(one.acknowledged for one in self._all(tenant))

    def counted_lines(self, tenant: str) -> list[str]:
        """Lines that were acknowledged, and are or have been counted."""
        return [
            line
            for lines in self._tenants[tenant].events.values()
            for line, deliveries in lines.items()
            if deliveries.acknowledged and _facts(line).fault is None
        ]

    def _all(self, tenant: str) -> Iterable[Deliveries]:
        known = self._tenants[tenant]
        yield from known.broken.values()
        for lines in known.events.values():
            yield from lines.values()

    def judge(self, tenant: str, held: Held) -> "Verdict":
        """Hold what a tenant's books and segments say against what was promised."""
        known = self._tenants[tenant]
        verdict = Verdict()
        counted = _counted_once(held.rows, known, verdict)
        aside = Counter(_set_aside(held.quarantine, verdict))
        for identity, lines in known.events.items():
            _judge_lines(identity, lines, counted.get(identity), aside, verdict)
        for line, deliveries in known.broken.items():
            _within(verdict, f"no event: {line!r}", aside.pop(("broken", line), 0), deliveries, "set aside")
        verdict.off += [
            f"{times} times {what[0]} in quarantine, and nobody sent it: {what[1]}"
            for what, times in aside.items()
        ]
        self._judge_tally(tenant, held, verdict)
        verdict.counted, verdict.tally = counted, held.tally
        return verdict

    def _judge_tally(self, tenant: str, held: Held, verdict: "Verdict") -> None:
        tally = held.tally
        if tally["accepted"] != tally["counted"] + tally["duplicate"] + tally["quarantined"]:
            verdict.off.append(f"the account does not add up: {tally}")
        if tally["counted"] != len(held.rows):
            verdict.off.append(f"{tally['counted']} events by the seals, {len(held.rows)} in the segments")
        if tally["quarantined"] != len(held.quarantine):
            verdict.off.append(
                f"{tally['quarantined']} set aside by the seals, {len(held.quarantine)} are there"
            )
        least = self.acknowledged(tenant)
        most = sum(one.sent for one in self._all(tenant))
        if not least <= tally["accepted"] <= most:
            verdict.off.append(
                f"{tally['accepted']} events were accepted; {least} were acknowledged and {most} sent"
            )


@dataclass(slots=True)
class Verdict:
    """lost: acknowledged and neither counted nor set aside. doubled: counted more than once. off: the rest."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    counted: Mapping[Identity, Facts] = field(default_factory=dict)
    tally: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not (self.lost or self.doubled or self.off)

    def __str__(self) -> str:
        parts = []
        for name, findings in (("lost", self.lost), ("doubled", self.doubled), ("off", self.off)):
            parts += [f"{name}: {finding}" for finding in findings[:FINDINGS_SHOWN]]
            if len(findings) > FINDINGS_SHOWN:
                parts.append(f"{name}: and {len(findings) - FINDINGS_SHOWN} more")
        return "\n".join(parts) or "all is well"


def _counted_once(rows: Sequence[Row], known: _Tenant, verdict: Verdict) -> dict[Identity, Facts]:
    """The counted identities, with the facts of the line that each of them was counted for."""
    counted: dict[Identity, Facts] = {}
    for row in rows:
        identity = (row.source, row.id)
        if identity in counted:
            verdict.doubled.append(f"{identity} is counted again")
            continue
        lines = known.events.get(identity, {})
        facts = next((found for line in lines if _says(row, found := _facts(line))), None)
        if facts is None or facts.fault is not None:
            verdict.off.append(f"{identity} is counted for what nobody sent: {row}")
            continue
        counted[identity] = facts
    return counted


def _facts(line: str) -> Facts:
    facts = facts_of(line)
    assert facts is not None, "it has an identity"
    return facts


def _says(row: Row, facts: Facts) -> bool:
    if (row.type, row.subject) != (facts.type, facts.subject) or _data_of(row.data) != facts.data:
        return False
    if facts.type == traffic.METERED and row.tokens != _tokens(facts):
        return False
    return facts.time is None or row.time.replace(tzinfo=UTC) == facts.time


@lru_cache(maxsize=400_000)
def _data_of(text: str) -> Any:
    return exact_json(text)


def _tokens(facts: Facts) -> Decimal | None:
    tokens = facts.data.get("tokens")
    return None if tokens is None else Decimal(tokens)


def _set_aside(quarantine: Sequence[tuple[str, str]], verdict: Verdict) -> Iterable[tuple[str, Any]]:
    """Each quarantined event as (reason, content), where the content tells lines of one identity apart."""
    for reason, raw in quarantine:
        facts = facts_of(raw)
        if not reason:
            verdict.off.append(f"in quarantine without a reason: {raw}")
        yield ("broken", raw) if facts is None else (reason, _content(facts))


def _content(facts: Facts) -> tuple[Any, ...]:
    return (facts.identity, facts.type, facts.subject, facts.time, tuple(sorted(facts.data.items())))


def _judge_lines(
    identity: Identity,
    lines: Mapping[str, Deliveries],
    counted: Facts | None,
    aside: Counter[tuple[str, Any]],
    verdict: Verdict,
) -> None:
    for line, deliveries in lines.items():
        facts = _facts(line)
        if facts.fault is not None:
            found = aside.pop((facts.fault, _content(facts)), 0)
            _within(verdict, f"{identity}, which is {facts.fault}", found, deliveries, "set aside")
        elif facts == counted:
            if deliveries.sent == 0:
                verdict.off.append(f"{identity} is counted, and was refused")
        else:
            found = aside.pop(("conflict", _content(facts)), 0)
            if counted is None and deliveries.acknowledged:
                verdict.lost.append(f"{identity} was acknowledged: {line}")
            elif counted is None and found:
                verdict.off.append(f"{identity} is a conflict with nothing: {line}")
            elif counted is not None:
                _within(verdict, f"{identity}, a conflict", found, deliveries, "set aside")


def _within(verdict: Verdict, what: str, found: int, deliveries: Deliveries, done: str) -> None:
    if found < deliveries.acknowledged:
        verdict.lost.append(f"{what}: {deliveries.acknowledged} acknowledged, {found} {done}")
    elif found > deliveries.sent:
        verdict.off.append(f"{what}: {deliveries.sent} sent, {found} {done}")


def expected_usage(
    counted: Mapping[Identity, Facts], start: datetime | None = None, end: datetime | None = None
) -> dict[tuple[str | None, str], tuple[int, Decimal]]:
    """(calls, tokens) by customer and model of the counted events, of all or of those in [start, end).

    What a counted event corrects is used no more; clients correct an event once.
    """
    sums: dict[tuple[str | None, str], tuple[int, Decimal]] = {}
    corrected = {facts.corrects for facts in counted.values()}
    for facts in counted.values():
        if facts.type != traffic.METERED or facts.identity in corrected:
            continue
        if start is not None and end is not None and not (facts.time and start <= facts.time < end):
            continue
        tokens = _tokens(facts)
        assert tokens is not None, "it would not count"
        key = (traffic.CUSTOMER_OF.get(facts.subject or ""), facts.data["model"])
        calls, sum_ = sums.get(key, (0, Decimal(0)))
        sums[key] = (calls + 1, sum_ + tokens)
    return sums
