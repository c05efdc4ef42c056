"""The doors to the books: one transaction each, with its tenant."""

from farthing.db import Books


def test_a_transaction_commits(books: Books, tenant_id: int) -> None:
    with books.transaction(tenant_id) as conn:
        conn.execute("INSERT INTO invoice_counters (tenant_id, last_number) VALUES (%s, 7)", [tenant_id])
    with books.read_only(tenant_id) as conn:
        assert conn.execute("SELECT last_number FROM invoice_counters").fetchall() == [{"last_number": 7}]
