"""beancount and hledger, run as processes, read our journal and come to our balances."""

import csv
import io
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from ledger_world import LedgerWorld, furnished

from farthing.db import Books
from farthing.ledger.chart import Code
from farthing.ledger.export import CSV_COLUMNS, Format, account_name, journal_lines
from farthing.ledger.service import opened_journal, trial_balance

BEAN_CHECK = shutil.which("bean-check", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
HLEDGER = shutil.which("hledger")

# Everything that could mean something to one of the tools.
ODD_CUSTOMERS = ("acme", 'a"b\\c', "semi;colon | bar", "ünï-cödé/1", "C-acme", "a.b", "A_b")

needs_beancount = pytest.mark.skipif(BEAN_CHECK is None, reason="beancount is not installed")
needs_hledger = pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed")


@pytest.fixture
def world(books: Books, tenant_id: int, now: datetime) -> LedgerWorld:
    world = furnished(books, tenant_id, now, ODD_CUSTOMERS)
    for place, customer in enumerate(ODD_CUSTOMERS):
        for currency in ("USD", "JPY", "KWD")[: 1 + place % 3]:
            owes = world.account(Code.RECEIVABLE, customer, currency)
            day = world.now - timedelta(days=place, hours=7)
            world.post(
                world.moved(
                    f"usage {customer} {currency}",
                    D("0.000000000000000123") + D(place + 1) * 1000,
                    owes,
                    world.account(Code.REVENUE, None, currency),
                    day,
                    reference=f"INV;{place} | x",
                ),
                world.moved(
                    f"paid {customer} {currency}",
                    D("0.857142857142857142") * (place + 1),
                    world.account(Code.CASH, None, currency),
                    owes,
                    day + timedelta(days=3),
                    corrects=f"usage {customer} {currency}",
                ),
            )
    return world


def written(
    world: LedgerWorld, form: Format, end: datetime | None = None, start: datetime | None = None
) -> str:
    with opened_journal(world.books, world.tenant_id, start, end) as journal:
        accounts = list(journal.accounts())
        return "".join(journal_lines(form, accounts, journal.transfers(), whole=journal.whole))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )


def debits_of(world: LedgerWorld, as_of: datetime | None = None) -> dict[tuple[str, str], D]:
    rows = trial_balance(world.books, world.tenant_id, as_of).rows
    return {(row.code.value, row.currency): row.debit - row.credit for row in rows}


@needs_beancount
def test_beancount_agrees_to_the_last_digit(world: LedgerWorld, tmp_path: Path) -> None:
    file = tmp_path / "books.beancount"
    for end in (None, world.now - timedelta(days=1)):
        text = written(world, Format.BEANCOUNT, end)
        file.write_text(text)
        checked = run(BEAN_CHECK, file)
        assert checked.returncode == 0, checked.stderr
        assert text.count(" balance ") == 2 * 3 + 7 + 4 + 2, "every account is compared"


@needs_beancount
def test_beancount_notices_a_difference_in_the_last_digit(world: LedgerWorld, tmp_path: Path) -> None:
    text = written(world, Format.BEANCOUNT)
    file = tmp_path / "books.beancount"
    begin, wrong = text.rsplit(" ~ 0 JPY", 1)
    file.write_text(f"{begin}1 ~ 0 JPY{wrong}")
    assert "Balance failed" in run(BEAN_CHECK, file).stderr


@needs_beancount
def test_beancount_may_round_what_it_cannot_hold(world: LedgerWorld, tmp_path: Path) -> None:
    world.post(world.moved("long", "12345678901234567890.123456789012345678901234567890123456"))
    file = tmp_path / "books.beancount"
    file.write_text(written(world, Format.BEANCOUNT))
    checked = run(BEAN_CHECK, file)
    assert checked.returncode == 0, checked.stderr
    assert "~ 0.000000001 USD" in file.read_text()
    assert "~ 0 JPY" in file.read_text()


@needs_hledger
def test_hledger_agrees_to_the_last_digit(world: LedgerWorld, tmp_path: Path) -> None:
    file = tmp_path / "books.journal"
    for end in (None, world.now - timedelta(days=1)):
        file.write_text(written(world, Format.HLEDGER, end))
        checked = run(HLEDGER, "-f", file, "check")
        assert checked.returncode == 0, checked.stderr
        # And once more without our assertions: what hledger itself sums up.
        exactly = [word for currency in ("USD", "JPY", "KWD") for word in ("-c", f"1.{'0' * 18} {currency}")]
        summed = run(
            HLEDGER,
            "-f",
            file,
            "balance",
            "--flat",
            "-N",
            "--depth",
            "2",
            "-O",
            "csv",
            "--layout=bare",
            *exactly,
        )
        assert summed.returncode == 0, summed.stderr
        found = {
            (row["account"].split(":")[1].lower().replace("-", "_"), row["commodity"]): D(row["balance"])
            for row in csv.DictReader(io.StringIO(summed.stdout))
        }
        ours = debits_of(world, end)
        assert {place: balance for place, balance in found.items() if balance} == {
            place: balance for place, balance in ours.items() if balance
        }


@needs_hledger
def test_hledger_notices_a_difference_in_the_last_digit(world: LedgerWorld, tmp_path: Path) -> None:
    text = written(world, Format.HLEDGER)
    file = tmp_path / "books.journal"
    file.write_text(text.rstrip().removesuffix(" JPY").removesuffix(" USD").removesuffix(" KWD") + "1 JPY\n")
    assert run(HLEDGER, "-f", file, "check").returncode != 0


def test_csv_has_every_entry_and_its_columns_sum_to_the_trial_balance(world: LedgerWorld) -> None:
    rows = list(csv.DictReader(io.StringIO(written(world, Format.CSV))))
    assert tuple(rows[0]) == CSV_COLUMNS
    sums: dict[tuple[str, str], D] = {}
    for row in rows:
        place = (row["account"], row["currency"])
        sums[place] = sums.get(place, D(0)) + D(row["debit"] or 0) - D(row["credit"] or 0)
    assert sums == debits_of(world)
    assert {row["customer"] for row in rows} == {*ODD_CUSTOMERS, ""}
    assert rows[0]["date"] == "2026-11-23"
    assert rows[0]["effective_at"] == "2026-11-23T05:00:00Z"


def test_a_part_of_the_journal_asserts_no_balances(world: LedgerWorld) -> None:
    start, end = world.now - timedelta(days=2), world.now
    text = written(world, Format.BEANCOUNT, end, start)
    assert " balance " not in text
    for line in written(world, Format.CSV, end, start).splitlines()[1:]:
        assert "2026-11-21T12:00:00Z" <= line.split(",")[-10] < "2026-11-23T12:00:00Z"


def test_nothing_booked_is_a_journal_too(books: Books, tenant_id: int, now: datetime, tmp_path: Path) -> None:
    world = furnished(books, tenant_id, now)
    assert written(world, Format.CSV) == ",".join(CSV_COLUMNS) + "\n"
    for form, tool in ((Format.BEANCOUNT, (BEAN_CHECK,)), (Format.HLEDGER, (HLEDGER, "check", "-f"))):
        file = tmp_path / form
        file.write_text(written(world, form))
        if tool[0] is not None:
            assert run(*tool, file).returncode == 0


def test_no_two_customers_share_a_name() -> None:
    names = [account_name(Code.RECEIVABLE, customer) for customer in ODD_CUSTOMERS]
    assert len(set(names)) == len(names)
    assert names[0] == "Assets:Receivable:C-acme"
    assert names[5] == "Assets:Receivable:C-a-2e-b"
    assert account_name(Code.DEFERRED_REVENUE, None) == "Liabilities:Deferred-Revenue"
