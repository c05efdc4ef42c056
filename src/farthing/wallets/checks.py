"""Law 10 and the other laws of wallets on live books."""

from farthing.db import Books
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import trimmed
from farthing.wallets import checks_store as rows


def check_overspent(books: Books, tenant_id: int) -> Checked:
    """Of no grant more is drawn, held, settled and expired than it is worth."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_grants(conn, tenant_id)
        found = rows.select_overspent(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"the grant {row['key']} is of {trimmed(row['amount'])}: {trimmed(row['drawn'])} drawn, "
        f"{trimmed(row['held'])} held, {trimmed(row['settled'])} settled, {trimmed(row['expired'])} expired"
        for row in found
    ]
    return checked(count, "grant", findings)


def check_counters(books: Books, tenant_id: int) -> Checked:
    """The counters of grants are the sums of draws and endings, and invoices say what was drawn for them."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_grants(conn, tenant_id)
        found = rows.select_unlike_facts(conn, tenant_id, FINDINGS_MAX + 1)
        unlike = rows.select_unlike_invoices(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"the grant {row['key']} says {trimmed(row['drawn'])} drawn and {trimmed(row['expired'])} expired; its draws "
        f"sum to {trimmed(row['draws'])}, by what they paid for to {trimmed(row['funded'])}, its endings to "
        f"{trimmed(row['endings'])}"
        for row in found
    ]
    findings += [
        f"the invoice {row['number']} says that wallets paid {trimmed(row['paid_from_wallets'])} {row['currency']}; "
        f"{trimmed(row['drawn'])} were drawn for it"
        for row in unlike
    ]
    return checked(count, "grant", findings)


def check_prepaid(books: Books, tenant_id: int) -> Checked:
    """What the ledger calls prepaid and promotional credit is what is left undrawn in grants."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_holders(conn, tenant_id)
        found = rows.select_unlike_ledger(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"grants of {row['customer']} leave {trimmed(row['grants_say'])} {row['currency']} undrawn; its account "
        f"{row['code']} says {trimmed(row['ledger_says'])}"
        for row in found
    ]
    return checked(count, "customer", findings)
