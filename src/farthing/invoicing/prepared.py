"""Drafts that are taxed and written before it is their turn to be issued, while the books take those before them.

Beside the drafts themselves, their tax and their documents depend on little: the rates, what is known of customers, who
sells. That is read again by the transaction that issues them. Where it says the same, what was prepared stands;
everything else is taxed and written then (ADR 0043).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.invoicing.model import Draft
from farthing.invoicing.seller import seller_on_document
from farthing.invoicing.store import select_seller
from farthing.invoicing.taxes.reading import TaxedAhead, taxed_ahead, terms_of
from farthing.invoicing.written import Written, written
from farthing.tax.model import TaxTerms


@dataclass(frozen=True, slots=True)
class Prepared:
    """Drafts as they will probably be issued. written: by the identity of a taxed draft, its document."""

    taxes: TaxedAhead
    seller: Mapping[str, Any]
    now: datetime
    written: Mapping[int, Written]

    def documents(self, seller: Mapping[str, Any], now: datetime) -> Mapping[int, Written]:
        """The documents that would be written again just so."""
        return self.written if (seller, now) == (self.seller, self.now) else {}


def conditions(
    conn: BooksConnection, tenant_id: int, drafts: Sequence[Draft]
) -> tuple[TaxTerms, str, Mapping[str, Any]]:
    """What drafts are prepared by: what decides on their tax, the tenant's name, what it said of itself as a seller."""
    return terms_of(conn, tenant_id, drafts), *select_seller(conn, tenant_id)


def prepare(
    drafts: Sequence[Draft], terms: TaxTerms, tenant_name: str, seller: Mapping[str, Any], now: datetime
) -> Prepared:
    """Tax and write what depends on nothing that only the issuing transaction knows: other invoices' numbers."""
    named = seller_on_document(seller, tenant_name)
    alone = [draft for draft in drafts if draft.basis.carried is None]
    taxes = taxed_ahead(alone, terms, seller)
    documents = {
        id(draft): written(draft, place, named, now) for place, (_, draft) in enumerate(taxes.taxed.values())
    }
    return Prepared(taxes, named, now, documents)
