"""How far coupons and commitments are used, told from issued invoice lines. Pure."""

from typing import Any

from farthing.customers.terms.content import commitment_json, redemption_json
from farthing.customers.terms.model import Commitment, Redemption
from farthing.invoicing.adjusting.adjustments import History
from farthing.invoicing.model import NOTHING_REACHED, LineKind, Reached
from farthing.kernel.quantity import ZERO, exact, trimmed


def redemption_state(redemption: Redemption, history: History) -> dict[str, Any]:
    """A redeemed coupon, the invoices that it reduced and by how much, and the ones it still will."""
    coupon = redemption.coupon
    reached = _reached(history, LineKind.COUPON, coupon.key)
    left = None if coupon.periods is None else max(0, coupon.periods - reached.invoices)
    return redemption_json(redemption) | {
        "invoices_reduced": reached.invoices,
        "invoices_left": left,
        "taken_off": trimmed(abs(reached.amount)),
    }


def commitment_state(commitment: Commitment, history: History) -> dict[str, Any]:
    """A commitment, and how much of it counted or was drawn, is left, and was trued up or lapsed."""
    used = LineKind.DRAWDOWN if commitment.prepaid else LineKind.COMMITMENT
    reached = _reached(history, used, commitment.key).quantity
    lapsed = _reached(history, LineKind.LAPSE, commitment.key).quantity
    true_up = _reached(history, LineKind.TRUE_UP, commitment.key).amount
    with exact():
        left = max(ZERO, commitment.amount - reached - lapsed - true_up)
        overage = _reached(history, LineKind.OVERAGE, commitment.key).amount
    return commitment_json(commitment) | {
        "used": trimmed(reached),
        "left": trimmed(left),
        "overage": trimmed(overage),
        "lapsed" if commitment.prepaid else "true_up": trimmed(lapsed if commitment.prepaid else true_up),
    }


def _reached(history: History, kind: LineKind, key: str) -> Reached:
    return history.reached.get((kind, key), NOTHING_REACHED)
