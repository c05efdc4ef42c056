"""What of an invoice wallets pay. They pay for usage: not for fees, minimums, true-ups of commitments or tax.

Usage counts after what coupons and prepaid commitments took off it. While the period went on it was drawn exactly,
as it was sealed; its invoice settles that once, to whole minor units. The lines of the invoice are what they would be
without wallets; beside the total stands what was paid, and the ledger books only the rest as receivable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.invoicing.model import Bill, Draft, Line, LineKind, Reason
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import round_money
from farthing.ledger.model import Transfer
from farthing.wallets.draws import settle_periods
from farthing.wallets.model import CardTotal, Settlement
from farthing.wallets.schedule_store import select_holders_among

MINIMUM = "minimum"
_TAKES_OFF = (LineKind.COUPON, LineKind.DRAWDOWN)
_MOMENT = timedelta(microseconds=1)


def paid_from_wallets(
    conn: BooksConnection, tenant_id: int, drafts: Sequence[Draft], now: datetime
) -> tuple[list[Draft], list[Transfer]]:
    """The drafts with what wallets pay of each, and the transfers of that, to post with the invoices.

    For the transaction that issues them.
    """
    holders = select_holders_among(conn, tenant_id, {draft.bill.customer.customer_id for draft in drafts})
    settlements = {
        place: _settlement(draft, now)
        for place, draft in enumerate(drafts)
        if draft.bill.reason is Reason.PERIOD and draft.bill.customer.customer_id in holders
    }
    if not settlements:
        return list(drafts), []
    drawn = settle_periods(conn, tenant_id, list(settlements.values()), now)
    paid = dict(zip(settlements, drawn.paid, strict=True))
    return [
        replace(draft, paid=paid[place]) if paid.get(place) else draft for place, draft in enumerate(drafts)
    ], drawn.transfers


def gave_back(
    conn: BooksConnection, tenant_id: int, invoice: Mapping[str, Any], now: datetime
) -> list[Transfer]:
    """Give all that wallets paid of the invoice of a period back to them; the transfers of that.

    For the transaction that voids it, which holds the issuing of others. Whoever bills the period again, or brings its
    draws up to date while it runs, draws anew.
    """
    currency = invoice["currency"]
    nothing = Settlement(
        invoice["subscription_id"],
        invoice["period_start"],
        invoice["customer_id"],
        currency,
        MINOR_UNITS[currency],
        (),
        ZERO,
        now,
    )
    return settle_periods(conn, tenant_id, [nothing], now).transfers


def _settlement(draft: Draft, now: datetime) -> Settlement:
    bill = draft.bill
    return Settlement(
        bill.subscription.subscription_id,
        bill.period.start,
        bill.customer.customer_id,
        bill.plan.currency,
        MINOR_UNITS[bill.plan.currency],
        card_totals(draft.lines),
        payable(draft),
        drawn_as_of(bill, now),
    )


def drawn_as_of(bill: Bill, now: datetime) -> datetime:
    """The moment that a grant must be in force at to pay for the usage of a period: now, or its last moment."""
    return min(now, bill.period.end - _MOMENT)


def card_totals(lines: Sequence[Line], *, final: bool = True) -> tuple[CardTotal, ...]:
    """What usage comes to by rate card, after what coupons and prepaid commitments took off it.

    final: whether what a price owes at the end of its period alone, its minimum, is part of it.
    """
    amounts: dict[str, Decimal] = {}
    meters: dict[str, tuple[str, ...]] = {}
    with exact():
        for line in lines:
            if line.kind is not LineKind.USAGE or line.rate_card is None:
                continue
            owed = line.amount_exact
            if not final:
                owed -= sum((one.amount for one in line.charges if one.reason == MINIMUM), ZERO)
            amounts[line.rate_card] = amounts.get(line.rate_card, ZERO) + owed
            meters[line.rate_card] = tuple(line.quantities) or ((line.meter,) if line.meter else ())
        for line in lines:
            if line.adjustment is None or line.kind not in _TAKES_OFF:
                continue
            for share in line.adjustment.of:
                reduced = lines[share.line - 1]
                if reduced.kind is LineKind.USAGE and reduced.rate_card is not None:
                    amounts[reduced.rate_card] += share.amount
    return tuple(CardTotal(card, meters[card], amount) for card, amount in amounts.items())


def payable(draft: Draft) -> Decimal:
    """What an invoice asks for usage, as it shows it: in whole minor units, and never more than its subtotal."""
    plan, totals = draft.bill.plan, draft.totals
    usage = [place for place, line in enumerate(draft.lines) if line.kind is LineKind.USAGE]
    reduced = any(line.kind in _TAKES_OFF for line in draft.lines)
    with exact():
        if reduced:
            net = sum((total.amount for total in card_totals(draft.lines)), ZERO)
            asked = round_money(net, MINOR_UNITS[plan.currency], plan.rounding_mode)
        else:
            asked = sum((totals.amounts[place] for place in usage), ZERO)
    return max(ZERO, min(asked, totals.subtotal))
