"""Laws 3 and 8, held by the database: facts are never changed, and every seal adds up."""

from datetime import datetime

import psycopg
import pytest

from farthing.db import Books

FACTS = (
    "meters",
    "plan_versions",
    "seals",
    "quarantine_resolutions",
    "invoices",
    "invoice_lines",
    "accounts",
    "transfers",
    "coupons",
    "coupon_redemptions",
    "commitments",
    "period_closings",
    "recognition_runs",
    "tax_rates",
    "customer_tax_facts",
    "invoice_taxes",
    "credit_notes",
    "credit_note_parts",
    "invoice_voids",
    "credit_allocations",
    "invoice_reductions",
    "correction_credits",
    "removed_segments",
    "payment_grants",
    "erased_subjects",
)

SEAL = """
    INSERT INTO seals (tenant_id, seal_id, log_file, log_from, log_to, accepted, counted, duplicate, quarantined,
                       sealed_at)
    VALUES (%(tenant_id)s, 'seal', 'a/1.log', 0, 100, %(accepted)s, 5, 3, 2, %(now)s)
"""


@pytest.mark.parametrize("table", FACTS)
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_not_even_the_owner_changes_a_fact(owner: psycopg.Connection, table: str, change: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
        owner.execute(change.format(table))


@pytest.mark.parametrize("table", FACTS)
@pytest.mark.parametrize("change", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_application_may_not_even_ask(books: Books, tenant_id: int, table: str, change: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), books.transaction(tenant_id) as conn:
        conn.execute(change.format(table))


@pytest.mark.parametrize("accepted", [9, 11])
def test_a_seal_that_does_not_add_up_is_refused(
    books: Books, tenant_id: int, now: datetime, accepted: int
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), books.transaction(tenant_id) as conn:
        conn.execute(SEAL, {"tenant_id": tenant_id, "accepted": accepted, "now": now})


def test_a_seal_that_adds_up_stands(books: Books, tenant_id: int, now: datetime) -> None:
    with books.transaction(tenant_id) as conn:
        conn.execute(SEAL, {"tenant_id": tenant_id, "accepted": 10, "now": now})
    with books.read_only(tenant_id) as conn:
        assert conn.execute("SELECT accepted FROM seals").fetchall() == [{"accepted": 10}]
