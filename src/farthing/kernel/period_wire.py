"""`farthing periods`: one line of JSON in, one line out. See `kernel/period.py` for what a period is."""

from datetime import date, datetime
from itertools import islice
from typing import Literal

from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import format_instant, is_date, parse_date, parse_instant, parse_timezone
from farthing.kernel.period import (
    CALENDAR,
    Anchor,
    billing_periods,
    local_midnight,
    parse_interval,
    parse_interval_count,
)
from farthing.kernel.reading import Faults, Fields, parse_count

PERIODS_MAX = 10_000
"""Most periods in one answer."""


def periods_line(raw: object) -> dict[str, object]:
    """The period that contains `at` and the ones after it, or what is wrong with the question.

        {"anchor": "2024-01-31T00:00:00Z", "interval": "month", "at": "2024-02-15T00:00:00Z", "count": 2}
        {"periods": [{"start": "2024-01-31T00:00:00Z", "end": "2024-02-29T00:00:00Z"}, ...]}
        {"error": {"code": "invalid_timezone", "message": "timezone 'Mars/Base' is not a time zone ..."}}

    `anchor`, `interval` and `at` are required; `interval_count` and `count` are 1 and `timezone` is
    UTC unless given. `anchor` is an instant, "calendar", or a day like 2024-01-31, as for a subscription;
    `at` an instant or a day. A day is its first instant in the time zone. Codes: invalid_instant,
    invalid_date, invalid_interval, invalid_interval_count, invalid_timezone, invalid_count,
    period_out_of_range; invalid_line for several of them at once and for missing and unknown fields.
    """
    try:
        return {"periods": _periods(raw)}
    except FarthingError as error:
        return {"error": {"code": error.code, "message": error.message}}


def _periods(raw: object) -> list[dict[str, str]]:
    faults = Faults("invalid_line")
    fields = Fields(raw, "", faults)
    anchor = fields.required("anchor", _parse_anchor)
    interval = fields.required("interval", parse_interval)
    interval_count = fields.optional("interval_count", parse_interval_count, 1)
    timezone = fields.optional("timezone", parse_timezone, "UTC")
    at = fields.required("at", _parse_moment)
    count = fields.optional("count", _parse_periods_count, 1)
    fields.refuse_unknown()
    faults.refuse()
    moment = at if isinstance(at, datetime) else local_midnight(at, timezone)
    periods = islice(billing_periods(anchor, interval, interval_count, timezone, moment), count)
    return [{"start": format_instant(period.start), "end": format_instant(period.end)} for period in periods]


def _parse_anchor(raw: object, path: str) -> Anchor:
    calendar: Literal["calendar"] = CALENDAR
    return calendar if raw == CALENDAR else _parse_moment(raw, path)


def _parse_moment(raw: object, path: str) -> datetime | date:
    return parse_date(raw, path) if is_date(raw) else parse_instant(raw, path)


def _parse_periods_count(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=PERIODS_MAX, code="invalid_count")
