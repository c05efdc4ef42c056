"""Tax: the table of rates, what is known of customers, and what a supply bears."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.tax import (
    CustomerTaxDocument,
    TaxRatePage,
    TaxRatesLoaded,
    TreatmentDocument,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    body,
    found,
    found_page,
)
from farthing.invoicing.service import get_seller
from farthing.kernel.instant import parse_date
from farthing.kernel.reading import parse_key
from farthing.tax.content import facts_json, rate_json, treatment_json
from farthing.tax.identification import parse_country
from farthing.tax.model import STANDARD
from farthing.tax.service import get_facts, import_rates, list_rates, put_facts, treatment_now

router = APIRouter(prefix="/v1", tags=["Tax"])


@router.post(
    "/tax-rates",
    response_model=None,
    responses={200: {"model": TaxRatesLoaded}, **WRITE},
    openapi_extra=body("TaxRatesBody"),
    summary="Load tax rates",
)
def load(write: JsonWrite) -> Response:
    """All rows or none; invoices that are issued from now on bear them."""
    services = write.services

    def effect() -> Answer:
        changed, unchanged = import_rates(services.books, write.tenant_id, write.body, services.now())
        return Answer(200, {"changed": changed, "unchanged": unchanged})

    return write.once(effect)


class RatesQuery(PageQuery):
    """Which rows of the table."""

    country: str | None = Field(None, max_length=2, description="Only this country's.")
    on: str | None = Field(None, max_length=10, description="Only what holds on this day.")


@router.get(
    "/tax-rates",
    response_model=None,
    responses={200: {"model": TaxRatePage}, **READ},
    summary="List tax rates",
)
def list_table(tenant_id: TenantId, services: House, query: Annotated[RatesQuery, Query()]) -> Response:
    """In order of country, region, category and day."""
    after = int(read_cursor(query.cursor, "tax-rates", numeric=True) or 0)
    country = None if query.country is None else parse_country(query.country, "country")
    day = None if query.on is None else parse_date(query.on, "on")
    items = list_rates(services.books, tenant_id, after, query.limit + 1, country=country, day=day)
    return found_page(
        items, query.limit, "tax-rates", lambda item: str(item[0]), lambda item: rate_json(item[1])
    )


@router.get(
    "/customers/{key}/tax",
    response_model=None,
    responses={200: {"model": CustomerTaxDocument}, **READ_ONE},
    summary="Get the tax facts of a customer",
)
def get(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """Tax ids and exemption."""
    return found(facts_json(get_facts(services.books, tenant_id, key)))


@router.put(
    "/customers/{key}/tax",
    response_model=None,
    responses={200: {"model": CustomerTaxDocument}, **WRITE_ONE},
    openapi_extra=body("CustomerTaxBody"),
    summary="Set the tax facts of a customer",
)
def put(key: PathText, write: JsonWrite) -> Response:
    """On invoices from now on; what is not named is no longer known."""
    services = write.services

    def effect() -> Answer:
        facts, _ = put_facts(services.books, write.tenant_id, key, write.body, services.now())
        return Answer(200, facts_json(facts))

    return write.once(effect)


class TreatmentQuery(QueryDocument):
    """Which supply."""

    category: str = Field(STANDARD, max_length=128, description="Of the rate card.")
    on: str | None = Field(None, max_length=10, description="The day on which it is made; today if absent.")


@router.get(
    "/customers/{key}/tax-treatment",
    response_model=None,
    responses={200: {"model": TreatmentDocument}, **READ_ONE},
    summary="Explain the tax of a customer",
)
def treatment(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[TreatmentQuery, Query()]
) -> Response:
    """What a supply to the customer bears, by the code that issues invoices."""
    day = services.now().date() if query.on is None else parse_date(query.on, "on")
    category = parse_key(query.category, "category")
    seller: dict[str, Any] = get_seller(services.books, tenant_id)
    return found(treatment_json(treatment_now(services.books, tenant_id, key, category, day, seller)))
