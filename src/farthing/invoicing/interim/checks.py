"""What was charged before the end of a period is taken off the later invoices of the period, each charge once."""

from psycopg.rows import DictRow

from farthing.db import Books
from farthing.invoicing.interim import store as rows
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import plain


def check_interims(books: Books, tenant_id: int) -> Checked:
    """Every invoice of a period takes off exactly the interim invoices before it, whole."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_interims(conn, tenant_id)
        wrong = rows.select_taken_off_wrongly(conn, tenant_id, FINDINGS_MAX + 1)
    return checked(count, "interim invoice", [_finding(row) for row in wrong])


def _finding(row: DictRow) -> str:
    billed, taken = (None if row[name] is None else plain(row[name]) for name in ("billed", "taken"))
    if billed is None:
        return f"{row['number']} takes off {taken} as billed on {row['interim']}, which it has nothing to do with"
    return f"{row['number']} takes off {taken or 'nothing'} of the {billed} that {row['interim']} billed"
