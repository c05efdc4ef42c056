"""An answer to a dispute from the evidence: the fields that payers' banks read. Pure.

Stripe passes these on, at most 20,000 characters in a field and 150,000 in all (its guide to dispute evidence); what
does not fit is left out from the end, and the text says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from farthing.kernel.reading import Faults, Fields, parse_count, parse_text

FIELD_CHARACTERS_MAX = 20_000
NOTE_CHARACTERS_MAX = 5_000
EVENTS_DEFAULT, EVENTS_MAX = 100, 1_000
"""Events that are told of each line."""

_CUT = "\n(and more, which is left out here)"


@dataclass(frozen=True, slots=True)
class AnswerWanted:
    """note: what somebody has to say beside the evidence. events: how many are told of each line."""

    note: str | None
    events: int


def parse_answer(raw: object) -> AnswerWanted:
    """`{"note": "They wrote to us.", "events": 100}`, both optional. Raises InvalidInput `invalid_answer`."""
    faults = Faults("invalid_answer")
    fields = Fields(raw, "", faults)
    note = fields.optional("note", parse_text, None)
    events = fields.optional(
        "events",
        lambda value, path: parse_count(value, path, least=1, most=EVENTS_MAX, code="invalid_answer"),
        EVENTS_DEFAULT,
    )
    if note is not None and len(note) > NOTE_CHARACTERS_MAX:
        faults.add("note", f"must have at most {NOTE_CHARACTERS_MAX:,} characters")
    fields.refuse_unknown()
    faults.refuse()
    return AnswerWanted(note, events)


def answer_content(evidence: Mapping[str, Any], note: str | None) -> dict[str, str]:
    """The fields of an answer; what nothing is known of is left out. evidence: as `evidence_of` gathers it."""
    invoices = evidence["invoices"]
    lines = [line for invoice in invoices for line in invoice["lines"]]
    bill_to = invoices[0]["bill_to"] if invoices else {}
    periods = [line["service_period"] for line in lines]
    fields = {
        "customer_name": bill_to.get("name") or evidence["dispute"]["customer"],
        "billing_address": _address(bill_to.get("address") or {}),
        "product_description": "\n".join(dict.fromkeys(line["description"] for line in lines)),
        "service_date": _service_date(periods),
        "access_activity_log": _cut(_events(lines)),
        "uncategorized_text": _cut(_account(evidence, note)),
    }
    return {name: text[:FIELD_CHARACTERS_MAX] for name, text in fields.items() if text}


def _address(address: Mapping[str, Any]) -> str:
    return ", ".join(str(part) for part in address.values() if part)


def _service_date(periods: Iterable[Mapping[str, str]]) -> str:
    found = list(periods)
    if not found:
        return ""
    first, last = min(one["start"] for one in found), max(one["end"] for one in found)
    return f"{first[:10]} to {last[:10]}"


def _events(lines: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The use of the service, call by call, as it was logged."""
    for line in lines:
        events = line.get("events") or []
        if not events:
            continue
        total = line.get("events_total")
        yield f"{line['description']}: {total if total is not None else len(events)} logged calls"
        for event in events:
            yield "  " + " ".join(
                f"{name}={_said(value)}" for name, value in event.items() if value is not None
            )


def _account(evidence: Mapping[str, Any], note: str | None) -> Iterator[str]:
    """What was billed, and how it was paid."""
    if note:
        yield note
    payment = evidence["payment"]
    paid_at = payment.get("paid_at") or payment["requested_at"]
    yield f"Payment {payment['key']} of {payment['amount']} {payment['currency']} at {paid_at}."
    for invoice in evidence["invoices"]:
        yield f"Invoice {invoice['number']} of {invoice['issued_at']}, in all {invoice['total']}:"
        for line in invoice["lines"]:
            period = line["service_period"]
            yield (
                f"  {line['description']}, {period['start'][:10]} to {period['end'][:10]}: "
                f"{line['quantity']} for {line['amount']}"
            )


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{inner}" for name, inner in value.items())
    return str(value)


def _cut(lines: Iterable[str]) -> str:
    """As many whole lines as fit."""
    kept: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length + len(_CUT) > FIELD_CHARACTERS_MAX:
            return "\n".join(kept) + _CUT
        kept.append(line)
    return "\n".join(kept)
