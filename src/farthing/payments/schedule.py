"""When a declined payment is tried again, and what happens to those who do not pay. Pure.

    {"retry_after_days": [1, 3, 5, 7], "remind_after_days": [1, 7, 14], "suspend_after_days": 21,
     "write_off_after_days": null}

Retries count from the decline before; all others from the day the invoice was due. Reminders and suspension are
facts in the outbox; a customer that has paid what was overdue is resumed by a fact, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from farthing.kernel.reading import Faults, Fields, parse_count, parse_list
from farthing.payments.gateway import FINAL_DECLINES

DAYS_MAX = 3650
RETRIES_MAX = 12
REMINDERS_MAX = 12


@dataclass(frozen=True, slots=True)
class DunningPolicy:
    """How a tenant treats those who do not pay."""

    retry_after_days: tuple[int, ...] = (1, 3, 5, 7)
    remind_after_days: tuple[int, ...] = (1, 7, 14)
    suspend_after_days: int | None = 21
    write_off_after_days: int | None = None


def next_attempt(policy: DunningPolicy, attempts: int, code: str | None, now: datetime) -> datetime | None:
    """When to try again after so many attempts were declined, the last for this reason; None: not at all."""
    if code in FINAL_DECLINES or attempts > len(policy.retry_after_days):
        return None
    return now + timedelta(days=policy.retry_after_days[attempts - 1])


def policy_of(kept: Mapping[str, Any] | None) -> DunningPolicy:
    """The policy that is kept, or the one that holds where nobody said anything."""
    return DunningPolicy() if kept is None else parse_policy(kept)


def parse_policy(raw: object) -> DunningPolicy:
    """Raises InvalidInput `invalid_dunning_policy` with every fault."""
    faults = Faults("invalid_dunning_policy")
    fields = Fields(raw, "", faults)
    default = DunningPolicy()
    policy = DunningPolicy(
        fields.optional(
            "retry_after_days", lambda value, path: _days(value, path, RETRIES_MAX), default.retry_after_days
        ),
        fields.optional(
            "remind_after_days",
            lambda value, path: _days(value, path, REMINDERS_MAX),
            default.remind_after_days,
        ),
        fields.optional("suspend_after_days", _day, None),
        fields.optional("write_off_after_days", _day, None),
    )
    fields.refuse_unknown()
    faults.refuse()
    if list(policy.remind_after_days) != sorted(set(policy.remind_after_days)):
        faults.add("remind_after_days", "must rise")
    faults.refuse()
    return policy


def policy_json(policy: DunningPolicy) -> dict[str, Any]:
    """As `parse_policy` reads it."""
    return {
        "retry_after_days": list(policy.retry_after_days),
        "remind_after_days": list(policy.remind_after_days),
        "suspend_after_days": policy.suspend_after_days,
        "write_off_after_days": policy.write_off_after_days,
    }


def _day(raw: object, path: str) -> int:
    return parse_count(raw, path, least=0, most=DAYS_MAX, code="invalid_dunning_policy")


def _days(raw: object, path: str, most: int) -> tuple[int, ...]:
    faults = Faults("invalid_dunning_policy")
    days = parse_list(raw, path, _day, most=most, faults=faults)
    faults.refuse()
    return tuple(days)
