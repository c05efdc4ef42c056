"""What finance people file: reports, closings, recognising revenue."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.finance import ClosingDocument, ClosingPage, RecognitionDocument, ReportDocument
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    INSTANT,
    READ,
    House,
    JsonWrite,
    PageQuery,
    QueryDocument,
    TenantId,
    found,
    page_json,
)
from farthing.finance.model import ReportName
from farthing.finance.service import OVER_A_PERIOD, close_books, make_report, recognise_revenue
from farthing.finance.wire import closing_document, report_csv, report_document
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.reading import Faults, Fields, parse_text
from farthing.ledger.service import close_period, period_closings

router = APIRouter(tags=["Reports"])


class Form(StrEnum):
    """How a report is written."""

    JSON = "json"
    CSV = "csv"


class AsOfQuery(QueryDocument):
    """As of when, and how it is written."""

    as_of: str | None = Field(
        None,
        max_length=64,
        json_schema_extra=INSTANT,
        description="What took effect before; absent: everything.",
    )
    format: Form = Field(Form.JSON, description="`csv` gives the rows alone.")


class PeriodQuery(QueryDocument):
    """Over which time, and how it is written."""

    start: str | None = Field(
        None,
        alias="from",
        max_length=64,
        json_schema_extra=INSTANT,
        description="Absent: from the beginning.",
    )
    end: str | None = Field(
        None,
        alias="to",
        max_length=64,
        json_schema_extra=INSTANT,
        description="Before it; absent: everything.",
    )
    format: Form = Field(Form.JSON, description="`csv` gives the rows alone.")


def _answer(
    services: House,
    tenant_id: int,
    name: ReportName,
    start: str | None,
    end: str | None,
    path: str,
    form: Form,
) -> Response:
    since, until = _moment(start, "from"), _moment(end, path)
    report = make_report(services.books, tenant_id, name, since, until, services.now())
    if form is Form.JSON:
        return found(report_document(report))
    return Response(
        report_csv(report),
        headers={
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="{name.value}.csv"',
        },
        media_type="text/csv",
    )


def _over_a_period(name: ReportName) -> Callable[..., Response]:
    def report(tenant_id: TenantId, services: House, query: Annotated[PeriodQuery, Query()]) -> Response:
        return _answer(services, tenant_id, name, query.start, query.end, "to", query.format)

    return report


def _as_of(name: ReportName) -> Callable[..., Response]:
    def report(tenant_id: TenantId, services: House, query: Annotated[AsOfQuery, Query()]) -> Response:
        return _answer(services, tenant_id, name, None, query.as_of, "as_of", query.format)

    return report


for _name in ReportName:
    router.add_api_route(
        f"/v1/reports/{_name.value}",
        (_over_a_period if _name in OVER_A_PERIOD else _as_of)(_name),
        methods=["GET"],
        name=f"report_{_name.name.lower()}",
        response_model=None,
        responses={
            200: {"model": ReportDocument, "content": {"text/csv": {"schema": {"type": "string"}}}},
            **READ,
        },
        summary=f"Report: {_name.value.replace('-', ' ')}",
        description="Made of what is booked, and tied to the ledger to the last digit: see `ties`.",
    )


@shows(router, "/v1/ledger/closings", ClosingPage, "List closings of the books")
def list_closings(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """The last one, which holds, first."""
    before = read_cursor(query.cursor, "closings", numeric=True)
    items = period_closings(
        services.books, tenant_id, query.limit + 1, None if before is None else int(before)
    )
    return page_json(items, query.limit, "closings", lambda one: str(one.closing_id), closing_document)


@changes(
    router,
    "POST",
    "/v1/ledger/closings",
    ClosingDocument,
    "Close the books up to a moment, or reopen them",
    body_name="ClosingBody",
    status=201,
)
def close(write: JsonWrite) -> object:
    """Recognises what was rendered by then, and from there on refuses whatever would take effect before."""
    services = write.services
    faults = Faults("invalid_period_closing")
    fields = Fields(write.body, "", faults)
    until = fields.optional("until", parse_instant, None)
    if isinstance(write.body, dict) and "until" not in write.body:
        faults.add("until", "is missing; null opens everything again")
    reason = fields.required("reason", parse_text)
    fields.refuse_unknown()
    faults.refuse()
    now = services.now()
    done = (
        close_period(services.books, write.tenant_id, None, reason, now)
        if until is None
        else close_books(services.books, write.tenant_id, until, reason, now)
    )
    return closing_document(done)


@changes(
    router,
    "POST",
    "/v1/ledger/recognitions",
    RecognitionDocument,
    "Recognise revenue up to a moment",
    body_name="RecognitionBody",
)
def recognise(write: JsonWrite) -> object:
    """What was invoiced in advance is earned as its service is rendered. The engine does this by itself, too."""
    services = write.services
    faults = Faults("invalid_until")
    fields = Fields(write.body, "", faults)
    until = fields.required("until", parse_instant)
    fields.refuse_unknown()
    faults.refuse()
    done = recognise_revenue(services.books, write.tenant_id, until, services.now())
    return {"until": format_instant(done.until), "booked": done.booked}


def _moment(text: str | None, path: str) -> datetime | None:
    return None if text is None else parse_instant(text, path)
