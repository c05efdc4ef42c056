"""How issued invoices are told to the ledger. Pure.

A line whose service period is over on the day of issue is earned; one whose service is still to come is deferred,
whole. The amounts are those that the invoice shows. What wallets paid became revenue when it was drawn, and is not
booked again.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from farthing.ledger.facts import InvoiceIssued
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import invoice_issued


def issued_facts(rows: Iterable[Mapping[str, Any]]) -> list[InvoiceIssued]:
    """Issued invoices as facts of the ledger."""
    return [
        InvoiceIssued(
            row["number"],
            row["customer_id"],
            row["currency"],
            row["earned"],
            row["deferred"],
            row["tax"],
            row["issued_at"],
            row["unbilled"],
        )
        for row in rows
    ]


def issued_transfers(rows: Iterable[Mapping[str, Any]]) -> list[Transfer]:
    """The transfers of issued invoices; one that is over nothing has none."""
    return [invoice_issued(fact) for fact in issued_facts(rows) if not fact.books_nothing]
