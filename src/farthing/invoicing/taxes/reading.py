"""Drafts with their tax, by what stands in the books at that moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.invoicing.interim.store import select_billed_taxes
from farthing.invoicing.model import Draft, LineKind
from farthing.invoicing.taxes.taxing import taxed
from farthing.tax.engine import TableEngine, TaxEngine
from farthing.tax.model import Place, TaxTerms
from farthing.tax.service import place_of, tax_terms
from farthing.tax.table import TaxTable


@dataclass(frozen=True, slots=True)
class TaxedAhead:
    """Drafts that were taxed before their turn, and by what: that holds for them as long as it says the same.

    seller: where the seller is. taxed: by the identity of a draft, that draft and what became of it.
    """

    terms: TaxTerms
    seller: Place
    taxed: Mapping[int, tuple[Draft, Draft]]

    def still(self, drafts: Sequence[Draft], terms: TaxTerms, seller: Place) -> dict[int, Draft]:
        """Those of these drafts that would be taxed as they were, by their place."""
        if seller != self.seller or terms.rates != self.terms.rates:
            return {}
        found: dict[int, Draft] = {}
        for place, draft in enumerate(drafts):
            _, taxed_then = self.taxed.get(id(draft), (None, None))
            customer_id = draft.bill.customer.customer_id
            if taxed_then is not None and terms.of(customer_id) == self.terms.of(customer_id):
                found[place] = taxed_then
        return found


def taxed_ahead(drafts: Sequence[Draft], terms: TaxTerms, seller: Mapping[str, Any]) -> TaxedAhead:
    """These drafts taxed by the tenant's own table, but for those that take off what interim invoices billed."""
    place, table = place_of(seller.get("address", {})), TaxTable(terms.rates)
    alone = [draft for draft in drafts if not _billed_numbers([draft])]
    made = taxed(alone, terms, place, TableEngine(table)) if table else alone
    return TaxedAhead(terms, place, {id(draft): (draft, new) for draft, new in zip(alone, made, strict=True)})


def terms_of(conn: BooksConnection, tenant_id: int, drafts: Sequence[Draft]) -> TaxTerms:
    """The table, and what is known of the customers of these drafts."""
    return tax_terms(conn, tenant_id, {draft.bill.customer.customer_id for draft in drafts})


def with_taxes(
    conn: BooksConnection,
    tenant_id: int,
    drafts: Sequence[Draft],
    seller: Mapping[str, Any],
    engine: TaxEngine | None = None,
    ahead: TaxedAhead | None = None,
) -> list[Draft]:
    """These drafts taxed; as they are where no table is loaded and no other engine given.

    engine: who decides; the tenant's own table unless given. ahead: those that this table taxed before.
    """
    terms = terms_of(conn, tenant_id, drafts)
    place = place_of(seller.get("address", {}))
    done = {} if ahead is None or engine is not None else ahead.still(drafts, terms, place)
    if engine is None:
        table = TaxTable(terms.rates)
        if not table:
            return list(drafts)
        engine = TableEngine(table)
    left = [draft for number, draft in enumerate(drafts) if number not in done]
    numbers = _billed_numbers(left)
    billed = select_billed_taxes(conn, tenant_id, numbers) if numbers else {}
    made = iter(taxed(left, terms, place, engine, billed))
    return [done[number] if number in done else next(made) for number in range(len(drafts))]


def _billed_numbers(drafts: Sequence[Draft]) -> set[str]:
    """The interim invoices that these drafts take off."""
    return {
        line.adjustment.key
        for draft in drafts
        for line in draft.lines
        if line.adjustment is not None and line.kind is LineKind.BILLED
    }
