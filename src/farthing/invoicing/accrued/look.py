"""From what has accrued to whether it is charged. Pure.

    terms, accrued, billed, the last look   ->   this look (threshold, since when, until when)   ->   charge, or wait

A charge is due when as much stands unbilled as may, or when what stands has stood for `charge_within_days`, as
long as the card authorisation behind it holds. It is never less than a minor unit of the currency. At the
end of the period the billing run charges what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from farthing.catalog.collection import Collection, ComputedThreshold
from farthing.customers.terms.model import Commitment, Terms
from farthing.invoicing.accrued.model import Accrued, Held
from farthing.invoicing.accrued.recent_spend import first_checkpoints, spend_per_day, with_checkpoint
from farthing.invoicing.accrued.threshold import computed_threshold
from farthing.invoicing.interim.charging import INTERIM_INVOICES_MAX, whole_units
from farthing.invoicing.model import Because, BilledBefore
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO, exact


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a subscription found.

    accrued: None where it could not be rated. has_wallet: whether the customer has one of money.
    """

    subscription_id: int
    period: Period
    currency: str
    accrued: Decimal | None
    billed: Sequence[BilledBefore]
    collection: Collection
    terms: Terms
    last_change_id: int
    last_collection_id: int
    has_wallet: bool = False


def look(before: Accrued | None, seen: Seen, now: datetime) -> Accrued:
    """What is known of a subscription after a look at it, knowing what the one before found."""
    same = before is not None and before.period.start == seen.period.start
    accrued = seen.accrued
    if accrued is None:
        accrued = before.accrued if before is not None and same else ZERO
    with exact():
        billed = sum((one.total for one in seen.billed), ZERO)
        more = accrued - before.accrued if before is not None and same else accrued
    checkpoints = (
        first_checkpoints(seen.period.start, now, accrued)
        if before is None
        else with_checkpoint(before.checkpoints, now, more)
    )
    since = None
    if unbilled_units(accrued, billed, seen.currency) > 0:
        stands = before is not None and same and before.billed == billed and before.unbilled_since is not None
        since = before.unbilled_since if before is not None and stands else now
    threshold = _threshold(before, seen, spend_per_day(checkpoints))
    return Accrued(
        seen.subscription_id,
        seen.period,
        accrued,
        billed,
        threshold,
        since,
        _charge_by(seen.collection, since),
        _held(seen, now),
        checkpoints,
        seen.last_change_id,
        seen.last_collection_id,
        now,
    )


def unbilled_units(accrued: Decimal, billed: Decimal, currency: str) -> Decimal:
    """What of an accrued amount could be charged: whole minor units that no invoice has billed."""
    with exact():
        return whole_units(accrued - billed, currency)


def charge_is_due(accrued: Accrued, collection: Collection, currency: str, now: datetime) -> Because | None:
    """Whether what stands unbilled is charged now, and why."""
    if not collection.as_you_go or accrued.held is not None:
        return None
    if unbilled_units(accrued.accrued, accrued.billed, currency) <= 0:
        return None
    if accrued.threshold is not None and accrued.unbilled >= accrued.threshold:
        return Because.THRESHOLD
    if accrued.charge_by is not None and now >= accrued.charge_by:
        return Because.DAYS
    return None


def _threshold(before: Accrued | None, seen: Seen, a_day: Decimal) -> Decimal | None:
    match seen.collection.threshold:
        case ComputedThreshold() as terms:
            in_force = None if before is None else before.threshold
            return computed_threshold(terms, a_day, in_force, MINOR_UNITS[seen.currency])
        case fixed:
            return fixed


def _charge_by(collection: Collection, since: datetime | None) -> datetime | None:
    if since is None or collection.charge_within_days is None:
        return None
    return since + timedelta(days=collection.charge_within_days)


def _held(seen: Seen, now: datetime) -> Held | None:
    if seen.accrued is None:
        return Held.NOT_RATED
    if any(_pays(one, seen.period, now) for one in seen.terms.commitments):
        return Held.PREPAID
    if seen.has_wallet:
        return Held.WALLET
    if len(seen.billed) >= INTERIM_INVOICES_MAX:
        return Held.TOO_MANY
    return None


def _pays(commitment: Commitment, period: Period, now: datetime) -> bool:
    """Whether usage of a period may be drawn from what was paid in advance."""
    begun = commitment.prepaid and commitment.term.start <= now
    return begun and (commitment.rollover or commitment.term.end > period.start)
