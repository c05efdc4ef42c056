"""How much a subscription spends a day, told from what it had spent at some moments of its last days. Pure.

    checkpoints    1 March 0      2 March 11      3 March 19      3 March 18:00 24      (the last is always now)
    spend a day    (24 - 0) / 2.75 = 8.73

A checkpoint is kept for each day, for two weeks: long enough that a weekend does not look like an end, short
enough that a customer who grows is noticed. What was spent is counted over all periods, so a new period is
no fall. A time of less than a day counts as a day: ten minutes say little about one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.invoicing.accrued.model import Checkpoint
from farthing.kernel.instant import microseconds
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import quotient

RECENT_DAYS = 14
_DAY = timedelta(days=1)
_RECENT = RECENT_DAYS * _DAY


def first_checkpoints(since: datetime, now: datetime, accrued: Decimal) -> tuple[Checkpoint, ...]:
    """Those of a subscription that is looked at for the first time: its open period tells of the days before."""
    return (Checkpoint(since, ZERO), Checkpoint(now, accrued))


def with_checkpoint(
    checkpoints: Sequence[Checkpoint], now: datetime, more: Decimal
) -> tuple[Checkpoint, ...]:
    """The checkpoints with one for now, when so much more has been spent than at the last of them."""
    last = checkpoints[-1]
    kept = list(checkpoints)
    if len(kept) > 1 and kept[-1].at - kept[-2].at < _DAY:
        kept.pop()
    with exact():
        kept.append(Checkpoint(now, last.spent + more))
    while len(kept) > 2 and kept[1].at <= now - _RECENT:
        del kept[0]
    return tuple(kept)


def spend_per_day(checkpoints: Sequence[Checkpoint]) -> Decimal:
    """At 18 digits, half up; zero where less was spent than came back."""
    first, last = checkpoints[0], checkpoints[-1]
    passed = max(last.at - first.at, _DAY)
    with exact():
        spent = (last.spent - first.spent) * microseconds(_DAY)
    return max(ZERO, quotient(spent, Decimal(microseconds(passed))))
