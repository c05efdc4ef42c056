"""The account of events: accepted = counted + duplicate + quarantined + waiting."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from farthing.api.documents.shapes import AccountDocument
from farthing.api.services import log_dir
from farthing.api.web import READ, House, TenantId, found
from farthing.events.service import account

router = APIRouter(prefix="/v1/account", tags=["Events"])


@router.get(
    "",
    response_model=None,
    responses={200: {"model": AccountDocument}, **READ},
    summary="Get the account of events",
)
def get_account(tenant_id: TenantId, services: House) -> Response:
    """What became of every event that was accepted."""
    return found(asdict(account(services.books, log_dir(services.data_dir), tenant_id)))
