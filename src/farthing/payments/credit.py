"""What stands to customers' credit: one notion for each customer and currency, wherever it comes from.

    payment        what is left of a payment, once it paid what it was for
    invoice        an invoice below zero: its total
    credit_note    what a credit note gives back beyond what its invoice asked for, and not to a wallet
    grant          what was paid for a grant that was called off

All of it pays what the customer owes in that currency by itself: what arose first pays what falls due first, whenever
payments are settled and at every collecting. Nothing is paid twice and nothing is forgotten: each credit has what it
paid beside it, and for each customer

    receivable in the ledger = open of invoices - credit - refunds under way + owed for paid grants

which `farthing doctor` and the report `customer-credit` hold against the ledger. A receivable below zero is a credit of
the customer; there is no second account for it (`ledger/chart.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from farthing.customers.store import select_customers
from farthing.db import Books
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import exact, trimmed
from farthing.kernel.reading import shown
from farthing.payments import credit_store as rows

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""
CREDITS_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How a customer stands in one currency. payments, invoices, credit_notes, grants: credit by where it is from."""

    customer: str
    currency: str
    open: Decimal
    payments: Decimal
    invoices: Decimal
    credit_notes: Decimal
    grants: Decimal
    refunds_under_way: Decimal
    owed_for_grants: Decimal

    @property
    def credit(self) -> Decimal:
        """What may still pay something."""
        with exact():
            return self.payments + self.invoices + self.credit_notes + self.grants

    @property
    def balance(self) -> Decimal:
        """What the customer owes in all; below zero, what it is owed."""
        with exact():
            return self.open - self.credit - self.refunds_under_way + self.owed_for_grants


def standing_of(row: Mapping[str, Any]) -> Standing:
    """A row of `credit_store.select_standing`."""
    return Standing(**{name: row[name] for name in Standing.__slots__})


def customer_balance(books: Books, tenant_id: int, customer: str) -> list[dict[str, Any]]:
    """How a customer stands now, in each currency that it ever had something to pay or to its credit in.

    credits: what is left of each, in the order that they pay in; the first hundred.

    Raises NotFound `customer_not_found`.
    """
    with books.read_only(tenant_id) as conn:
        known = select_customers(conn, tenant_id, [customer]).get(customer)
        if known is None:
            raise NotFound("customer_not_found", f"there is no customer {shown(customer)}")
        found = rows.select_standing(conn, tenant_id, None, known.customer_id)
        left = rows.select_credits_left(conn, tenant_id, known.customer_id, CREDITS_SHOWN_MAX)
    return [_balance_json(standing_of(row), left) for row in found]


def list_credits(
    books: Books, tenant_id: int, after: int, limit: int, customer: str | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """Credits that no payment brought with their ids, in the order that they arose, those behind the id `after`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_credits_after(conn, tenant_id, after, limit, customer)
    return [(row["credit_id"], _credit_json(row)) for row in found]


def _balance_json(standing: Standing, left: list[Any]) -> dict[str, Any]:
    return {
        "customer": standing.customer,
        "currency": standing.currency,
        "open": trimmed(standing.open),
        "credit": trimmed(standing.credit),
        "refunds_under_way": trimmed(standing.refunds_under_way),
        "owed_for_grants": trimmed(standing.owed_for_grants),
        "balance": trimmed(standing.balance),
        "credits": [
            {
                "source": row["source"],
                "reference": row["reference"],
                "amount": trimmed(row["amount"]),
                "left": trimmed(row["left"]),
                "since": format_instant(row["since"]),
            }
            for row in left
            if row["currency"] == standing.currency
        ],
    }


def _credit_json(row: Mapping[str, Any]) -> dict[str, Any]:
    with exact():
        left = row["amount"] - row["allocated"] - row["taken_back"]
    return {
        "customer": row["customer"],
        "currency": row["currency"],
        "source": row["source"],
        "reference": row["reference"],
        "amount": trimmed(row["amount"]),
        "left": trimmed(left),
        "taken_back": trimmed(row["taken_back"]),
        "since": format_instant(row["arose_at"]),
        "paid": [
            {"invoice": one["invoice"], "amount": trimmed(Decimal(one["amount"]))} for one in row["paid"]
        ],
    }
