"""SQL of the tax table and of what is known of customers for tax. Both are appended; the latest row holds."""

from collections.abc import Collection, Sequence
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.tax.content import exemption_json, facts_of
from farthing.tax.identification import tax_id_json
from farthing.tax.model import TaxFacts, TaxRate


def lock_table(conn: BooksConnection, tenant_id: int) -> None:
    """Let one transaction at a time load a table of a tenant."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('farthing.tax', %s))", [tenant_id])


def insert_rates(conn: BooksConnection, tenant_id: int, rates: Sequence[TaxRate], now: datetime) -> None:
    """More rows of the table, in this order."""
    conn.execute(
        """
        INSERT INTO tax_rates (tenant_id, country, region, category, percent, name, valid_from, valid_until, adds,
                               loaded_at)
        SELECT %(tenant_id)s, country, region, category, percent, name, valid_from, valid_until, adds, %(now)s
          FROM unnest(%(countries)s::text[], %(regions)s::text[], %(categories)s::text[], %(percents)s::numeric[],
                      %(names)s::text[], %(from)s::date[], %(until)s::date[], %(adds)s::boolean[])
               WITH ORDINALITY AS given (country, region, category, percent, name, valid_from, valid_until, adds,
                                         place)
         ORDER BY place
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "countries": [rate.country for rate in rates],
            "regions": [rate.region for rate in rates],
            "categories": [rate.category for rate in rates],
            "percents": [rate.percent for rate in rates],
            "names": [rate.name for rate in rates],
            "from": [rate.valid_from for rate in rates],
            "until": [rate.valid_until for rate in rates],
            "adds": [rate.adds for rate in rates],
        },
    )


def select_rates(conn: BooksConnection, tenant_id: int) -> list[TaxRate]:
    """The rows that hold for their first day, in order of place, category and day."""
    rows = conn.execute(
        """
        SELECT DISTINCT ON (country, region, category, valid_from)
               country, region, category, percent, name, valid_from, valid_until, adds
          FROM tax_rates WHERE tenant_id = %s
         ORDER BY country, region NULLS FIRST, category, valid_from, tax_rate_id DESC
        """,
        [tenant_id],
    ).fetchall()
    return [TaxRate(**row) for row in rows]


def insert_facts(
    conn: BooksConnection, tenant_id: int, customer_id: int, facts: TaxFacts, now: datetime
) -> None:
    """What is known of a customer from now on."""
    exemption = facts.exemption
    conn.execute(
        "INSERT INTO customer_tax_facts (tenant_id, customer_id, tax_ids, exemption, known_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        [
            tenant_id,
            customer_id,
            Jsonb([tax_id_json(tax_id) for tax_id in facts.tax_ids]),
            None if exemption is None else Jsonb(exemption_json(exemption)),
            now,
        ],
    )


def select_facts(conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]) -> dict[int, TaxFacts]:
    """What is known of these customers, by id; of those of whom something is."""
    rows: list[DictRow] = conn.execute(
        """
        SELECT DISTINCT ON (customer_id) customer_id, tax_ids, exemption
          FROM customer_tax_facts
         WHERE tenant_id = %s AND customer_id = ANY(%s)
         ORDER BY customer_id, tax_facts_id DESC
        """,
        [tenant_id, list(customer_ids)],
    ).fetchall()
    return {row["customer_id"]: facts_of(row["tax_ids"], row["exemption"]) for row in rows}
