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
from farthing.invoicing.taxes.reading import TaxedAhead, taxed_ahead
from farthing.invoicing.written import Written, written


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


def prepare(conn: BooksConnection, tenant_id: int, drafts: Sequence[Draft], now: datetime) -> Prepared:
    """Tax and write what depends on nothing that only the issuing transaction knows: other invoices' numbers."""
    tenant_name, facts = select_seller(conn, tenant_id)
    seller = seller_on_document(facts, tenant_name)
    alone = [draft for draft in drafts if draft.basis.carried is None]
    taxes = taxed_ahead(conn, tenant_id, alone, facts)
    documents = {
        id(draft): written(draft, place, seller, now) for place, (_, draft) in enumerate(taxes.taxed.values())
    }
    return Prepared(taxes, seller, now, documents)
