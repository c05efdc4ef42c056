"""Law 12 on the live database: tenants are apart whatever a query forgets to say."""

from farthing.db import store
from farthing.db.pool import Books
from farthing.kernel.checked import Checked, checked


def check_row_security(books: Books) -> Checked:
    """Row-level security is on and forced on every table that holds a tenant's rows, each with a policy."""
    with books.operator_transaction() as conn:
        tables = store.select_tenant_tables(conn)
    findings = []
    for table in tables:
        if not table["enabled"]:
            findings.append(f"row-level security is off on the table {table['name']}")
        elif not table["forced"]:
            findings.append(f"row-level security does not bind the owner of the table {table['name']}")
        elif not table["policies"]:
            findings.append(f"the table {table['name']} has no policy")
    return checked(len(tables), "table", findings)
