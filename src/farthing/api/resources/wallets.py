"""Wallets: money that customers paid in advance or were given, what became of it, and top-ups."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.wallet import (
    GrantDocument,
    GrantPage,
    HistoryPage,
    RecurringGrantDocument,
    RecurringGrantPage,
    TopUpDocument,
    TopUpPage,
    VoidedDocument,
    WalletDocument,
    WalletPage,
)
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
)
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import Faults, Fields, parse_text
from farthing.wallets.service import (
    create_grant,
    create_wallet,
    get_wallet,
    list_grants,
    list_recurring,
    list_wallets,
    update_wallet,
    void_grant,
    wallet_history,
)
from farthing.wallets.top_ups import list_top_ups, request_top_up, settle_top_up
from farthing.wallets.wire import grant_document, granted_document, recurring_document, wallet_document

router = APIRouter(prefix="/v1/wallets", tags=["Wallets"])


class WalletQuery(PageQuery):
    """Which page of the wallets."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@makes(
    router,
    "",
    WalletDocument,
    "WalletBody",
    "Create a wallet",
    standing="The same wallet stands already.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """A wallet is of one customer and in its currency. It is empty: money comes in grants."""
    services = write.services
    now = services.now()
    wallet, outcome = create_wallet(services.books, write.tenant_id, write.body, now)
    made = get_wallet(services.books, write.tenant_id, wallet.key, now)
    return created(outcome, wallet_document(made))


@shows(router, "", WalletPage, "List wallets")
def list_all_wallets(tenant_id: TenantId, services: House, query: Annotated[WalletQuery, Query()]) -> object:
    """In order of their keys, with their balances now."""
    after = read_cursor(query.cursor, "wallets")
    items = list_wallets(services.books, tenant_id, after, query.limit + 1, services.now(), query.customer)
    return page_json(items, query.limit, "wallets", lambda item: item[0].key, wallet_document)


@shows(router, "/{key}", WalletDocument, "Get a wallet")
def get_one_wallet(key: PathText, tenant_id: TenantId, services: House) -> object:
    """A wallet by its key, with its balance now."""
    return wallet_document(get_wallet(services.books, tenant_id, key, services.now()))


@changes(router, "PATCH", "/{key}", WalletDocument, "Change a wallet", body_name="WalletPatch")
def update(key: PathText, write: JsonWrite) -> object:
    """Its name, its priority, when its balance is low and when it tops itself up. Others never change."""
    services = write.services
    now = services.now()
    update_wallet(services.books, write.tenant_id, key, write.body, now)
    return wallet_document(get_wallet(services.books, write.tenant_id, key, now))


@makes(
    router,
    "/{key}/grants",
    GrantDocument,
    "GrantBody",
    "Create a grant",
    standing="The same grant stands already.",
    new=GrantDocument | RecurringGrantDocument,
)
def grant(key: PathText, write: JsonWrite) -> Answer:
    """Money for a wallet, once; with `every` in each period. A paid grant is owed until a payment comes in."""
    services = write.services
    granted, outcome = create_grant(services.books, write.tenant_id, key, write.body, services.now())
    return created(outcome, granted_document(granted))


@shows(router, "/{key}/grants", GrantPage, "List grants")
def list_wallet_grants(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """In the order of their making, each with what became of it."""
    after = read_cursor(query.cursor, "grants", numeric=True)
    items = list_grants(services.books, tenant_id, key, int(after or "0"), query.limit + 1)
    return page_json(items, query.limit, "grants", lambda one: str(one.grant_id), grant_document)


@shows(router, "/{key}/recurring-grants", RecurringGrantPage, "List recurring grants")
def list_wallet_recurring(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """What is promised to a wallet in each period."""
    after = read_cursor(query.cursor, "recurring-grants", numeric=True)
    items = list_recurring(services.books, tenant_id, key, int(after or "0"), query.limit + 1)
    return page_json(
        items, query.limit, "recurring-grants", lambda one: str(one.recurring_grant_id), recurring_document
    )


@changes(router, "POST", "/{key}/grants/{grant}/void", VoidedDocument, "Void a grant", body_name="VoidBody")
def void(key: PathText, grant: PathText, write: JsonWrite) -> object:
    """Call off what is neither drawn nor held. What was paid for it stands to the customer's credit."""
    services = write.services
    faults = Faults("invalid_void")
    fields = Fields(write.body, "", faults)
    note = fields.optional("note", parse_text, "")
    fields.refuse_unknown()
    faults.refuse()
    voided, left = void_grant(services.books, write.tenant_id, grant, note, services.now(), wallet=key)
    return grant_document(voided) | {"voided": trimmed(left)}


@shows(router, "/{key}/history", HistoryPage, "Get a wallet's history")
def history(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """Every movement and what caused it, the latest first."""
    before = read_cursor(query.cursor, "history")
    items = wallet_history(services.books, tenant_id, key, before, query.limit + 1)
    return page_json(
        items,
        query.limit,
        "history",
        lambda one: str(one["place"]),
        lambda one: {name: value for name, value in one.items() if name != "place"},
    )


@makes(
    router,
    "/{key}/top-ups",
    TopUpDocument,
    "TopUpBody",
    "Request a top-up",
    standing="The same top-up stands already.",
)
def top_up(key: PathText, write: JsonWrite) -> Answer:
    """Money that is to be collected, by a payment or by hand. The wallet has it once that is settled."""
    services = write.services
    made, outcome = request_top_up(services.books, write.tenant_id, key, write.body, services.now())
    return created(outcome, made)


class TopUpQuery(PageQuery):
    """Which page of the top-ups."""

    status: Literal["requested", "collecting", "funded", "failed"] | None = None


@shows(router, "/{key}/top-ups", TopUpPage, "List top-ups")
def list_wallet_top_ups(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[TopUpQuery, Query()]
) -> object:
    """In the order of their requests, with what came of them."""
    after = read_cursor(query.cursor, "top-ups", numeric=True)
    items = list_top_ups(services.books, tenant_id, int(after or "0"), query.limit + 1, key, query.status)
    return page_json(items, query.limit, "top-ups", lambda one: str(one["number"]), lambda one: one)


@changes(
    router,
    "POST",
    "/{key}/top-ups/{top_up}/settle",
    TopUpDocument,
    "Settle a top-up",
    body_name="TopUpSettlement",
)
def settle(key: PathText, top_up: PathText, write: JsonWrite) -> object:
    """Say what came of the money, where it was collected elsewhere: funded, or failed.

    Not while a payment for it is under way (`top_up_under_way`).
    """
    services = write.services
    return settle_top_up(services.books, write.tenant_id, key, top_up, write.body, services.now())
