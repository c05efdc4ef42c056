"""Wallets: money that customers paid in advance or were given, what became of it, and top-ups."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
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
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    created,
    creates,
    found,
    found_page,
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


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(WalletDocument, "The same wallet stands already."),
        **WRITE_ONE,
    },
    openapi_extra=body("WalletBody"),
    summary="Create a wallet",
)
def create(write: JsonWrite) -> Response:
    """A wallet is of one customer and in its currency. It is empty: money comes in grants."""
    services = write.services

    def effect() -> Answer:
        now = services.now()
        wallet, outcome = create_wallet(services.books, write.tenant_id, write.body, now)
        made = get_wallet(services.books, write.tenant_id, wallet.key, now)
        return created(outcome, wallet_document(made))

    return write.once(effect)


@router.get("", response_model=None, responses={200: {"model": WalletPage}, **READ}, summary="List wallets")
def list_all_wallets(
    tenant_id: TenantId, services: House, query: Annotated[WalletQuery, Query()]
) -> Response:
    """In order of their keys, with their balances now."""
    after = read_cursor(query.cursor, "wallets")
    items = list_wallets(services.books, tenant_id, after, query.limit + 1, services.now(), query.customer)
    return found_page(items, query.limit, "wallets", lambda item: item[0].key, wallet_document)


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": WalletDocument}, **READ_ONE},
    summary="Get a wallet",
)
def get_one_wallet(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """A wallet by its key, with its balance now."""
    return found(wallet_document(get_wallet(services.books, tenant_id, key, services.now())))


@router.patch(
    "/{key}",
    response_model=None,
    responses={200: {"model": WalletDocument}, **WRITE_ONE},
    openapi_extra=body("WalletPatch"),
    summary="Change a wallet",
)
def update(key: PathText, write: JsonWrite) -> Response:
    """Its name, its priority, when its balance is low and when it tops itself up. Others never change."""
    services = write.services

    def effect() -> Answer:
        now = services.now()
        update_wallet(services.books, write.tenant_id, key, write.body, now)
        return Answer(200, wallet_document(get_wallet(services.books, write.tenant_id, key, now)))

    return write.once(effect)


@router.post(
    "/{key}/grants",
    status_code=201,
    response_model=None,
    responses={
        **creates(
            GrantDocument, "The same grant stands already.", new=GrantDocument | RecurringGrantDocument
        ),
        **WRITE_ONE,
    },
    openapi_extra=body("GrantBody"),
    summary="Create a grant",
)
def grant(key: PathText, write: JsonWrite) -> Response:
    """Money for a wallet, once; with `every` in each period. A paid grant is owed until a payment comes in."""
    services = write.services

    def effect() -> Answer:
        granted, outcome = create_grant(services.books, write.tenant_id, key, write.body, services.now())
        return created(outcome, granted_document(granted))

    return write.once(effect)


@router.get(
    "/{key}/grants",
    response_model=None,
    responses={200: {"model": GrantPage}, **READ_ONE},
    summary="List grants",
)
def list_wallet_grants(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """In the order of their making, each with what became of it."""
    after = read_cursor(query.cursor, "grants", numeric=True)
    items = list_grants(services.books, tenant_id, key, int(after or "0"), query.limit + 1)
    return found_page(items, query.limit, "grants", lambda one: str(one.grant_id), grant_document)


@router.get(
    "/{key}/recurring-grants",
    response_model=None,
    responses={200: {"model": RecurringGrantPage}, **READ_ONE},
    summary="List recurring grants",
)
def list_wallet_recurring(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """What is promised to a wallet in each period."""
    after = read_cursor(query.cursor, "recurring-grants", numeric=True)
    items = list_recurring(services.books, tenant_id, key, int(after or "0"), query.limit + 1)
    return found_page(
        items, query.limit, "recurring-grants", lambda one: str(one.recurring_grant_id), recurring_document
    )


@router.post(
    "/{key}/grants/{grant}/void",
    response_model=None,
    responses={200: {"model": VoidedDocument}, **WRITE_ONE},
    openapi_extra=body("VoidBody"),
    summary="Void a grant",
)
def void(key: PathText, grant: PathText, write: JsonWrite) -> Response:
    """Call off what is neither drawn nor held. What was paid for it stands to the customer's credit."""
    services = write.services

    def effect() -> Answer:
        faults = Faults("invalid_void")
        fields = Fields(write.body, "", faults)
        note = fields.optional("note", parse_text, "")
        fields.refuse_unknown()
        faults.refuse()
        voided, left = void_grant(services.books, write.tenant_id, grant, note, services.now(), wallet=key)
        return Answer(200, grant_document(voided) | {"voided": trimmed(left)})

    return write.once(effect)


@router.get(
    "/{key}/history",
    response_model=None,
    responses={200: {"model": HistoryPage}, **READ_ONE},
    summary="Get a wallet's history",
)
def history(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """Every movement and what caused it, the latest first."""
    before = read_cursor(query.cursor, "history")
    items = wallet_history(services.books, tenant_id, key, before, query.limit + 1)
    return found_page(
        items,
        query.limit,
        "history",
        lambda one: str(one["place"]),
        lambda one: {name: value for name, value in one.items() if name != "place"},
    )


@router.post(
    "/{key}/top-ups",
    status_code=201,
    response_model=None,
    responses={
        **creates(TopUpDocument, "The same top-up stands already."),
        **WRITE_ONE,
    },
    openapi_extra=body("TopUpBody"),
    summary="Request a top-up",
)
def top_up(key: PathText, write: JsonWrite) -> Response:
    """Money that is to be collected, by a payment or by hand. The wallet has it once that is settled."""
    services = write.services

    def effect() -> Answer:
        made, outcome = request_top_up(services.books, write.tenant_id, key, write.body, services.now())
        return created(outcome, made)

    return write.once(effect)


class TopUpQuery(PageQuery):
    """Which page of the top-ups."""

    status: Literal["requested", "collecting", "funded", "failed"] | None = None


@router.get(
    "/{key}/top-ups",
    response_model=None,
    responses={200: {"model": TopUpPage}, **READ_ONE},
    summary="List top-ups",
)
def list_wallet_top_ups(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[TopUpQuery, Query()]
) -> Response:
    """In the order of their requests, with what came of them."""
    after = read_cursor(query.cursor, "top-ups", numeric=True)
    items = list_top_ups(services.books, tenant_id, int(after or "0"), query.limit + 1, key, query.status)
    return found_page(items, query.limit, "top-ups", lambda one: str(one["number"]), lambda one: one)


@router.post(
    "/{key}/top-ups/{top_up}/settle",
    response_model=None,
    responses={200: {"model": TopUpDocument}, **WRITE_ONE},
    openapi_extra=body("TopUpSettlement"),
    summary="Settle a top-up",
)
def settle(key: PathText, top_up: PathText, write: JsonWrite) -> Response:
    """Say what came of the money, where it was collected elsewhere: funded, or failed.

    Not while a payment for it is under way (`top_up_under_way`).
    """
    services = write.services

    def effect() -> Answer:
        settled = settle_top_up(services.books, write.tenant_id, key, top_up, write.body, services.now())
        return Answer(200, settled)

    return write.once(effect)
