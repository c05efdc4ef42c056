"""Usage: how much of a meter was used."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.shapes import UsageDocument
from farthing.api.routes import shows
from farthing.api.web import INSTANT, House, QueryDocument, TenantId, problems
from farthing.kernel.errors import LimitExceeded
from farthing.kernel.instant import format_instant, parse_instant, parse_timezone
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import Faults, Fields
from farthing.usage.model import GROUPS_MAX, UsageGroup, UsageQuery, Window
from farthing.usage.service import query_usage

USAGE_ROWS_MAX = 10_000
"""Rows in one answer over HTTP."""
FILTERS_MAX = 16


router = APIRouter(prefix="/v1/usage", tags=["Usage"])


class UsageParameters(QueryDocument):
    """A question about usage."""

    meter: str = Field(max_length=256, description="The key of the meter.")
    from_: str = Field(
        alias="from", max_length=64, json_schema_extra=INSTANT, description="First instant in."
    )
    to: str = Field(max_length=64, json_schema_extra=INSTANT, description="First instant out.")
    customer: str | None = Field(
        None, max_length=256, description="Only this customer's; everybody's if absent."
    )
    group_by: list[str] = Field(
        [],
        max_length=GROUPS_MAX,
        description="A dimension of the meter, `customer`, `subject` or `source`; may be repeated.",
    )
    window: Window | None = Field(None, description="Split by local minutes, hours, days or months.")
    timezone: str = Field("UTC", max_length=64, description="The IANA zone of the windows.")
    filter: list[str] = Field(
        [],
        max_length=FILTERS_MAX,
        description="`dimension=value`: only events with this value; may be repeated.",
    )


@shows(router, "", UsageDocument, "Get usage", refused=problems(400, 404, 413, 422))
def get_usage(
    tenant_id: TenantId, services: House, parameters: Annotated[UsageParameters, Query()]
) -> object:
    """Exact, over every event that is sealed; windows and groups without events are left out."""
    query = _query(parameters)
    rows = query_usage(services.books, services.store, tenant_id, query, services.now())
    if len(rows) > USAGE_ROWS_MAX:
        complaint = (
            f"the answer has {len(rows)} rows, at most {USAGE_ROWS_MAX} are sent; ask for less at once"
        )
        raise LimitExceeded("too_many_rows", complaint)
    return {
        "meter": query.meter,
        "from": format_instant(query.start),
        "to": format_instant(query.end),
        "rows": [_row(row) for row in rows],
    }


def _query(parameters: UsageParameters) -> UsageQuery:
    faults = Faults("invalid_usage_query")
    fields = Fields(parameters.model_dump(by_alias=True), "", faults)
    start = fields.required("from", parse_instant)
    end = fields.required("to", parse_instant)
    timezone = fields.required("timezone", parse_timezone)
    wanted: dict[str, str] = {}
    for index, condition in enumerate(parameters.filter):
        name, equals, value = condition.partition("=")
        if not equals:
            faults.add(f"filter[{index}]", "must be dimension=value")
        elif wanted.setdefault(name, value) != value:
            faults.add(f"filter[{index}]", f"asks for a second value of {name[:80]!r}")
    faults.refuse()
    return UsageQuery(
        meter=parameters.meter,
        start=start,
        end=end,
        customer=parameters.customer,
        group_by=tuple(parameters.group_by),
        window=parameters.window,
        timezone=timezone,
        filter=wanted or None,
    )


def _row(row: UsageGroup) -> dict[str, Any]:
    return {
        "group": row.group,
        "window_start": format_instant(row.window_start) if row.window_start else None,
        "quantity": trimmed(row.quantity),
        "events": row.events,
    }
