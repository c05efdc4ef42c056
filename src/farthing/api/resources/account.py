"""The account of events: accepted = counted + duplicate + quarantined + waiting."""

from dataclasses import asdict

from fastapi import APIRouter

from farthing.api.documents.shapes import AccountDocument
from farthing.api.routes import shows
from farthing.api.services import log_dir
from farthing.api.web import House, TenantId
from farthing.events.service import account

router = APIRouter(prefix="/v1/account", tags=["Events"])


@shows(router, "", AccountDocument, "Get the account of events")
def get_account(tenant_id: TenantId, services: House) -> object:
    """What became of every event that was accepted."""
    return asdict(account(services.books, log_dir(services.data_dir), tenant_id))
