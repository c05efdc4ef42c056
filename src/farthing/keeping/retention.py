"""For how long events are kept, as it is read and shown: {"keep_days": 400}; null: for ever. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farthing.kernel.instant import format_instant
from farthing.kernel.reading import Faults, Fields, parse_count

KEEP_DAYS_MAX = 36_600
INVALID_RETENTION = "invalid_retention"


@dataclass(frozen=True, slots=True)
class Retention:
    """What a tenant said (None: for ever), and what was removed because of it."""

    keep_days: int | None
    removed_segments: int
    removed_events: int
    removed_until: datetime | None


def parse_retention(raw: object) -> int | None:
    """For how many days; None: for ever. Raises InvalidInput `invalid_retention`."""
    faults = Faults(INVALID_RETENTION)
    fields = Fields(raw, "", faults)
    days = fields.optional("keep_days", _parse_days, None)
    if isinstance(raw, dict) and "keep_days" not in raw:
        faults.add("keep_days", "is missing; null keeps events for ever")
    fields.refuse_unknown()
    faults.refuse()
    return days


def _parse_days(raw: object, path: str) -> int | None:
    return (
        None if raw is None else parse_count(raw, path, least=1, most=KEEP_DAYS_MAX, code=INVALID_RETENTION)
    )


def retention_json(retention: Retention) -> dict[str, Any]:
    """As it is shown."""
    until = retention.removed_until
    return {
        "keep_days": retention.keep_days,
        "removed_segments": retention.removed_segments,
        "removed_events": retention.removed_events,
        "removed_until": None if until is None else format_instant(until),
    }
