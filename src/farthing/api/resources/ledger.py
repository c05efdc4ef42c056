"""The ledger: accounts, entries, the trial balance. It is written by what happens, not by requests."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from farthing.api.documents.ledger import (
    LedgerAccountDocument,
    LedgerAccountPage,
    LedgerEntryPage,
    TrialBalanceDocument,
)
from farthing.api.paging import read_cursor
from farthing.api.routes import shows
from farthing.api.web import (
    INSTANT,
    House,
    PageQuery,
    QueryDocument,
    TenantId,
    page_json,
)
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.reading import Faults
from farthing.ledger.chart import Code
from farthing.ledger.service import get_account, list_accounts, list_entries, trial_balance
from farthing.ledger.wire import (
    account_document,
    entry_document,
    entry_place,
    parse_entry_place,
    trial_balance_document,
)

ID_MAX = 2**63 - 1


router = APIRouter(prefix="/v1/ledger", tags=["Ledger"])


class MomentQuery(QueryDocument):
    """Up to when."""

    as_of: str | None = Field(
        None,
        max_length=64,
        json_schema_extra=INSTANT,
        description="Only what took effect before this moment; absent: everything.",
    )
    booked_by: str | None = Field(
        None,
        max_length=64,
        json_schema_extra=INSTANT,
        description="Only what had been booked before this moment; absent: everything.",
    )


@shows(router, "/trial-balance", TrialBalanceDocument, "Get the trial balance")
def get_trial_balance(tenant_id: TenantId, services: House, query: Annotated[MomentQuery, Query()]) -> object:
    """A row for each code of the chart and currency. Debits and credits are equal in every currency."""
    as_of, booked_by = _moments(query)
    answer = trial_balance_document(trial_balance(services.books, tenant_id, as_of, booked_by))
    moments = {
        "as_of": None if as_of is None else format_instant(as_of),
        "booked_by": None if booked_by is None else format_instant(booked_by),
    }
    return moments | answer


class AccountQuery(PageQuery):
    """Which page of the accounts."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")
    code: Code | None = Field(None, description="Only this account of the chart.")


@shows(router, "/accounts", LedgerAccountPage, "List ledger accounts")
def list_ledger_accounts(
    tenant_id: TenantId, services: House, query: Annotated[AccountQuery, Query()]
) -> object:
    """Accounts with their balances now, in the order of their making."""
    after = int(read_cursor(query.cursor, "accounts", numeric=True) or "0")
    items = list_accounts(services.books, tenant_id, after, query.limit + 1, query.customer, query.code)
    return page_json(
        items, query.limit, "accounts", lambda account: str(account.account_id), account_document
    )


@shows(router, "/accounts/{account_id}", LedgerAccountDocument, "Get a ledger account")
def get_ledger_account(
    account_id: Annotated[int, Path(ge=1, le=ID_MAX)],
    tenant_id: TenantId,
    services: House,
    query: Annotated[MomentQuery, Query()],
) -> object:
    """One account with its balance, now or as of a moment."""
    return account_document(get_account(services.books, tenant_id, account_id, *_moments(query)))


class EntryQuery(PageQuery):
    """Which page of the entries."""

    account_id: int | None = Field(None, ge=1, le=ID_MAX, description="Only entries of this account.")


@shows(router, "/entries", LedgerEntryPage, "List ledger entries")
def list_ledger_entries(
    tenant_id: TenantId, services: House, query: Annotated[EntryQuery, Query()]
) -> object:
    """In the order of booking. An entry that was being booked while a page was read may stand before its end."""
    cursor = read_cursor(query.cursor, "entries")
    after = (0, 0) if cursor is None else parse_entry_place(cursor, "cursor", "invalid_cursor")
    items = list_entries(services.books, tenant_id, after, query.limit + 1, query.account_id)
    return page_json(items, query.limit, "entries", entry_place, entry_document)


def _moments(query: MomentQuery) -> tuple[datetime | None, datetime | None]:
    faults = Faults("invalid_instant")
    moments: list[datetime | None] = []
    for name, text in (("as_of", query.as_of), ("booked_by", query.booked_by)):
        try:
            moments.append(None if text is None else parse_instant(text, name))
        except InvalidInput as error:
            faults.absorb(error)
    faults.refuse()
    as_of, booked_by = moments
    return as_of, booked_by
