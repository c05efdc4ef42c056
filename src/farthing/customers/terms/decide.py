"""What redeeming coupons and committing would do: what is wanted beside what stands. Pure.

As with customers, everything is decided before anything is written, and every contradiction is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from farthing.catalog.collection import Collection
from farthing.catalog.coupon import Coupon
from farthing.customers.changes import Contradictions
from farthing.customers.terms.content import COMMITMENTS_MAX, COUPONS_MAX, term_of
from farthing.customers.terms.model import Commitment, CommitmentContent, Redemption, Terms
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import YEAR_MAX, format_instant
from farthing.kernel.reading import Faults, shown


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What bears on the terms of a subscription, which may be one that is about to be created.

    rate_cards: of its plan.
    invoiced_until: the end of the last period that was invoiced.
    """

    key: str
    start: datetime
    end: datetime | None
    currency: str
    timezone: str
    rate_cards: tuple[str, ...]
    standing: Terms
    invoiced_until: datetime | None


@dataclass(frozen=True, slots=True)
class CouponWanted:
    """A coupon to be redeemed, and where that is said. A given start is kept to; else `start` may be any."""

    key: str
    start: datetime
    start_given: bool
    path: str


@dataclass(frozen=True, slots=True)
class CommitmentWanted:
    """A commitment to be made, and where that is said."""

    content: CommitmentContent
    path: str


@dataclass(frozen=True, slots=True)
class TermsWanted:
    """Everything that is wanted of one subscription."""

    subscribed: Subscribed
    coupons: Sequence[CouponWanted]
    commitments: Sequence[CommitmentWanted]


@dataclass(frozen=True, slots=True)
class TermsChange:
    """What is new of one subscription; what stands already is left out.

    collection: terms of collection of its own, and those that it has so far.
    """

    subscription: str
    redemptions: tuple[Redemption, ...]
    commitments: tuple[Commitment, ...]
    collection: Collection | None = None
    collection_before: Collection | None = None

    def __bool__(self) -> bool:
        return bool(self.redemptions or self.commitments or self.collection)


def decide_terms(
    wanted: Sequence[TermsWanted],
    coupons: Mapping[str, Coupon],
    redeemed: Mapping[str, int],
    now: datetime,
) -> list[TermsChange]:
    """What becomes of the wanted terms, in their order. `coupons` are those that stand or are about to.

    Raises:
        InvalidInput: `unknown_coupon`, `unknown_rate_card`, `invalid_redemption`, `invalid_commitment`.
        Conflict: `coupon_expired`, `coupon_exhausted`, `coupon_redeemed` (with another start),
            `currency_mismatch`, `commitment_immutable`, `commitments_overlap`, `already_invoiced`,
            or `conflict` for several kinds.
    """
    faults, conflicts = Faults("invalid_terms"), Contradictions()
    left = {
        key: None if coupon.max_redemptions is None else coupon.max_redemptions - redeemed.get(key, 0)
        for key, coupon in coupons.items()
    }
    changes = []
    for one in wanted:
        redemptions = _redemptions(one, coupons, left, now, faults, conflicts)
        commitments = _commitments(one, faults, conflicts)
        changes.append(TermsChange(one.subscribed.key, tuple(redemptions), tuple(commitments)))
    faults.refuse()
    conflicts.refuse()
    return changes


def _redemptions(
    wanted: TermsWanted,
    coupons: Mapping[str, Coupon],
    left: dict[str, int | None],
    now: datetime,
    faults: Faults,
    conflicts: Contradictions,
) -> list[Redemption]:
    subscribed = wanted.subscribed
    standing = {one.coupon.key: one for one in subscribed.standing.redemptions}
    new: list[Redemption] = []
    for one in wanted.coupons:
        coupon = coupons.get(one.key)
        if coupon is None:
            faults.add(one.path, f"{shown(one.key)} is not a coupon", code="unknown_coupon")
            continue
        before = standing.get(one.key)
        if before is not None:
            if one.start_given and before.start != one.start:
                said = f"{shown(one.key)} is redeemed from {format_instant(before.start)}, and once only"
                conflicts.add("coupon_redeemed", one.path, said)
            continue
        if complaint := _start_complaint(one.start, subscribed):
            faults.add(one.path, complaint, code="invalid_redemption")
            continue
        if code_and_complaint := _refusal(coupon, left[one.key], subscribed, now):
            conflicts.add(code_and_complaint[0], one.path, code_and_complaint[1])
            continue
        remaining = left[one.key]
        left[one.key] = None if remaining is None else remaining - 1
        new.append(Redemption(coupon, one.start))
    if len(standing) + len(new) > COUPONS_MAX:
        said = f"a subscription redeems at most {COUPONS_MAX} coupons"
        faults.add(wanted.coupons[-1].path, said, code="invalid_redemption")
    return new


def _start_complaint(start: datetime, subscribed: Subscribed) -> str:
    if start < subscribed.start:
        return f"must not start before the subscription does, at {format_instant(subscribed.start)}"
    if subscribed.end is not None and start > subscribed.end:
        return f"must not start after the subscription ends, at {format_instant(subscribed.end)}"
    return ""


def _refusal(
    coupon: Coupon, left: int | None, subscribed: Subscribed, now: datetime
) -> tuple[str, str] | None:
    """Why a coupon that is there cannot be redeemed."""
    name = shown(coupon.key)
    if coupon.redeem_by is not None and now > coupon.redeem_by:
        return "coupon_expired", f"{name} could be redeemed until {format_instant(coupon.redeem_by)}"
    if coupon.currency is not None and coupon.currency != subscribed.currency:
        return "currency_mismatch", f"{name} is in {coupon.currency}, the plan in {subscribed.currency}"
    if left is not None and left <= 0:
        return "coupon_exhausted", f"{name} is redeemed {coupon.max_redemptions} times, as often as it may be"
    return None


def _commitments(wanted: TermsWanted, faults: Faults, conflicts: Contradictions) -> list[Commitment]:
    subscribed = wanted.subscribed
    standing = {one.key: one for one in subscribed.standing.commitments}
    known = list(standing.values())
    new: list[Commitment] = []
    for one in wanted.commitments:
        commitment = _commitment(one, subscribed, faults)
        if commitment is None:
            continue
        before = standing.get(commitment.key)
        if before is not None:
            if before != commitment:
                said = f"{shown(commitment.key)} stands with another content: a commitment never changes"
                conflicts.add("commitment_immutable", one.path, said)
            continue
        if overlapping := next((other for other in known if commitment.shares_usage(other)), None):
            said = f"overlaps with the commitment {shown(overlapping.key)} on the same rate cards"
            conflicts.add("commitments_overlap", one.path, said)
        until = subscribed.invoiced_until
        if until is not None and commitment.term.start < until:
            said = f"must not be earlier than {format_instant(until)}: until then it is invoiced"
            conflicts.add("already_invoiced", _at(one.path, "start"), said)
        known.append(commitment)
        new.append(commitment)
    if len(known) > COMMITMENTS_MAX:
        said = f"a subscription has at most {COMMITMENTS_MAX} commitments"
        faults.add(wanted.commitments[-1].path, said, code="invalid_commitment")
    return sorted(new, key=lambda commitment: (commitment.term.start, commitment.key))


def _commitment(one: CommitmentWanted, subscribed: Subscribed, faults: Faults) -> Commitment | None:
    """The commitment with its term in time, or None where that cannot be."""
    content, before = one.content, len(faults)
    for key in content.rate_cards or ():
        if key not in subscribed.rate_cards:
            said = f"names {shown(key)}, which is not a rate card of the plan"
            faults.add(_at(one.path, "rate_cards"), said, code="unknown_rate_card")
    try:
        term = term_of(content, subscribed.start, subscribed.timezone)
    except InvalidInput as error:
        faults.add(_at(one.path, "interval_count"), error.message, code="invalid_commitment")
        return None
    if term is not None and term.end.year > YEAR_MAX:
        said = f"makes a term that ends after the year {YEAR_MAX}"
        faults.add(_at(one.path, "interval_count"), said, code="invalid_commitment")
        return None
    if term is None:
        faults.add(_at(one.path, "end"), "must be later than start", code="invalid_commitment")
        return None
    if term.start < subscribed.start:
        said = f"must not be before the subscription begins, at {format_instant(subscribed.start)}"
        faults.add(_at(one.path, "start"), said, code="invalid_commitment")
    if subscribed.end is not None and term.start >= subscribed.end:
        said = f"must be before the subscription ends, at {format_instant(subscribed.end)}"
        faults.add(_at(one.path, "start"), said, code="invalid_commitment")
    if len(faults) > before:
        return None
    return Commitment(
        content.key,
        content.name,
        content.kind,
        content.amount,
        term,
        content.overage_percent,
        content.rollover,
        content.rate_cards,
    )


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
