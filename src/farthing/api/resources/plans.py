"""Plans: what subscriptions are charged."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.shapes import PlanDocument, PlanPage
from farthing.api.documents.subscription import MigrationDocument
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
    creates,
    found,
    found_page,
)
from farthing.catalog.model import Outcome, PlanVersion
from farthing.catalog.plan import plan_json
from farthing.catalog.service import get_plan, list_plans, publish_plan
from farthing.invoicing.ahead.plan_migration import migrate_plan, migration_json
from farthing.kernel.instant import format_instant

VERSION_MAX = 2**31 - 1

router = APIRouter(prefix="/v1/plans", tags=["Plans"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(PlanDocument, "The latest version is this plan already."),
        **WRITE,
    },
    openapi_extra=body("PlanBody"),
    summary="Publish a plan",
)
def publish(write: JsonWrite) -> Response:
    """A new plan, or a new version of one. Subscriptions stay on the version that they were made with."""
    services = write.services

    def effect() -> Answer:
        version = publish_plan(services.books, write.tenant_id, write.body, services.now())
        status = 200 if version.outcome is Outcome.UNCHANGED else 201
        return Answer(status, _document(version) | {"outcome": version.outcome.value})

    return write.once(effect)


@router.get("", response_model=None, responses={200: {"model": PlanPage}, **READ}, summary="List plans")
def list_all_plans(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> Response:
    """The latest version of each, in order of their keys."""
    after = read_cursor(query.cursor, "plans")
    items = list_plans(services.books, tenant_id, after, query.limit + 1)
    return found_page(items, query.limit, "plans", lambda version: version.plan.key, _document)


@router.post(
    "/{key}/migrations",
    response_model=None,
    responses={200: {"model": MigrationDocument}, **WRITE_ONE},
    openapi_extra=body("MigrationBody"),
    summary="Move subscriptions to a plan version",
)
def migrate(key: PathText, write: JsonWrite) -> Response:
    """Without `confirm` it shows what would be done, with the money; with it, it does what was shown."""
    services = write.services

    def effect() -> Answer:
        found = migrate_plan(services.books, services.store, write.tenant_id, key, write.body, services.now())
        return Answer(200, migration_json(found))

    return write.once(effect)


class VersionQuery(QueryDocument):
    """Which version of a plan."""

    version: int | None = Field(None, ge=1, le=VERSION_MAX, description="The latest, if absent.")


@router.get(
    "/{key}", response_model=None, responses={200: {"model": PlanDocument}, **READ_ONE}, summary="Get a plan"
)
def get_one_plan(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[VersionQuery, Query()]
) -> Response:
    """A plan by its key, in its latest version or in the one named."""
    return found(_document(get_plan(services.books, tenant_id, key, query.version)))


def _document(version: PlanVersion) -> dict[str, Any]:
    return plan_json(version.plan) | {
        "version": version.version,
        "published_at": format_instant(version.published_at),
    }
