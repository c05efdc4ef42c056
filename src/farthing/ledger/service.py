"""Use cases of the ledger: post, ask for balances, read the journal."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.quantity import ZERO
from farthing.kernel.reading import Faults
from farthing.ledger import store as rows
from farthing.ledger.balances import trial_balance_of
from farthing.ledger.batch import (
    Row,
    account_names,
    batch_of,
    columns_of,
    refuse_conflicts,
    rows_of_draws,
)
from farthing.ledger.chart import Code, Kind
from farthing.ledger.checking import TRANSFERS_MAX, check_draws, check_transfers
from farthing.ledger.facts import DrawnTogether
from farthing.ledger.model import (
    Account,
    AccountBalance,
    BookedEntry,
    PeriodClosing,
    Posted,
    Transfer,
    TrialBalance,
)

LIST_LIMIT_MAX = 10_001
"""The longest page, and the one item that tells whether another page follows."""
REASON_CHARACTERS_MAX = 500
TRANSFERS_PER_QUERY = 2_000
ACCOUNTS_PER_QUERY = 5_000


def post(conn: BooksConnection, tenant_id: int, transfers: Sequence[Transfer], now: datetime) -> Posted:
    """Book these transfers in the caller's transaction, all of them or none.

    A transfer whose key was booked before is passed over if it says the same. Post last in a transaction: from
    here until it ends, every account that was posted to is held, in the order of accounts.

    Raises:
        InvalidInput: see `check_transfers`; `unknown_account` for the account of a customer who is not there,
            `unknown_transfer` if one is corrected that was never booked.
        Conflict: `transfer_conflict`, if a key was booked with other entries; `period_closed`, if one takes effect
            before the end of what was closed.
        LimitExceeded: `too_many_transfers`.
    """
    check_transfers(transfers)
    batch = batch_of(transfers)
    if not batch.rows:
        return Posted(0, 0)
    account_ids = _account_ids(conn, tenant_id, batch.accounts, now)
    booked = _booked(conn, tenant_id, batch.rows, account_ids, now)
    if booked < len(batch.rows):
        stands = rows.select_input_hashes(conn, tenant_id, [row.key for row in batch.rows])
        refuse_conflicts(transfers, [row.key for row in batch.rows if stands[row.key] != row.input_hash])
    return Posted(booked, len(transfers) - booked)


def post_drawn(
    conn: BooksConnection,
    tenant_id: int,
    drawn: Sequence[DrawnTogether],
    transfers: Sequence[Transfer],
    now: datetime,
) -> None:
    """Book what many wallets paid, and transfers beside it, in one statement. None of it was booked before.

    See `post`: this comes last in a transaction, too.
    """
    if not drawn:
        post_all(conn, tenant_id, transfers, now)
        return
    check_transfers(transfers)
    check_draws(drawn)
    batch = batch_of(transfers)
    account_ids = _account_ids(conn, tenant_id, batch.accounts, now) if batch.accounts else {}
    for some in drawn:
        names = account_names(some)
        account_ids |= _draw_account_ids(conn, tenant_id, some, names, now)
        batch.rows += rows_of_draws(some, names)
    _booked(conn, tenant_id, batch.rows, account_ids, now)


def _draw_account_ids(
    conn: BooksConnection, tenant_id: int, drawn: DrawnTogether, names: Sequence[str], now: datetime
) -> dict[str, int]:
    revenue = Account(Code.REVENUE, drawn.currency)
    known = _account_ids(conn, tenant_id, {revenue.name: revenue}, now)
    unknown = {}
    for place, (name, account_id) in enumerate(zip(names, drawn.account_ids, strict=True)):
        if account_id is None:
            unknown[name] = Account(drawn.codes[place], drawn.currency, drawn.customer_ids[place])
        else:
            known[name] = account_id
    return known | _account_ids(conn, tenant_id, unknown, now) if unknown else known


def _booked(
    conn: BooksConnection, tenant_id: int, made: Sequence[Row], account_ids: Mapping[str, int], now: datetime
) -> int:
    """Book these rows; how many of them had not been booked before."""
    columns = columns_of(made, rows.take_transfer_ids(conn, len(made)), account_ids)
    try:
        return _insert(conn, tenant_id, len(made), columns, now)
    except psycopg.errors.CheckViolation as error:
        said = error.diag.message_primary or str(error)
        if error.diag.constraint_name == "transfers_corrects":
            raise InvalidInput("unknown_transfer", said) from error
        if error.diag.constraint_name == "transfers_period_open":
            raise Conflict("period_closed", said) from error
        raise


def post_all(conn: BooksConnection, tenant_id: int, transfers: Sequence[Transfer], now: datetime) -> None:
    """Book any number of transfers in the caller's transaction, in as many statements as they take. See `post`."""
    for first in range(0, len(transfers), TRANSFERS_MAX):
        post(conn, tenant_id, transfers[first : first + TRANSFERS_MAX], now)


def _insert(
    conn: BooksConnection, tenant_id: int, count: int, columns: Mapping[str, str], now: datetime
) -> int:
    """Insert as if all were new, which they nearly always are and which costs a third less."""
    try:
        with conn.transaction():
            rows.insert_transfers(conn, tenant_id, columns, now)
        return count
    except psycopg.errors.UniqueViolation:
        return rows.insert_transfers_unless_booked(conn, tenant_id, columns, now)


def _account_ids(
    conn: BooksConnection, tenant_id: int, accounts: Mapping[str, Account], now: datetime
) -> dict[str, int]:
    """The ids of these accounts, by name; those that nobody has posted to yet are made."""
    customers = {account.customer_id for account in accounts.values() if account.customer_id is not None}
    known = rows.select_account_ids(conn, tenant_id, customers)
    missing = [account for name, account in accounts.items() if name not in known]
    if missing:
        try:
            rows.insert_accounts(conn, tenant_id, missing, now)
        except psycopg.errors.ForeignKeyViolation as error:
            complaint = f"there is no such customer: {error.diag.message_detail}"
            raise InvalidInput("unknown_account", complaint) from error
        known = rows.select_account_ids(conn, tenant_id, customers)
    return {name: known[name] for name in accounts}


def booked_differently(
    conn: BooksConnection, tenant_id: int, transfers: Sequence[Transfer]
) -> tuple[list[str], list[str]]:
    """The keys of these transfers that were never booked, and of those that were booked as something else."""
    batch = batch_of(transfers)
    stands = rows.select_input_hashes(conn, tenant_id, [row.key for row in batch.rows])
    missing = [row.key for row in batch.rows if row.key not in stands]
    differing = [row.key for row in batch.rows if stands.get(row.key, row.input_hash) != row.input_hash]
    return missing, differing


def close_period(
    books: Books, tenant_id: int, until: datetime | None, reason: str, now: datetime
) -> PeriodClosing:
    """From here on nothing takes effect before `until`; an earlier one than last time, or none, reopens.

    Whoever is posting when this is called finishes first. Raises InvalidInput `invalid_period_closing` for an end in
    the future or a reason that is empty, not printable or longer than 500 characters.
    """
    faults = Faults("invalid_period_closing")
    if until is not None and until > now:
        faults.add("until", "lies in the future: what has not happened yet cannot be closed")
    if not (1 <= len(reason) <= REASON_CHARACTERS_MAX and reason.isprintable()):
        faults.add("reason", f"must have 1 to {REASON_CHARACTERS_MAX} printable characters")
    faults.refuse()
    with books.transaction(tenant_id) as conn:
        rows.lock_period_closings(conn, tenant_id)
        return PeriodClosing(**rows.insert_period_closing(conn, tenant_id, until, reason, now))


def period_closings(
    books: Books, tenant_id: int, limit: int = LIST_LIMIT_MAX, before: int | None = None
) -> list[PeriodClosing]:
    """Every time a period was closed or reopened, the last one, which holds, first; or those before an id."""
    with books.read_only(tenant_id) as conn:
        return [PeriodClosing(**row) for row in rows.select_period_closings(conn, tenant_id, limit, before)]


def trial_balance(
    books: Books, tenant_id: int, as_of: datetime | None = None, booked_by: datetime | None = None
) -> TrialBalance:
    """All accounts, a row for each code and currency.

    as_of: only what took effect before this moment. booked_by: only what the ledger knew before this one. Without
    either the balances that are kept are read; otherwise every entry up to then is summed.
    """
    with books.read_only(tenant_id) as conn:
        if as_of is None and booked_by is None:
            found = rows.select_code_balances(conn, tenant_id)
        else:
            found = rows.fold_code_balances(conn, tenant_id, as_of, booked_by)
    return trial_balance_of(found)


def list_accounts(
    books: Books,
    tenant_id: int,
    after: int,
    limit: int,
    customer: str | None = None,
    code: Code | None = None,
) -> list[AccountBalance]:
    """Accounts with their balances now, in the order of their making, the first behind the id `after`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_balances_after(conn, tenant_id, after, limit, customer, code)
    return [_account_balance(row) for row in found]


def get_account(
    books: Books,
    tenant_id: int,
    account_id: int,
    as_of: datetime | None = None,
    booked_by: datetime | None = None,
) -> AccountBalance:
    """One account with its balance, now or as of a moment (see `trial_balance`). Raises `account_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_balance(conn, tenant_id, account_id)
        if found is None:
            raise NotFound("account_not_found", f"there is no account with the id {account_id}")
        account = _account_balance(found)
        if as_of is None and booked_by is None:
            return account
        balance, entries = rows.select_account_fold(conn, tenant_id, account_id, as_of, booked_by)
    return replace(account, balance=balance, entries=entries)


def list_entries(
    books: Books, tenant_id: int, after: tuple[int, int], limit: int, account_id: int | None = None
) -> list[BookedEntry]:
    """Entries in the order of booking, the first behind the place `after` (transfer id, place in it).

    A transfer whose transaction was still open when a page was read may turn up in front of that page's end.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_entries_after(conn, tenant_id, after, limit, account_id)
    return [_booked_entry(row) for row in found]


class Journal:
    """The entries of a tenant as they stand at one moment, and the balances that they lead to.

    start, end: only what took effect in [start, end).
    """

    def __init__(
        self, conn: BooksConnection, tenant_id: int, start: datetime | None, end: datetime | None
    ) -> None:
        self._conn, self._tenant_id = conn, tenant_id
        self._start, self._end = start, end

    @property
    def whole(self) -> bool:
        """Whether nothing before the end was left out, so that entries lead to balances."""
        return self._start is None

    def accounts(self) -> Iterator[AccountBalance]:
        """Every account, with its balance at the end of the journal."""
        fold = {} if self._end is None else rows.select_fold(self._conn, self._tenant_id, self._end, None)
        after = 0
        while some := rows.select_balances_after(
            self._conn, self._tenant_id, after, ACCOUNTS_PER_QUERY, None, None
        ):
            for row in some:
                account = _account_balance(row)
                if self._end is not None:
                    account = replace(account, balance=fold.get(account.account_id, ZERO))
                yield account
            after = some[-1]["account_id"]

    def transfers(self) -> Iterator[list[BookedEntry]]:
        """The entries of each transfer, in the order of booking."""
        after = 0
        while some := rows.select_transfers_between(
            self._conn, self._tenant_id, after, TRANSFERS_PER_QUERY, self._start, self._end
        ):
            entries: list[BookedEntry] = []
            for row in some:
                if entries and row["transfer_id"] != entries[0].transfer_id:
                    yield entries
                    entries = []
                entries.append(_booked_entry(row))
            yield entries
            after = some[-1]["transfer_id"]


@contextmanager
def opened_journal(
    books: Books, tenant_id: int, start: datetime | None = None, end: datetime | None = None
) -> Iterator[Journal]:
    """The journal of a tenant, to be read within the block; what is booked meanwhile is not in it."""
    with books.read_only(tenant_id) as conn:
        yield Journal(conn, tenant_id, start, end)


def _account_balance(row: Mapping[str, Any]) -> AccountBalance:
    return AccountBalance(
        row["account_id"],
        Code(row["code"]),
        Kind(row["kind"]),
        row["customer"],
        row["currency"],
        row["balance"],
        row["entries"],
    )


def _booked_entry(row: Mapping[str, Any]) -> BookedEntry:
    return BookedEntry(**{**row, "code": Code(row["code"])})
