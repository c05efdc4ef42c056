"""The laws of payments on live books: counters are the fold of what was appended, and the ledger has all of it."""

from farthing.db import Books
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import trimmed
from farthing.payments import checks_store as rows


def check_payments(books: Books, tenant_id: int) -> Checked:
    """Payments, refunds, disputes and write-offs are what was appended, and are booked as they stand."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_payments(conn, tenant_id)
        parts = rows.select_unlike_parts(conn, tenant_id, FINDINGS_MAX + 1)
        booked = rows.select_unlike_ledger(conn, tenant_id, FINDINGS_MAX + 1)
        invoices = rows.select_unlike_allocations(conn, tenant_id, FINDINGS_MAX + 1)
        top_ups = rows.select_unlike_top_ups(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"the payment {row['key']} says that {trimmed(row['allocated'])} are allocated, {trimmed(row['refunded'])} "
        f"refunded, {trimmed(row['charged_back'])} charged back; its rows sum to {trimmed(row['allocations'])}, "
        f"{trimmed(row['refunds'])} and {trimmed(row['disputes'])}"
        for row in parts
    ]
    findings += [
        f"{row['key']} is {_amount(row['said'])} by the payments and {_amount(row['booked'])} by the ledger"
        for row in booked
    ]
    findings += [
        f"the invoice {row['number']} says that {_amount(row['paid'])} are paid and {_amount(row['written_off'])} "
        f"written off; its rows sum to {trimmed(row['allocations'])} and {trimmed(row['write_offs'])}"
        for row in invoices
    ]
    findings += [
        f"the payment {row['key']} is of {trimmed(row['amount'])} and {row['state']}; its top-up is "
        f"{row['status'] or 'none'}, {trimmed(row['funded'])} of it are in grants, {trimmed(row['gone'])} went back"
        for row in top_ups
    ]
    return checked(count, "payment", findings)


def _amount(amount: object) -> str:
    return "nothing" if amount is None else str(amount)
