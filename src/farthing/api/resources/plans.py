"""Plans: what subscriptions are charged."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.shapes import PlanDocument, PlanPage
from farthing.api.documents.subscription import MigrationDocument
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    page_json,
)
from farthing.catalog.model import Outcome, PlanVersion
from farthing.catalog.plan import plan_json
from farthing.catalog.service import get_plan, list_plans, publish_plan
from farthing.invoicing.ahead.plan_migration import migrate_plan, migration_json
from farthing.kernel.instant import format_instant

VERSION_MAX = 2**31 - 1

router = APIRouter(prefix="/v1/plans", tags=["Plans"])


@makes(
    router,
    "",
    PlanDocument,
    "PlanBody",
    "Publish a plan",
    standing="The latest version is this plan already.",
)
def publish(write: JsonWrite) -> Answer:
    """A new plan, or a new version of one. Subscriptions stay on the version that they were made with."""
    services = write.services
    version = publish_plan(services.books, write.tenant_id, write.body, services.now())
    status = 200 if version.outcome is Outcome.UNCHANGED else 201
    return Answer(status, _document(version) | {"outcome": version.outcome.value})


@shows(router, "", PlanPage, "List plans")
def list_all_plans(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """The latest version of each, in order of their keys."""
    after = read_cursor(query.cursor, "plans")
    items = list_plans(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "plans", lambda version: version.plan.key, _document)


@changes(
    router,
    "POST",
    "/{key}/migrations",
    MigrationDocument,
    "Move subscriptions to a plan version",
    body_name="MigrationBody",
)
def migrate(key: PathText, write: JsonWrite) -> object:
    """Without `confirm` it shows what would be done, with the money; with it, it does what was shown."""
    services = write.services
    found = migrate_plan(services.books, services.store, write.tenant_id, key, write.body, services.now())
    return migration_json(found)


class VersionQuery(QueryDocument):
    """Which version of a plan."""

    version: int | None = Field(None, ge=1, le=VERSION_MAX, description="The latest, if absent.")


@shows(router, "/{key}", PlanDocument, "Get a plan")
def get_one_plan(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[VersionQuery, Query()]
) -> object:
    """A plan by its key, in its latest version or in the one named."""
    return _document(get_plan(services.books, tenant_id, key, query.version))


def _document(version: PlanVersion) -> dict[str, Any]:
    return plan_json(version.plan) | {
        "version": version.version,
        "published_at": format_instant(version.published_at),
    }
