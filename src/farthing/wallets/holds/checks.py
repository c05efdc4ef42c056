"""Law 10 on live books: what is held and settled of each grant is what its authorisations say, and within it."""

from psycopg.rows import DictRow

from farthing.db import Books
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import trimmed
from farthing.wallets.holds import checks_store as rows


def check_holds(books: Books, tenant_id: int) -> Checked:
    """Counters of grants and of spending limits are the fold of authorisations; no grant is overspent."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_holds(conn, tenant_id)
        grants = rows.select_grants_unlike_fold(conn, tenant_id, FINDINGS_MAX + 1)
        limits = rows.select_limits_unlike_fold(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [_grant_complaint(row) for row in grants] + [_limit_complaint(row) for row in limits]
    return checked(count, "authorisation", findings)


def _grant_complaint(row: DictRow) -> str:
    return (
        f"the grant {row['key']} of {trimmed(row['amount'])} has {trimmed(row['drawn'])} drawn, "
        f"{trimmed(row['expired'])} expired, {trimmed(row['held'])} held and {trimmed(row['settled'])} settled; "
        f"its authorisations hold {trimmed(row['held_fold'])} and have settled {trimmed(row['settled_fold'])}"
    )


def _limit_complaint(row: DictRow) -> str:
    whose = f"{row['level']} {row['name']}".strip()
    return (
        f"the limit of the {whose} of {row['customer']} has {trimmed(row['held'])} held and {trimmed(row['spent'])} "
        f"spent in its period from {format_instant(row['period_start'])}; its authorisations hold "
        f"{trimmed(row['held_fold'])} and came to {trimmed(row['spent_fold'])}"
    )
