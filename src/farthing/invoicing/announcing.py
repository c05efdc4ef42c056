"""What the outbox says of invoices. Pure."""

from collections.abc import Sequence
from datetime import datetime

from farthing.db.outbox import Fact
from farthing.invoicing.carrying.forward import carries
from farthing.invoicing.written import Invoice
from farthing.kernel.quantity import plain

INVOICE_ISSUED = "invoice.issued"


def issued_facts(invoices: Sequence[Invoice], now: datetime) -> list[Fact]:
    """One fact for each invoice, under its number; it says so where the invoice leaves all it comes to to the next."""
    return [
        Fact(
            INVOICE_ISSUED,
            invoice.number,
            {
                "customer": invoice.draft.bill.customer.key,
                "subscription": invoice.draft.bill.subscription.key,
                "currency": invoice.draft.bill.plan.currency,
                "total": plain(invoice.draft.totals.total),
                **({"carries_forward": True} if carries(invoice.draft) else {}),
            },
            now,
        )
        for invoice in invoices
    ]
