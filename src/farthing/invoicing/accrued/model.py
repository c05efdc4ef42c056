"""The nouns of accrued spend."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.period import Period
from farthing.kernel.quantity import exact


class Held(StrEnum):
    """Why accrued spend is not charged before its period ends: it is paid for already, by a commitment or from a
    wallet of money as it is used, the period has as many interim invoices as it may have, or it cannot be rated.
    """

    PREPAID = "prepaid_commitment"
    WALLET = "wallet"
    TOO_MANY = "too_many_interim_invoices"
    NOT_RATED = "not_rated"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a subscription had spent in all by a moment, since it was first looked at."""

    at: datetime
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Accrued:
    """What the open period of a subscription had come to when it was looked at.

    accrued: by its usage before `as_of`, exactly. billed: of that, by its interim invoices.
    threshold: how much may stand unbilled; None: as much as will.
    unbilled_since: since when at least a minor unit stands unbilled.
    charge_by: when that is charged, however little it is.
    checkpoints: in order; the last is this look.
    last_change_id, last_collection_id: of the facts that were known of the subscription and its terms.
    """

    subscription_id: int
    period: Period
    accrued: Decimal
    billed: Decimal
    threshold: Decimal | None
    unbilled_since: datetime | None
    charge_by: datetime | None
    held: Held | None
    checkpoints: tuple[Checkpoint, ...]
    last_change_id: int
    last_collection_id: int
    as_of: datetime

    @property
    def unbilled(self) -> Decimal:
        with exact():
            return self.accrued - self.billed
