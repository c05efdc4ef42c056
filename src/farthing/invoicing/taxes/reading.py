"""Drafts with their tax, by what stands in the books at that moment."""

from collections.abc import Mapping, Sequence
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.invoicing.interim.store import select_billed_taxes
from farthing.invoicing.model import Draft, LineKind
from farthing.invoicing.taxes.taxing import taxed
from farthing.tax.engine import TableEngine, TaxEngine
from farthing.tax.service import place_of, tax_terms
from farthing.tax.table import TaxTable


def with_taxes(
    conn: BooksConnection,
    tenant_id: int,
    drafts: Sequence[Draft],
    seller: Mapping[str, Any],
    engine: TaxEngine | None = None,
) -> list[Draft]:
    """These drafts taxed; as they are where no table is loaded and no other engine given.

    engine: who decides; the tenant's own table unless given.
    """
    customers = {draft.bill.customer.customer_id for draft in drafts}
    terms = tax_terms(conn, tenant_id, customers)
    if engine is None:
        table = TaxTable(terms.rates)
        if not table:
            return list(drafts)
        engine = TableEngine(table)
    numbers = {
        line.adjustment.key
        for draft in drafts
        for line in draft.lines
        if line.kind is LineKind.BILLED and line.adjustment is not None
    }
    billed = select_billed_taxes(conn, tenant_id, numbers) if numbers else {}
    return taxed(drafts, terms, place_of(seller.get("address", {})), engine, billed)
