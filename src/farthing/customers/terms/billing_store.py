"""SQL of billing terms: what a tenant said last, and what its customers said last."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from farthing.customers.terms.billing import (
    NO_BILLING_TERMS,
    BillingTerms,
    billing_terms_json,
    parse_billing_terms,
)
from farthing.db.pool import BooksConnection


@dataclass(frozen=True, slots=True)
class BillingTermsSaid:
    """What the tenant says, and what those of its customers say that have terms of their own."""

    tenant: BillingTerms
    own: Mapping[int, BillingTerms]

    def of(self, customer_id: int) -> BillingTerms:
        """What holds for a customer."""
        own = self.own.get(customer_id)
        return self.tenant if own is None else own.over(self.tenant)


def select_billing_terms(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int] | None = None
) -> BillingTermsSaid:
    """What holds now, for all customers or for these."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT customer_id, definition::text FROM (
            SELECT DISTINCT ON (customer_id) customer_id, definition FROM billing_terms
             WHERE tenant_id = %(tenant_id)s
               AND (customer_id IS NULL OR %(ids)s::bigint[] IS NULL OR customer_id = ANY(%(ids)s))
             ORDER BY customer_id, billing_terms_id DESC) AS newest
         WHERE definition IS NOT NULL
        """,
        {"tenant_id": tenant_id, "ids": None if customer_ids is None else list(customer_ids)},
    )
    read: dict[str, BillingTerms] = {}  # many say the same
    tenant, own = NO_BILLING_TERMS, dict[int, BillingTerms]()
    for customer_id, definition in rows:
        if definition not in read:
            read[definition] = parse_billing_terms(json.loads(definition))
        if customer_id is None:
            tenant = read[definition]
        else:
            own[customer_id] = read[definition]
    return BillingTermsSaid(tenant, own)


def insert_billing_terms(
    conn: BooksConnection, tenant_id: int, customer_id: int | None, terms: BillingTerms | None, now: datetime
) -> None:
    """From now on these hold: the tenant's, or a customer's own (None: it has none any more)."""
    definition = None if terms is None else Jsonb(billing_terms_json(terms))
    conn.execute(
        "INSERT INTO billing_terms (tenant_id, customer_id, definition, made_at) VALUES (%s, %s, %s, %s)",
        [tenant_id, customer_id, definition, now],
    )
