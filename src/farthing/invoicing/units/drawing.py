"""Units of wallets and bills, in the caller's transaction: what they may pay, what they pay, what goes back."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from farthing.catalog.model import Meter
from farthing.db.pool import BooksConnection
from farthing.invoicing.model import Bill, Draft, Reason
from farthing.invoicing.run import SUBSCRIPTION_CHANGED, passed_over
from farthing.invoicing.units.paying import Units, unit_draft, with_units_drawn
from farthing.ledger.model import Transfer
from farthing.wallets.model import Cause
from farthing.wallets.schedule_store import select_holders_among
from farthing.wallets.unit_draws import draw_units, give_units_back
from farthing.wallets.unit_store import lock_grants_of, select_unit_grants, select_unit_meters


def units_of(
    conn: BooksConnection,
    tenant_id: int,
    bills: Sequence[Bill],
    meters: Mapping[str, Meter],
    now: datetime,
) -> Units | None:
    """What wallets of units hold for these bills; None where none of their customers has one."""
    holders = select_unit_meters(conn, tenant_id).keys() & {bill.customer.customer_id for bill in bills}
    if not holders:
        return None
    return Units(select_unit_grants(conn, tenant_id, holders, _periods(bills, holders)), meters, now)


def with_units_of_periods(conn: BooksConnection, tenant_id: int, bills: Sequence[Bill]) -> list[Bill]:
    """These bills with the units that were drawn for their periods."""
    holders = select_unit_meters(conn, tenant_id).keys() & {bill.customer.customer_id for bill in bills}
    if not holders:
        return list(bills)
    return with_units_drawn(bills, select_unit_grants(conn, tenant_id, holders, _periods(bills, holders)))


def drawn_from_units(
    conn: BooksConnection,
    tenant_id: int,
    drafts: Sequence[Draft],
    skipped: list[dict[str, Any]],
    now: datetime,
) -> tuple[list[Draft], list[Transfer]]:
    """Draw what units pay of these drafts; the drafts that still stand, and the transfers to post with the invoices.

    Where the units of a draft went elsewhere meanwhile it would be another one: it is left to the next run.
    """
    holders = select_unit_meters(conn, tenant_id)
    of_units = [
        draft
        for draft in drafts
        if draft.bill.reason is Reason.PERIOD and draft.bill.customer.customer_id in holders
    ]
    if not of_units:
        return list(drafts), []
    # Of everybody who has a wallet, at once: grants are locked in one order, and money is drawn right after.
    customers = {draft.bill.customer.customer_id for draft in drafts}
    lock_grants_of(conn, tenant_id, select_holders_among(conn, tenant_id, customers))
    stand, transfers = draw_units(
        conn, tenant_id, [unit_draft(draft.bill) for draft in of_units], Cause.INVOICED, now
    )
    moved = {draft.bill.key for draft, stands in zip(of_units, stand, strict=True) if not stands}
    kept: list[Draft] = []
    fallen: set[int] = set()
    for draft in drafts:
        if draft.bill.key in moved or draft.bill.subscription.subscription_id in fallen:
            fallen.add(draft.bill.subscription.subscription_id)  # Later ones were drafted knowing this one.
            skipped.append(passed_over(draft.bill, SUBSCRIPTION_CHANGED))
        else:
            kept.append(draft)
    return kept, transfers


def units_given_back(
    conn: BooksConnection, tenant_id: int, invoice: Mapping[str, Any], now: datetime
) -> list[Transfer]:
    """All units that were drawn for the period of an invoice go back; for the transaction that voids it."""
    lock_grants_of(conn, tenant_id, {invoice["customer_id"]})
    return give_units_back(
        conn,
        tenant_id,
        invoice["subscription_id"],
        invoice["period_start"],
        invoice["customer_id"],
        invoice["currency"],
        now,
    )


def _periods(bills: Sequence[Bill], holders: Collection[int]) -> set[tuple[int, datetime]]:
    return {
        (bill.subscription.subscription_id, bill.period.start)
        for bill in bills
        if bill.customer.customer_id in holders
    }
