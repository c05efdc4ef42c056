"""Payments, how far invoices are paid, dunning, reconciliation."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.payment import (
    DunningPolicyDocument,
    InvoicePaymentDocument,
    PaymentDetailDocument,
    PaymentDocument,
    PaymentPage,
    ReconciliationDocument,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    INSTANT,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    QueryDocument,
    TenantId,
    created,
    page_json,
)
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import shown
from farthing.payments.content import balance_json, detail_json, payment_json
from farthing.payments.model import State
from farthing.payments.reconciling.service import reconcile, reconciliation_json
from farthing.payments.schedule import policy_json
from farthing.payments.service import (
    balances_of,
    create_payment,
    get_payment,
    get_policy,
    list_payments,
    put_policy,
    write_off,
)

MONTH = timedelta(days=31)

router = APIRouter(prefix="/v1", tags=["Payments"])


@makes(
    router,
    "/payments",
    PaymentDocument,
    "PaymentBody",
    "Create a payment",
    standing="The same payment stands already.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """Write down money that came in; or, with `method`, ask for a charge, which the engine sends."""
    services = write.services
    payment, outcome = create_payment(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, payment_json(payment))


class PaymentQuery(PageQuery):
    """Which page of the payments."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    invoice: str | None = Field(
        None, max_length=256, description="Only those for, or that paid, this invoice."
    )
    state: State | None = Field(None, description="Only those in this state.")


@shows(router, "/payments", PaymentPage, "List payments")
def list_some(tenant_id: TenantId, services: House, query: Annotated[PaymentQuery, Query()]) -> object:
    """In the order of their making."""
    after = int(read_cursor(query.cursor, "payments", numeric=True) or 0)
    items = list_payments(
        services.books, tenant_id, after, query.limit + 1, query.customer, query.invoice, query.state
    )
    return page_json(items, query.limit, "payments", lambda one: str(one.payment_id), payment_json)


@shows(router, "/payments/{key}", PaymentDetailDocument, "Get a payment")
def get_one(key: PathText, tenant_id: TenantId, services: House) -> object:
    """With all that happened to it, in order."""
    return detail_json(get_payment(services.books, tenant_id, key))


@shows(router, "/invoices/{number}/payment", InvoicePaymentDocument, "Get the payment of an invoice")
def get_paid(number: PathText, tenant_id: TenantId, services: House) -> object:
    """How far it is paid, now."""
    return _paid(services, tenant_id, number)


@changes(
    router,
    "POST",
    "/invoices/{number}/write-off",
    InvoicePaymentDocument,
    "Write an invoice off",
    body_name="WriteOffBody",
)
def give_up(number: PathText, write: JsonWrite) -> object:
    """What is open of it will not be paid: it becomes a loss, but for the tax on it."""
    services = write.services
    write_off(services.books, write.tenant_id, number, write.body, services.now())
    return _paid(services, write.tenant_id, number)


def _paid(services: House, tenant_id: int, number: str) -> dict[str, Any]:
    balance = balances_of(services.books, tenant_id, [number]).get(number)
    if balance is None:
        raise NotFound("invoice_not_found", f"there is no invoice {shown(number)}")
    return {"invoice": number} | balance_json(balance, services.now())


@shows(router, "/dunning-policy", DunningPolicyDocument, "Get the dunning policy")
def get_dunning(tenant_id: TenantId, services: House) -> object:
    """How those who do not pay are treated."""
    return policy_json(get_policy(services.books, tenant_id))


@changes(
    router,
    "PUT",
    "/dunning-policy",
    DunningPolicyDocument,
    "Set the dunning policy",
    body_name="DunningPolicyBody",
)
def put_dunning(write: JsonWrite) -> object:
    """From now on, also for what is overdue already."""
    services = write.services
    policy = put_policy(services.books, write.tenant_id, write.body, services.now())
    return policy_json(policy)


class ReconciliationQuery(QueryDocument):
    """Which movements."""

    start: str | None = Field(
        None,
        max_length=64,
        json_schema_extra=INSTANT,
        description="The first moment that is in; absent: 31 days before the end.",
    )
    end: str | None = Field(
        None,
        max_length=64,
        json_schema_extra=INSTANT,
        description="The first one that is not; absent: now.",
    )


@shows(router, "/reconciliations/{gateway}", ReconciliationDocument, "Reconcile with a gateway")
def compare_with(
    gateway: PathText, tenant_id: TenantId, services: House, query: Annotated[ReconciliationQuery, Query()]
) -> object:
    """Every movement of the gateway is one of ours and the other way round, or it says which is not."""
    own = services.gateways_of(tenant_id).get(gateway)
    if own is None:
        raise NotFound("unknown_gateway", f"there is no gateway {shown(gateway)} here")
    end = services.now() if query.end is None else parse_instant(query.end, "end")
    start = end - MONTH if query.start is None else parse_instant(query.start, "start")
    return reconciliation_json(reconcile(services.books, tenant_id, own, start, end))
