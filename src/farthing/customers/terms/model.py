"""The nouns of terms."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from farthing.catalog.coupon import Coupon
from farthing.kernel.period import Interval, Period


class CommitmentKind(StrEnum):
    """Whether what is committed to is owed at the end as far as it was not used, or paid up front."""

    MINIMUM = "minimum"
    PREPAID = "prepaid"


@dataclass(frozen=True, slots=True)
class CommitmentContent:
    """A commitment as it is to be: start None is the subscription's, and the term ends at `end` or is an interval."""

    key: str
    name: str
    kind: CommitmentKind
    amount: Decimal
    start: datetime | None
    end: datetime | None
    interval: Interval | None
    interval_count: int
    overage_percent: Decimal | None
    rollover: bool
    rate_cards: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Commitment:
    """An amount that a subscription is to use in `term`, whole months or years of billing periods.

    What counts is the usage whose service begins in the term, after coupons: of all rate cards with a
    meter, or of those named (which may be fixed fees).

    overage_percent: what usage beyond the amount costs, in percent of its ordinary price; None as usual.
    rollover: what is left of a prepaid amount at the end of the term goes on being drawn.
    """

    key: str
    name: str
    kind: CommitmentKind
    amount: Decimal
    term: Period
    overage_percent: Decimal | None = None
    rollover: bool = False
    rate_cards: tuple[str, ...] | None = None

    @property
    def prepaid(self) -> bool:
        return self.kind is CommitmentKind.PREPAID

    def shares_usage(self, other: "Commitment") -> bool:
        """Whether some usage could count toward both."""
        if self.term.start >= other.term.end or other.term.start >= self.term.end:
            return False
        if self.rate_cards is None or other.rate_cards is None:
            return True
        return not set(self.rate_cards).isdisjoint(other.rate_cards)


@dataclass(frozen=True, slots=True)
class Redemption:
    """A coupon that a subscription redeemed: it reduces invoices that fall due at or after `start`."""

    coupon: Coupon
    start: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """What one subscription agreed: coupons in order of redemption, commitments in order of start and key."""

    redemptions: tuple[Redemption, ...] = ()
    commitments: tuple[Commitment, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.redemptions or self.commitments)


NO_TERMS = Terms()
