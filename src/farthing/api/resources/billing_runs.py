"""Billing runs: issue every invoice that is due."""

from datetime import datetime

from fastapi import APIRouter

from farthing.api.documents.invoice import BillingRunDocument
from farthing.api.routes import changes
from farthing.api.web import JsonWrite
from farthing.invoicing.service import run_billing
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.reading import Faults, Fields

SHOWN_MAX = 1000
"""How many invoice numbers, and how many reasons for none, one answer lists; the counts are always whole."""

router = APIRouter(prefix="/v1/billing-runs", tags=["Invoices"])


@changes(router, "POST", "", BillingRunDocument, "Run billing", body_name="BillingRunBody")
def bill(write: JsonWrite) -> object:
    """Issue an invoice for every period that ended by `until` and has none. Again, it issues none twice."""
    services = write.services
    until = _parse_until(write.body)
    result = run_billing(services.books, services.store, write.tenant_id, until, services.now())
    return {
        "until": format_instant(until),
        "issued_count": len(result.issued),
        "issued": result.issued[:SHOWN_MAX],
        "skipped_count": len(result.skipped),
        "skipped": result.skipped[:SHOWN_MAX],
    }


def _parse_until(raw: object) -> datetime:
    faults = Faults("invalid_billing_run")
    fields = Fields(raw, "", faults)
    until = fields.required("until", parse_instant)
    fields.refuse_unknown()
    faults.refuse()
    return until
