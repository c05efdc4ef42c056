"""SQL of the ledger. Thousands of transfers are one statement."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection
from farthing.ledger.chart import KIND_OF
from farthing.ledger.model import Account

# The trigger on transfers judges the statement as a whole and moves the balances; see the migration.
_INSERT_TRANSFERS = """
    INSERT INTO transfers (tenant_id, transfer_id, key, kind, currency, reference, corrects, effective_at, booked_at,
                           input_hash, account_ids, amounts)
    SELECT %(tenant_id)s, given.transfer_id, given.key, given.kind, given.currency, coalesce(given.reference, ''),
           nullif(given.corrects, ''), given.effective_at, %(booked_at)s, decode(given.input_hash, 'hex'),
           given.account_ids::bigint[], given.amounts::numeric[]
      FROM unnest(string_to_array(%(transfer_ids)s, E'\\n')::bigint[], string_to_array(%(keys)s, E'\\n'),
                  string_to_array(%(kinds)s, E'\\n'), string_to_array(%(currencies)s, E'\\n'),
                  string_to_array(%(references)s, E'\\n'), string_to_array(%(corrects)s, E'\\n'),
                  string_to_array(%(moments)s, E'\\n')::timestamptz[], string_to_array(%(hashes)s, E'\\n'),
                  string_to_array(%(account_ids)s, E'\\n'), string_to_array(%(amounts)s, E'\\n'))
           AS given (transfer_id, key, kind, currency, reference, corrects, effective_at, input_hash, account_ids,
                     amounts)
     -- In one order of keys, so that two who book the same facts do not wait for each other in a circle.
     ORDER BY given.key COLLATE "C"
"""
_UNLESS_BOOKED = " ON CONFLICT (tenant_id, key) DO NOTHING"


def select_account_ids(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[str, int]:
    """The accounts of these customers and the seller's own, those that were made so far, by `Account.name`."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT code || ' ' || currency || ' ' || customer_id, account_id FROM accounts
         WHERE tenant_id = %(tenant_id)s AND customer_id = ANY(string_to_array(%(customer_ids)s, ',')::bigint[])
        UNION ALL
        SELECT code || ' ' || currency, account_id FROM accounts
         WHERE tenant_id = %(tenant_id)s AND customer_id IS NULL
        """,
        {"tenant_id": tenant_id, "customer_ids": ",".join(map(str, customer_ids))},
    )
    return dict(rows.fetchall())


def insert_accounts(
    conn: BooksConnection, tenant_id: int, accounts: Sequence[Account], now: datetime
) -> None:
    """Make these accounts; another transaction may have made some of them meanwhile, which is as well.

    In one order, so that two that make the same accounts do not wait for each other in a circle.
    """
    ordered = sorted(accounts, key=lambda account: (account.customer_id or 0, account.code, account.currency))
    conn.execute(
        """
        INSERT INTO accounts (tenant_id, code, kind, customer_id, currency, created_at)
        SELECT %(tenant_id)s, given.code, given.kind, given.customer_id, given.currency, %(now)s
          FROM unnest(%(codes)s::text[], %(kinds)s::text[], %(customers)s::bigint[], %(currencies)s::text[])
               WITH ORDINALITY AS given (code, kind, customer_id, currency, place)
         ORDER BY given.place
        ON CONFLICT (tenant_id, customer_id, code, currency) DO NOTHING
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "codes": [account.code for account in ordered],
            "kinds": [KIND_OF[account.code] for account in ordered],
            "customers": [account.customer_id for account in ordered],
            "currencies": [account.currency for account in ordered],
        },
    )


def take_transfer_ids(conn: BooksConnection, count: int) -> list[int]:
    """So many new numbers of transfers, ascending. Those of a transaction that fails are left out for ever."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT array_agg(nextval('transfer_ids')) FROM generate_series(1, %s)", [count]
    )
    (transfer_ids,) = rows.fetchall()[0]
    return sorted(transfer_ids)


def insert_transfers(
    conn: BooksConnection, tenant_id: int, columns: Mapping[str, str], booked_at: datetime
) -> None:
    """Book transfers, none of which was booked before. Raises psycopg's UniqueViolation if one was."""
    conn.execute(_INSERT_TRANSFERS, {**columns, "tenant_id": tenant_id, "booked_at": booked_at})


def insert_transfers_unless_booked(
    conn: BooksConnection, tenant_id: int, columns: Mapping[str, str], booked_at: datetime
) -> int:
    """Book those transfers whose keys do not stand yet, and say how many that were."""
    parameters = {**columns, "tenant_id": tenant_id, "booked_at": booked_at}
    return conn.execute(_INSERT_TRANSFERS + _UNLESS_BOOKED, parameters).rowcount


def select_input_hashes(conn: BooksConnection, tenant_id: int, keys: Sequence[str]) -> dict[str, str]:
    """What the transfers of these keys were made from, as a hash in hexadecimal digits."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT key, encode(input_hash, 'hex') FROM transfers WHERE tenant_id = %s AND key = ANY(%s)",
        [tenant_id, list(keys)],
    )
    return dict(rows.fetchall())


# ---- Reading

_BALANCES = """
    SELECT a.account_id, a.code, a.kind, c.key AS customer, a.currency, coalesce(b.balance, 0) AS balance,
           coalesce(b.entries, 0) AS entries
      FROM accounts a
      LEFT JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
      LEFT JOIN customers c ON c.tenant_id = a.tenant_id AND c.customer_id = a.customer_id
     WHERE a.tenant_id = %(tenant_id)s
"""
_JOURNAL = """
    SELECT t.transfer_id, e.place, e.account_id, a.code, c.key AS customer, t.currency, e.amount, t.key AS transfer,
           t.kind, t.reference, t.corrects, t.effective_at, t.booked_at
      FROM ({transfers}) t
     CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) WITH ORDINALITY AS e (account_id, amount, place)
      JOIN accounts a ON a.tenant_id = t.tenant_id AND a.account_id = e.account_id
      LEFT JOIN customers c ON c.tenant_id = a.tenant_id AND c.customer_id = a.customer_id
"""
_TRANSFERS_BETWEEN = _JOURNAL.format(
    transfers="""
        SELECT * FROM transfers
         WHERE tenant_id = %(tenant_id)s AND transfer_id > %(after)s
           AND (%(start)s::timestamptz IS NULL OR effective_at >= %(start)s)
           AND (%(end)s::timestamptz IS NULL OR effective_at < %(end)s)
         ORDER BY transfer_id LIMIT %(limit)s
    """
)
_ENTRIES_AFTER = _JOURNAL.format(
    transfers="""
        SELECT * FROM transfers
         WHERE tenant_id = %(tenant_id)s AND transfer_id >= %(after)s
           AND (%(account_id)s::bigint IS NULL OR account_ids @> ARRAY[%(account_id)s::bigint])
         ORDER BY transfer_id LIMIT %(limit)s
    """
)


def select_balances_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, customer: str | None, code: str | None
) -> list[DictRow]:
    """Accounts with their balances in the order of their making, those behind the id `after`."""
    return conn.execute(
        _BALANCES
        + """
           AND a.account_id > %(after)s
           AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
           AND (%(code)s::text IS NULL OR a.code = %(code)s)
         ORDER BY a.account_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "customer": customer, "code": code},
    ).fetchall()


def select_balance(conn: BooksConnection, tenant_id: int, account_id: int) -> DictRow | None:
    """One account with its balance."""
    return conn.execute(
        _BALANCES + " AND a.account_id = %(account_id)s", {"tenant_id": tenant_id, "account_id": account_id}
    ).fetchone()


def select_account_fold(
    conn: BooksConnection, tenant_id: int, account_id: int, as_of: datetime | None, booked_by: datetime | None
) -> tuple[Decimal, int]:
    """The sum of an account's entries that took effect before `as_of` and were booked before `booked_by`."""
    row = conn.execute(
        """
        SELECT coalesce(sum(e.amount), 0) AS balance, count(*) AS entries
          FROM transfers t
         CROSS JOIN LATERAL unnest(t.account_ids, t.amounts) AS e (account_id, amount)
         WHERE t.tenant_id = %(tenant_id)s AND t.account_ids @> ARRAY[%(account_id)s::bigint]
           AND e.account_id = %(account_id)s
           AND (%(as_of)s::timestamptz IS NULL OR t.effective_at < %(as_of)s)
           AND (%(booked_by)s::timestamptz IS NULL OR t.booked_at < %(booked_by)s)
        """,
        {"tenant_id": tenant_id, "account_id": account_id, "as_of": as_of, "booked_by": booked_by},
    ).fetchone()
    assert row is not None
    return row["balance"], row["entries"]


def select_fold(
    conn: BooksConnection, tenant_id: int, as_of: datetime | None, booked_by: datetime | None
) -> dict[int, Decimal]:
    """The balance of every account, from its entries up to these moments."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT e.account_id, sum(e.amount) FROM entries e
         WHERE e.tenant_id = %(tenant_id)s
           AND (%(as_of)s::timestamptz IS NULL OR e.effective_at < %(as_of)s)
           AND (%(booked_by)s::timestamptz IS NULL OR e.booked_at < %(booked_by)s)
         GROUP BY e.account_id
        """,
        {"tenant_id": tenant_id, "as_of": as_of, "booked_by": booked_by},
    )
    return dict(rows.fetchall())


def select_code_balances(conn: BooksConnection, tenant_id: int) -> list[tuple[str, str, Decimal]]:
    """The balances of all accounts of a code and currency together: (code, currency, balance)."""
    return (
        conn.cursor(row_factory=tuple_row)
        .execute(
            """
            SELECT a.code, a.currency, sum(b.balance)
              FROM accounts a
              JOIN account_balances b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
             WHERE a.tenant_id = %s GROUP BY a.code, a.currency
            """,
            [tenant_id],
        )
        .fetchall()
    )


def fold_code_balances(
    conn: BooksConnection, tenant_id: int, as_of: datetime | None, booked_by: datetime | None
) -> list[tuple[str, str, Decimal]]:
    """The same from the entries up to these moments."""
    return (
        conn.cursor(row_factory=tuple_row)
        .execute(
            """
            SELECT a.code, a.currency, sum(f.balance)
              FROM (SELECT e.account_id, sum(e.amount) AS balance FROM entries e
                     WHERE e.tenant_id = %(tenant_id)s
                       AND (%(as_of)s::timestamptz IS NULL OR e.effective_at < %(as_of)s)
                       AND (%(booked_by)s::timestamptz IS NULL OR e.booked_at < %(booked_by)s)
                     GROUP BY e.account_id) f
              JOIN accounts a ON a.tenant_id = %(tenant_id)s AND a.account_id = f.account_id
             GROUP BY a.code, a.currency
            """,
            {"tenant_id": tenant_id, "as_of": as_of, "booked_by": booked_by},
        )
        .fetchall()
    )


def select_transfers_between(
    conn: BooksConnection,
    tenant_id: int,
    after: int,
    limit: int,
    start: datetime | None,
    end: datetime | None,
) -> list[DictRow]:
    """The entries of the next transfers in the order of booking that took effect in [start, end)."""
    given = {"tenant_id": tenant_id, "after": after, "limit": limit, "start": start, "end": end}
    return conn.execute(_TRANSFERS_BETWEEN + " ORDER BY t.transfer_id, e.place", given).fetchall()


def select_entries_after(
    conn: BooksConnection,
    tenant_id: int,
    after: tuple[int, int],
    limit: int,
    account_id: int | None,
) -> list[DictRow]:
    """Entries in the order of booking behind (transfer, place), of one account where one is named."""
    transfer_id, place = after
    # The transfer that the page before ended in may have nothing left, so there is one more.
    given = {"tenant_id": tenant_id, "after": transfer_id, "limit": limit + 1, "account_id": account_id}
    return conn.execute(
        _ENTRIES_AFTER
        + """
         WHERE (t.transfer_id, e.place) > (%(after)s, %(place)s)
           AND (%(account_id)s::bigint IS NULL OR e.account_id = %(account_id)s)
         ORDER BY t.transfer_id, e.place LIMIT %(limit)s - 1
        """,
        {**given, "place": place},
    ).fetchall()


def lock_period_closings(conn: BooksConnection, tenant_id: int) -> None:
    """Wait for those who are posting, and let nobody post until this transaction ends."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('period_closings', %s))", [tenant_id])


def insert_period_closing(
    conn: BooksConnection, tenant_id: int, until: datetime | None, reason: str, now: datetime
) -> DictRow:
    """The closing that holds from now on."""
    row = conn.execute(
        "INSERT INTO period_closings (tenant_id, closed_until, reason, closed_at) VALUES (%s, %s, %s, %s)"
        " RETURNING closing_id, closed_until, reason, closed_at",
        [tenant_id, until, reason, now],
    ).fetchone()
    assert row is not None
    return row


def select_period_closings(
    conn: BooksConnection, tenant_id: int, limit: int, before: int | None
) -> list[DictRow]:
    """Closings, the last one first; or those before an id."""
    return conn.execute(
        """
        SELECT closing_id, closed_until, reason, closed_at FROM period_closings
         WHERE tenant_id = %(tenant)s AND (%(before)s::bigint IS NULL OR closing_id < %(before)s)
         ORDER BY closing_id DESC LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "before": before, "limit": limit},
    ).fetchall()
