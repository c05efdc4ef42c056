"""What a credit note gives back of what wallets paid: it goes back to them, as grants of its own.

A draw is a fact of the past, and the invoice says that wallets paid it: neither changes. So what goes back is a new
grant in the same wallet, of the same kind (paid or given away), scope, priority and expiry as the one that had paid;
the last that paid gets first. A grant that has expired or was called off takes nothing back, since what it paid for
could not be used any more: that part stands to the customer's credit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import Direction, round_count
from farthing.ledger.facts import GrantFunded
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import grant_funded
from farthing.wallets import store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.model import GrantContent, Scope
from farthing.wallets.returning_store import select_returnable


@dataclass(frozen=True, slots=True)
class Return:
    """How much goes back of a grant: its row, and the amount."""

    grant: Any
    amount: Decimal


def returns_of(
    conn: BooksConnection, tenant_id: int, invoice_id: int, amount: Decimal, currency: str, now: datetime
) -> list[Return]:
    """What of this amount goes back to the grants that paid for the invoice: whole minor units in all."""
    if amount <= 0:
        return []
    found = select_returnable(conn, tenant_id, invoice_id, now)
    with exact():
        possible = sum((row["paid_for"] for row in found), ZERO)
        left = round_count(min(amount, possible), MINOR_UNITS[currency], Direction.DOWN)
        returns = []
        for row in found:
            part = min(row["paid_for"], left)
            if part > 0:
                returns.append(Return(row, part))
                left -= part
    return returns


def returned_in_all(returns: Sequence[Return]) -> Decimal:
    """How much goes back to wallets."""
    with exact():
        return sum((one.amount for one in returns), ZERO)


def put_returns(
    conn: BooksConnection,
    tenant_id: int,
    returns: Sequence[Return],
    credit_note: str,
    currency: str,
    now: datetime,
) -> list[Transfer]:
    """The grants of a credit note, in the transaction that issues it; the transfers, to post with its own."""
    if not returns:
        return []
    made, transfers = [], []
    for place, one in enumerate(returns, start=1):
        row = one.grant
        content = GrantContent(
            f"returned:{credit_note}:{place}",
            row["paid"],
            one.amount,
            row["priority"],
            Scope(tuple(row["meters"]), tuple(row["rate_cards"])),
            now,
            row["expires_at"],
            credit_note,
        )
        made.append(
            rows.grant_row(
                content, row["wallet_id"], row["customer_id"], now, b"", returned_of=row["grant_id"]
            )
        )
        fact = GrantFunded(
            content.key, row["customer_id"], currency, one.amount, row["paid"], now, returned=True
        )
        transfers.append(grant_funded(fact))
    rows.insert_grants(conn, tenant_id, made, now)
    wallet_ids = sorted({one.grant["wallet_id"] for one in returns})
    balances = rows.select_balances(conn, tenant_id, wallet_ids, now)
    watch_balances(conn, tenant_id, {one: row["available"] for one, row in balances.items()}, now)
    return transfers
