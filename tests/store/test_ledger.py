"""Laws 8, 9 and 13 on the ledger, through its use cases and behind their back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import psycopg
import pytest
from ledger_world import LedgerWorld, furnished

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.ledger.chart import Code
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.model import Account, Posted
from farthing.ledger.service import get_account, list_accounts, list_entries, post, trial_balance

INSERT = """
    INSERT INTO transfers (tenant_id, transfer_id, key, kind, currency, reference, corrects, effective_at, booked_at,
                           input_hash, account_ids, amounts)
    VALUES (%(tenant_id)s, nextval('transfer_ids'), %(key)s, 'by_hand', %(currency)s, '', %(corrects)s, now(), now(),
            '', %(account_ids)s::bigint[], %(amounts)s::numeric[])
"""


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime) -> LedgerWorld:
    return furnished(books, tenant_id, now)


def well(world: LedgerWorld) -> bool:
    checks = (check_transfers_balance, check_balances)
    return not any(check(world.books, world.tenant_id).findings for check in checks)


# ---- Posting


def test_a_transfer_moves_both_balances(world: LedgerWorld) -> None:
    assert world.post(world.moved("p-1", "0.0000325")) == Posted(1, 0)
    assert world.balances() == {
        ("cash", None, "USD"): D("0.0000325"),
        ("receivable", "acme", "USD"): D("-0.0000325"),
    }


def test_thousands_are_one_statement_and_every_digit_counts(world: LedgerWorld) -> None:
    amounts = [D(place) / D(10**12) for place in range(1, 3001)]
    transfers = [
        world.moved(
            f"p-{place}", amount, credit=world.account(Code.RECEIVABLE, ("acme", "bolt", "cato")[place % 3])
        )
        for place, amount in enumerate(amounts)
    ]
    assert world.post(*transfers) == Posted(3000, 0)
    assert world.balances() == {
        ("cash", None, "USD"): sum(amounts),
        ("receivable", "acme", "USD"): -sum(amounts[0::3]),
        ("receivable", "bolt", "USD"): -sum(amounts[1::3]),
        ("receivable", "cato", "USD"): -sum(amounts[2::3]),
    }
    assert well(world)


def test_posting_again_changes_nothing(world: LedgerWorld) -> None:
    first, second, third = (world.moved(f"p-{place}", "5") for place in range(3))
    assert world.post(first, second) == Posted(2, 0)
    assert world.post(first, second) == Posted(0, 2)
    assert world.post(second, third, third) == Posted(1, 2)
    assert world.balances()["cash", None, "USD"] == D(15)
    assert world.post() == Posted(0, 0)


def test_the_same_key_for_something_else_is_a_conflict_and_nothing_is_booked(world: LedgerWorld) -> None:
    world.post(world.moved("p-1", "5"))
    with pytest.raises(Conflict) as caught:
        world.post(world.moved("p-2", "1"), world.moved("p-1", "6"))
    assert caught.value.code == "transfer_conflict"
    assert caught.value.path == "transfers[1].key"
    assert world.balances()["cash", None, "USD"] == D(5)


def test_currencies_have_accounts_of_their_own(world: LedgerWorld) -> None:
    in_euro = world.moved(
        "p-2", "3", world.account(Code.CASH, currency="EUR"), world.account(Code.RECEIVABLE, "acme", "EUR")
    )
    world.post(world.moved("p-1", "5"), in_euro)
    assert trial_balance(world.books, world.tenant_id).totals == {"EUR": (D(3), D(3)), "USD": (D(5), D(5))}


def test_a_customer_who_is_not_there_has_no_account(world: LedgerWorld) -> None:
    with pytest.raises(InvalidInput) as caught:
        world.post(world.moved("p-1", "5", credit=Account(Code.RECEIVABLE, "USD", 10**15)))
    assert caught.value.code == "unknown_account"


def test_another_tenants_customer_is_not_there(world: LedgerWorld, now: datetime) -> None:
    other = create_tenant(world.books, f"other-{world.tenant_id}", "Other", now)
    with pytest.raises(InvalidInput) as caught, world.books.transaction(other) as conn:
        post(conn, other, [world.moved("p-1", "5")], now)
    assert caught.value.code == "unknown_account"


def test_a_correction_points_to_something(world: LedgerWorld) -> None:
    with pytest.raises(InvalidInput) as caught:
        world.post(world.moved("p-2", "5", corrects="p-1"))
    assert caught.value.code == "unknown_transfer"
    assert world.post(world.moved("p-2", "5", corrects="p-1"), world.moved("p-1", "5")) == Posted(2, 0)


def test_tenants_keep_their_own_books(world: LedgerWorld, now: datetime) -> None:
    world.post(world.moved("p-1", "5"))
    other = furnished(world.books, create_tenant(world.books, f"o-{world.tenant_id}", "Other", now), now)
    assert other.balances() == {}
    assert list_entries(world.books, other.tenant_id, (0, 0), 10) == []
    assert other.post(other.moved("p-1", "7")) == Posted(1, 0)
    assert world.balances()["cash", None, "USD"] == D(5)


# ---- Behind the back of the use cases


def insert(world: LedgerWorld, amounts: list[str | None], **more: object) -> None:
    with world.books.transaction(world.tenant_id) as conn:
        ids = [
            row["account_id"] for row in conn.execute("SELECT account_id FROM accounts ORDER BY 1").fetchall()
        ]
        given = {
            "tenant_id": world.tenant_id, "key": "by-hand", "currency": "USD", "corrects": None,
            "account_ids": (ids * len(amounts))[: len(amounts)], "amounts": amounts,
        }  # fmt: skip
        conn.execute(INSERT, given | more)


@pytest.mark.parametrize(
    "amounts",
    [
        ["1", "-2"],
        ["1", "2"],
        ["1", "1", "-1"],
        ["0.1", "0.2", "-0.29999999999999999999999999999999999999"],
        ["NaN", "-1"],
        ["NaN", "1", "-1"],
        ["Infinity", "-Infinity"],
        ["0", "0"],
        ["1", "-1", "0"],
        ["1", "-1", None],
        ["1"],
        [],
    ],
)
def test_the_database_refuses_what_does_not_balance(world: LedgerWorld, amounts: list[str | None]) -> None:
    world.post(world.moved("p-1", "5"))
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(world, amounts)
    assert world.balances()["cash", None, "USD"] == D(5)
    assert well(world)


def test_the_database_refuses_a_transfer_that_mixes_currencies(world: LedgerWorld) -> None:
    world.post(
        world.moved("p-1", "5"),
        world.moved(
            "p-2", "5", credit=world.account(Code.RECEIVABLE, "acme"), debit=world.account(Code.CASH)
        ),
        world.moved(
            "p-3",
            "5",
            world.account(Code.CASH, currency="EUR"),
            world.account(Code.RECEIVABLE, "acme", "EUR"),
        ),
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(world, ["1", "-1", "1", "-1"])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(world, ["1", "-1"], currency="GBP")
    assert well(world)


def test_the_database_refuses_an_account_that_is_not_there_or_another_tenants(
    world: LedgerWorld, now: datetime
) -> None:
    other = furnished(world.books, create_tenant(world.books, f"o-{world.tenant_id}", "Other", now), now)
    other.post(other.moved("p-1", "5"))
    theirs = [one.account_id for one in list_accounts(world.books, other.tenant_id, 0, 10)]
    for ids in (theirs, [2**62, 2**62 + 1]):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            insert(world, ["1", "-1"], account_ids=ids)


def test_the_database_refuses_entries_without_an_account(world: LedgerWorld) -> None:
    world.post(world.moved("p-1", "5"))
    for ids in ([1], [None, 1], [1, 1, 1]):
        with pytest.raises(psycopg.errors.CheckViolation):
            insert(world, ["1", "-1"], account_ids=ids)


def test_the_application_cannot_write_a_balance(world: LedgerWorld) -> None:
    world.post(world.moved("p-1", "5"))
    for statement in (
        "UPDATE account_balances SET balance = 0",
        "DELETE FROM account_balances",
        "INSERT INTO account_balances SELECT tenant_id, account_id, currency, 7, 1 FROM accounts",
        "TRUNCATE account_balances",
    ):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            world.books.transaction(world.tenant_id) as conn,
        ):
            conn.execute(statement)


def test_checks_name_what_somebody_with_the_owners_rights_has_changed(
    world: LedgerWorld, owner: psycopg.Connection
) -> None:
    world.post(world.moved("p-1", "5"), world.moved("p-2", "7"))
    assert well(world)
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    owner.execute("UPDATE account_balances SET balance = balance + 1 WHERE balance > 0")
    owner.execute("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only")
    owner.execute("UPDATE transfers SET amounts = '{7.5,-7}' WHERE key = 'p-2'")
    owner.execute("ALTER TABLE transfers ENABLE TRIGGER transfers_append_only")
    owner.commit()
    assert check_transfers_balance(world.books, world.tenant_id).findings == (
        "the debits of the transfer p-2 are 0.5 USD more than its credits",
    )
    (finding,) = check_balances(world.books, world.tenant_id).findings
    assert "says 13 USD from 2 entries; its 2 entries sum to 12.5" in finding


# ---- Reading


def test_balances_as_of_any_moment_by_what_happened_and_by_what_was_known(world: LedgerWorld) -> None:
    day = timedelta(days=1)
    world.post(world.moved("p-1", "5", at=world.now - 9 * day))
    world.post(world.moved("p-2", "7", at=world.now - 8 * day), now=world.now + day)  # booked late
    world.post(world.moved("p-3", "11", at=world.now), now=world.now + 2 * day)

    def cash(as_of: datetime | None = None, booked_by: datetime | None = None) -> D:
        (account,) = list_accounts(world.books, world.tenant_id, 0, 10, code=Code.CASH)
        found = get_account(world.books, world.tenant_id, account.account_id, as_of, booked_by)
        rows = trial_balance(world.books, world.tenant_id, as_of, booked_by).rows
        in_trial_balance = [row.debit for row in rows if row.code is Code.CASH]
        assert in_trial_balance == ([found.balance] if found.entries else [])
        return found.balance

    assert cash() == D(23)
    assert cash(as_of=world.now) == D(12)
    assert cash(as_of=world.now + day) == D(23)
    assert cash(as_of=world.now - 8 * day) == D(5)
    assert cash(as_of=world.now - 9 * day) == D(0)
    assert cash(booked_by=world.now + day) == D(5)
    assert cash(as_of=world.now, booked_by=world.now + 3 * day) == D(12)
    assert cash(as_of=world.now + day, booked_by=world.now + 2 * day) == D(12)


def test_an_account_that_is_not_there(world: LedgerWorld) -> None:
    with pytest.raises(NotFound) as caught:
        get_account(world.books, world.tenant_id, 10**15)
    assert caught.value.code == "account_not_found"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_entries_come_in_pages_that_neither_repeat_nor_skip(world: LedgerWorld, size: int) -> None:
    acme, bolt = (world.account(Code.RECEIVABLE, key) for key in ("acme", "bolt"))
    world.post(
        *[world.moved(f"p-{place}", str(place + 1), credit=(acme, bolt)[place % 2]) for place in range(5)]
    )
    found = list_accounts(world.books, world.tenant_id, 0, 10, customer="acme")
    for account_id, wanted in ((None, 10), (found[0].account_id, 3)):
        seen = []
        after = (0, 0)
        while some := list_entries(world.books, world.tenant_id, after, size, account_id):
            seen += some
            after = (some[-1].transfer_id, some[-1].place)
        assert len(seen) == wanted
        assert [(one.transfer_id, one.place) for one in seen] == sorted(
            {(one.transfer_id, one.place) for one in seen}
        )
    assert [(one.transfer, one.amount) for one in seen] == [("p-0", D(-1)), ("p-2", D(-3)), ("p-4", D(-5))]


def test_accounts_come_in_pages(world: LedgerWorld) -> None:
    world.post(
        *[world.moved(f"p-{key}", "1", credit=world.account(Code.RECEIVABLE, key)) for key in world.customers]
    )
    everything = list_accounts(world.books, world.tenant_id, 0, 10)
    assert len(everything) == 4
    first = list_accounts(world.books, world.tenant_id, 0, 3)
    assert first + list_accounts(world.books, world.tenant_id, first[-1].account_id, 3) == everything
    assert [one.customer for one in list_accounts(world.books, world.tenant_id, 0, 9, customer="bolt")] == [
        "bolt"
    ]


def test_moments_in_other_zones_are_the_same_input(world: LedgerWorld) -> None:
    utc = datetime(2026, 1, 1, 12, tzinfo=UTC)
    world.post(world.moved("p-1", "5", at=utc))
    assert world.post(world.moved("p-1", "5.00", at=utc.astimezone(ZoneInfo("Asia/Kolkata")))) == Posted(0, 1)
