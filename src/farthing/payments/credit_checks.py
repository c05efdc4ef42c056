"""The laws of customers' credit on live books: sums are the fold of what was appended, and the ledger says the same."""

from farthing.db import Books
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import ZERO, trimmed
from farthing.payments import credit_store as rows
from farthing.payments.credit import standing_of


def check_credit(books: Books, tenant_id: int) -> Checked:
    """Each customer's receivable is what is open, less what is to its credit; no sum is other than its parts."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_credits(conn, tenant_id)
        unlike = rows.select_unlike_parts(conn, tenant_id, FINDINGS_MAX + 1)
        standing = [standing_of(row) for row in rows.select_standing(conn, tenant_id, None)]
        booked = {
            (row["customer"], row["currency"]): row["balance"]
            for row in rows.select_receivables(conn, tenant_id)
        }
    findings = [
        f"of {row['what']} {trimmed(row['kept'])} is kept; its rows sum to {trimmed(row['summed'])}"
        for row in unlike
    ]
    said = {(one.customer, one.currency): one.balance for one in standing}
    findings += [
        f"{customer} owes {trimmed(said.get((customer, currency), ZERO))} {currency} by invoices, payments and credit, "
        f"and {trimmed(booked.get((customer, currency), ZERO))} by the ledger"
        for customer, currency in sorted({*said, *booked})
        if said.get((customer, currency), ZERO) != booked.get((customer, currency), ZERO)
    ]
    return checked(count, "credit", findings)
