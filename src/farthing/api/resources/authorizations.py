"""Authorisations as they stand. They are made and ended at the desk (`api/authorizations_route.py`)."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.authorization import AuthorizationPage, HoldStatus, WholeAuthorizationDocument
from farthing.api.paging import read_cursor
from farthing.api.routes import shows
from farthing.api.web import READ_ONE, House, PageQuery, PathText, TenantId, page_json
from farthing.wallets.holds.content import hold_json
from farthing.wallets.holds.lookup import get_authorization, list_authorizations, status_filter

router = APIRouter(prefix="/v1/authorizations", tags=["Authorizations"])


class AuthorizationsQuery(PageQuery):
    """Which authorisations."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    status: HoldStatus | None = Field(None, description="Only those of which this has become.")


@shows(router, "", AuthorizationPage, "List authorizations", refused=READ_ONE)
def list_all_authorizations(
    tenant_id: TenantId, services: House, query: Annotated[AuthorizationsQuery, Query()]
) -> object:
    """In order of their keys."""
    after = read_cursor(query.cursor, "authorizations")
    items = list_authorizations(
        services.books, tenant_id, after, query.limit + 1, query.customer, status_filter(query.status)
    )
    return page_json(items, query.limit, "authorizations", lambda hold: hold.key, hold_json)


@shows(router, "/{key}", WholeAuthorizationDocument, "Get an authorization")
def get_one_authorization(key: PathText, tenant_id: TenantId, services: House) -> object:
    """An authorisation by its key, with the grants that it is set aside on."""
    return get_authorization(services.books, tenant_id, key)
