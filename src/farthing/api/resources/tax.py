"""Tax: the table of rates, what is known of customers, and what a supply bears."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.tax import (
    CustomerTaxDocument,
    TaxRatePage,
    TaxRatesLoaded,
    TreatmentDocument,
)
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    page_json,
)
from farthing.invoicing.service import get_seller
from farthing.kernel.instant import parse_date
from farthing.kernel.reading import parse_key
from farthing.tax.content import facts_json, rate_json, treatment_json
from farthing.tax.identification import parse_country
from farthing.tax.model import STANDARD
from farthing.tax.service import get_facts, import_rates, list_rates, put_facts, treatment_now

router = APIRouter(prefix="/v1", tags=["Tax"])


@changes(router, "POST", "/tax-rates", TaxRatesLoaded, "Load tax rates", body_name="TaxRatesBody")
def load(write: JsonWrite) -> object:
    """All rows or none; invoices that are issued from now on bear them."""
    services = write.services
    changed, unchanged = import_rates(services.books, write.tenant_id, write.body, services.now())
    return {"changed": changed, "unchanged": unchanged}


class RatesQuery(PageQuery):
    """Which rows of the table."""

    country: str | None = Field(None, max_length=2, description="Only this country's.")
    on: str | None = Field(None, max_length=10, description="Only what holds on this day.")


@shows(router, "/tax-rates", TaxRatePage, "List tax rates")
def list_table(tenant_id: TenantId, services: House, query: Annotated[RatesQuery, Query()]) -> object:
    """In order of country, region, category and day."""
    after = int(read_cursor(query.cursor, "tax-rates", numeric=True) or 0)
    country = None if query.country is None else parse_country(query.country, "country")
    day = None if query.on is None else parse_date(query.on, "on")
    items = list_rates(services.books, tenant_id, after, query.limit + 1, country=country, day=day)
    return page_json(
        items, query.limit, "tax-rates", lambda item: str(item[0]), lambda item: rate_json(item[1])
    )


@shows(router, "/customers/{key}/tax", CustomerTaxDocument, "Get the tax facts of a customer")
def get(key: PathText, tenant_id: TenantId, services: House) -> object:
    """Tax ids and exemption."""
    return facts_json(get_facts(services.books, tenant_id, key))


@changes(
    router,
    "PUT",
    "/customers/{key}/tax",
    CustomerTaxDocument,
    "Set the tax facts of a customer",
    body_name="CustomerTaxBody",
)
def put(key: PathText, write: JsonWrite) -> object:
    """On invoices from now on; what is not named is no longer known."""
    services = write.services
    facts, _ = put_facts(services.books, write.tenant_id, key, write.body, services.now())
    return facts_json(facts)


class TreatmentQuery(QueryDocument):
    """Which supply."""

    category: str = Field(STANDARD, max_length=128, description="Of the rate card.")
    on: str | None = Field(None, max_length=10, description="The day on which it is made; today if absent.")


@shows(router, "/customers/{key}/tax-treatment", TreatmentDocument, "Explain the tax of a customer")
def treatment(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[TreatmentQuery, Query()]
) -> object:
    """What a supply to the customer bears, by the code that issues invoices."""
    day = services.now().date() if query.on is None else parse_date(query.on, "on")
    category = parse_key(query.category, "category")
    seller: dict[str, Any] = get_seller(services.books, tenant_id)
    return treatment_json(treatment_now(services.books, tenant_id, key, category, day, seller))
