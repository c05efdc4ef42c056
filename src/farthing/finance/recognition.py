"""When revenue that was invoiced in advance is earned. Pure.

Service is rendered evenly over the line's service period (ASC 606-10-25-31 and IFRS 15.41: progress measured by
time elapsed). At the start of every month in UTC, and at the end of the service, as much is earned as had been
rendered by then, rounded once to the currency's minor unit; what was earned before is taken off. So months add up to
the line whatever was rounded, and a line that ended is earned whole.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from farthing.finance.model import DeferredLine
from farthing.kernel.instant import format_instant, microseconds
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.ledger.facts import RevenueRecognised

JUST_BEFORE = timedelta(microseconds=1)
"""What is earned by the start of a month belongs to the month before."""


def earned_by(line: DeferredLine, moment: datetime) -> Decimal:
    """How much of the line has been rendered by then, in the currency's minor unit."""
    if moment <= line.service_start:
        return ZERO
    if moment >= line.service_end:
        return line.amount
    elapsed = Decimal(microseconds(moment - line.service_start))
    whole = Decimal(microseconds(line.service_end - line.service_start))
    with exact():
        dividend = line.amount.copy_abs() * elapsed
    share = divide_rounded(dividend, whole, MINOR_UNITS[line.currency], Direction.HALF_UP)
    return share.copy_sign(line.amount)


def recognition_points(line: DeferredLine) -> Iterator[datetime]:
    """The moments at which revenue of a line is booked: the starts of months within its service, and its end."""
    point = _next_month(line.service_start)
    while point < line.service_end:
        yield point
        point = _next_month(point)
    yield line.service_end


def recognitions(line: DeferredLine, after: datetime | None, until: datetime) -> Iterator[RevenueRecognised]:
    """What is earned of a line at its points in (after, until]; without `after` at all of them up to `until`.

    It takes effect in the month that it was rendered in, but never before the document was issued.
    """
    earned = ZERO
    for point in recognition_points(line):
        if point > until:
            return
        earned_before, earned = earned, earned_by(line, point)
        if (after is not None and point <= after) or earned == earned_before:
            continue
        with exact():
            amount = earned - earned_before
        yield RevenueRecognised(
            line.document,
            f"{line.line}:{format_instant(point)}",
            line.customer_id,
            line.currency,
            amount,
            max(point - JUST_BEFORE, line.issued_at),
        )


def still_to_come(lines: Iterable[DeferredLine], as_of: datetime) -> dict[tuple[str, str], Decimal]:
    """What will be earned of these lines in each month from a moment on: by (currency, month as `2026-02`)."""
    found: dict[tuple[str, str], Decimal] = {}
    with exact():
        for line in lines:
            earned = ZERO
            for point in recognition_points(line):
                earned_before, earned = earned, earned_by(line, point)
                if point > as_of:
                    month = (point - JUST_BEFORE).astimezone(UTC).strftime("%Y-%m")
                    found[line.currency, month] = (
                        found.get((line.currency, month), ZERO) + earned - earned_before
                    )
    return {key: amount for key, amount in sorted(found.items()) if amount}


def _next_month(moment: datetime) -> datetime:
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (start + timedelta(days=32)).replace(day=1)
