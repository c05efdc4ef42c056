"""The checks of `farthing doctor`: silent where all is well, and each names the damage that it is there for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from billing_world import PER_TOKEN, World, fee, open_store, plan

from farthing.customers.apply import apply
from farthing.db import Books
from farthing.db.checks import check_row_security
from farthing.events.checks import (
    check_conservation,
    check_counted_once,
    check_files,
    check_sealed_log,
    debris,
)
from farthing.events.ids.checks import check_index, check_segments_hold
from farthing.events.log.files import list_log_files
from farthing.events.store import books as event_rows
from farthing.events.store.books import Segment
from farthing.invoicing.checks import check_documents, check_numbers, check_sums, check_terms
from farthing.kernel.checked import Checked
from farthing.usage.unclaimed import Unclaimed, unclaimed_usage


@pytest.fixture
def world(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[World]:
    """Acme used 1,000 tokens in January and has an invoice for it: 10.0025, of which 10 are a fee."""
    world = World(books, open_store(tmp_path), tenant_id, now)
    world.furnish([plan(fee("10"), PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.use("acme", "2026-01-10", "400")
    world.use("acme", "2026-01-20", "600")
    world.bill("2026-02-01")
    yield world
    world.store.close()


def segments(world: World) -> list[Segment]:
    with world.books.read_only(world.tenant_id) as conn:
        return event_rows.segments(conn, world.tenant_id)


def flip_a_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@contextmanager
def changed_by_the_owner(
    owner: psycopg.Connection, tenant_id: int, table: str
) -> Iterator[psycopg.Connection]:
    """Let somebody with the owner's rights change what nobody may change."""
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(tenant_id)])
    owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
    yield owner
    owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")
    owner.commit()


def test_all_is_well(world: World) -> None:
    books, tenant_id, data_dir = world.books, world.tenant_id, world.store.data_dir
    results = [
        check_row_security(books),
        check_sealed_log(books, data_dir / "log", [tenant_id]),
        check_conservation(books, tenant_id),
        check_files(books, data_dir, tenant_id),
        check_counted_once(books, world.store, tenant_id),
        check_sums(books, tenant_id),
        check_numbers(books, tenant_id),
        check_documents(books, tenant_id),
    ]
    assert [result.findings for result in results] == [()] * len(results)
    assert [result.looked_at for result in results][1:] == [
        "2 log files",
        "2 accepted events",
        "4 files",
        "2 events",
        "1 invoice",
        "1 number",
        "1 document",
    ]
    assert unclaimed_usage(books, world.store, tenant_id, 20) == (0, [])
    assert debris(books, data_dir, [tenant_id], datetime.now(UTC)) == []


def test_a_damaged_and_a_missing_file(world: World) -> None:
    damaged, missing = segments(world)
    flip_a_byte(world.store.data_dir / damaged.path, 50)
    (world.store.data_dir / missing.path).unlink()
    assert set(check_files(world.books, world.store.data_dir, world.tenant_id).findings) == {
        f"{damaged.path} is not what was written to it: its checksum differs",
        f"{missing.path} is missing",
    }


def test_damage_in_the_log(world: World) -> None:
    log_dir = world.store.data_dir / "log"
    damaged, short = list_log_files(log_dir)
    flip_a_byte(log_dir / damaged, 200)
    size = (log_dir / short).stat().st_size
    os.truncate(log_dir / short, size - 1)
    assert set(check_sealed_log(world.books, log_dir, [world.tenant_id]).findings) == {
        f"{damaged} is damaged behind byte 0",
        f"{short} was sealed up to byte {size} and has only {size - 1}",
    }


def test_a_lost_segment_row(world: World) -> None:
    lost = segments(world)[0]
    with world.books.transaction(world.tenant_id) as conn:
        event_rows.delete_segments(conn, world.tenant_id, [lost.segment_id])
    assert check_conservation(world.books, world.tenant_id).findings == (
        "there are 1 events in segments; by the seals it should be 2",
    )


def test_events_that_count_twice(world: World) -> None:
    with world.books.transaction(world.tenant_id) as conn:
        conn.execute(
            """
            INSERT INTO segments (tenant_id, segment_id, path, events, bytes, checksum, event_types, min_time,
                                  max_time, columns, sealed_at)
            SELECT tenant_id, 'again', path, events, bytes, checksum, event_types, min_time, max_time, columns,
                   sealed_at
              FROM segments ORDER BY min_time LIMIT 1
            """
        )
    assert check_counted_once(world.books, world.store, world.tenant_id).findings == (
        "the event '0' of 'test' was counted 2 times",
    )
    assert check_conservation(world.books, world.tenant_id).findings == (
        "there are 3 events in segments; by the seals it should be 2",
    )


def test_files_that_no_row_names(world: World) -> None:
    directory = world.store.data_dir / "segments" / str(world.tenant_id)
    for name in ("old", "young"):
        (directory / f"{name}.parquet").touch()
    os.utime(directory / "old.parquet", (0, 0))
    assert debris(world.books, world.store.data_dir, [world.tenant_id], datetime.now(UTC)) == [
        directory / "old.parquet"
    ]


def test_a_line_that_was_changed(world: World, owner: psycopg.Connection) -> None:
    with changed_by_the_owner(owner, world.tenant_id, "invoice_lines") as conn:
        conn.execute("UPDATE invoice_lines SET amount = amount + 1 WHERE line = 1")
    assert check_sums(world.books, world.tenant_id).findings == (
        (
            "the lines of INV-000001 sum to 11.00 (exactly 10.0025); it says 10.00 + 0.00 tax = 10.00 "
            "(exactly 10.0025); taxes are 0, on lines 0"
        ),
    )
    assert check_documents(world.books, world.tenant_id).findings == (
        "the document of INV-000001 differs in lines",
    )


def test_terms_that_were_not_kept_to(world: World, owner: psycopg.Connection) -> None:
    coupon = {"key": "hello", "name": "Hello", "percent": "10", "duration": "once"}
    apply(
        world.books,
        world.tenant_id,
        {
            "coupons": [coupon],
            "subscriptions": [
                {
                    "key": "second",
                    "customer": "acme",
                    "plan": "payg",
                    "start": "2026-01-01T00:00:00Z",
                    "coupons": ["hello"],
                    "commitments": [{"key": "funds", "kind": "prepaid", "amount": "5", "interval": "month"}],
                }
            ],
        },
        world.now,
    )
    world.bill("2026-03-01")
    assert check_terms(world.books, world.tenant_id) == Checked("2 terms")
    with changed_by_the_owner(owner, world.tenant_id, "invoice_lines") as conn:
        conn.execute("UPDATE invoice_lines SET quantity = 6 WHERE adjustment = 'lapse'")
        conn.execute(
            "UPDATE invoice_lines SET rate_card = NULL, adjustment = 'coupon', adjustment_key = 'hello'"
            " WHERE rate_card = 'fee'"
        )
    findings = check_terms(world.books, world.tenant_id).findings
    assert findings[0] == (
        "of the commitment funds of second over 5 6.00225 were drawn or lapsed, 0 trued up, paid 1 times"
    )
    assert findings[1] == "the coupon hello reduced 2 invoices of second, and lasts for 1"


def test_a_document_that_was_changed(world: World, owner: psycopg.Connection) -> None:
    with changed_by_the_owner(owner, world.tenant_id, "invoices") as conn:
        conn.execute("""UPDATE invoices SET document = replace(document, '"10.00"', '"12.00"')""")
    assert check_documents(world.books, world.tenant_id).findings == (
        "the document of INV-000001 differs in subtotal, total, lines",
    )
    with changed_by_the_owner(owner, world.tenant_id, "invoices") as conn:
        conn.execute("""UPDATE invoices SET document = replace(document, '"12.00"', '"10.00"')""")
        conn.execute(
            'UPDATE invoices SET document = regexp_replace(document, \'"due_at":"20\', \'"due_at":"21\')'
        )
    assert check_documents(world.books, world.tenant_id).findings == (
        "the document of INV-000001 differs in due_at",
    )
    with changed_by_the_owner(owner, world.tenant_id, "invoices") as conn:
        conn.execute(
            """UPDATE invoices SET document = replace(replace(document, '"due_at":"21', '"due_at":"20'),
                                                      '"due_at"', '"amount_due":"9.00","due_at"')"""
        )
    assert check_documents(world.books, world.tenant_id).findings == (
        "the document of INV-000001 differs in amount_due",
    )
    with changed_by_the_owner(owner, world.tenant_id, "invoices") as conn:
        conn.execute("UPDATE invoices SET document = 'gone'")
    assert check_documents(world.books, world.tenant_id).findings == (
        "the document of INV-000001 differs in its form: it cannot be read",
    )


def test_a_missing_number(world: World, owner: psycopg.Connection) -> None:
    with changed_by_the_owner(owner, world.tenant_id, "invoices") as conn:
        conn.execute("UPDATE invoices SET number = 'INV-000002'")
    with world.books.transaction(world.tenant_id) as conn:
        conn.execute("UPDATE invoice_counters SET last_number = 2")
    assert check_numbers(world.books, world.tenant_id).findings == (
        "where INV-000001 should stand is INV-000002",
        "2 numbers were taken, and there are 1 invoices",
    )


def test_a_table_whose_owner_is_not_bound(books: Books, owner: psycopg.Connection) -> None:
    owner.execute("ALTER TABLE customers NO FORCE ROW LEVEL SECURITY")
    owner.commit()
    try:
        found = check_row_security(books).findings
    finally:
        owner.execute("ALTER TABLE customers FORCE ROW LEVEL SECURITY")
        owner.commit()
    assert found == ("row-level security does not bind the owner of the table customers",)
    assert check_row_security(books).findings == ()


def test_usage_that_nobody_is_billed_for(world: World) -> None:
    for subject in ("stranger", "stranger", "other"):
        world.use(subject, "2026-01-11", "5")
    assert unclaimed_usage(world.books, world.store, world.tenant_id, 1) == (
        3,
        [Unclaimed("llm.completion", "stranger", 2, without_customer=True, without_meter=False)],
    )


def nobody_looks(_done: int, _total: int) -> None:
    """No progress is shown."""


def index_findings(world: World) -> tuple[str, ...]:
    return check_index(world.books, world.store, world.tenant_id, nobody_looks).findings


def test_events_that_the_index_does_not_know_are_found(world: World) -> None:
    assert index_findings(world) == ()
    with world.books.read_only(world.tenant_id) as conn:
        first, second = event_rows.id_runs(conn, world.tenant_id)
    data_dir = world.store.data_dir
    was = (data_dir / first.path).read_bytes()
    # The size and the number of ids are right, so that only a look at each id tells.
    (data_dir / first.path).write_bytes((data_dir / second.path).read_bytes())
    (finding,) = index_findings(world)
    assert finding.startswith("1 events of ")
    assert finding.endswith("are not in the id index: a repeat would count again")
    flipped = bytearray(was)
    flipped[-1] ^= 1
    (data_dir / first.path).write_bytes(flipped)
    (finding,) = index_findings(world)
    assert finding.endswith("the id index knows another content")


def test_what_the_books_say_of_segments_is_held_against_them(world: World, owner: psycopg.Connection) -> None:
    def findings() -> tuple[str, ...]:
        return check_segments_hold(world.books, world.store, world.tenant_id, nobody_looks).findings

    assert findings() == ()
    paths = [segment.path for segment in segments(world)]
    owner.execute("SELECT set_config('farthing.tenant', %s, false)", [str(world.tenant_id)])
    for change in (
        "last_subjects = ARRAY['aaaa']",
        "first_subjects = ARRAY['acmf']",
        "first_subjects = ARRAY[NULL], last_subjects = ARRAY[NULL]",
        "event_types = ARRAY['other']",
        "max_time = '2026-01-01Z', min_time = '2026-01-01Z'",
        "events = events + 1",
    ):
        owner.execute(f"UPDATE segments SET {change}")
        owner.commit()
        assert findings() == tuple(
            f"{path} has other types, times or subjects than the books say" for path in paths
        )
        owner.execute(
            "UPDATE segments SET first_subjects = ARRAY['acme'], last_subjects = ARRAY['acme'], events = 1,"
            " event_types = ARRAY['llm.completion'], min_time = '2026-01-01Z', max_time = '2026-02-01Z'"
        )
        owner.commit()
        assert findings() == ()
    owner.execute(
        "UPDATE segments SET first_subjects = NULL, last_subjects = NULL"
    )  # sealed by an older program
    owner.commit()
    assert findings() == ()
