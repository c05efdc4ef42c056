"""Sealing against its laws: no loss, no double, conservation, one commit point."""

import errno
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psycopg
import pytest
from event_works import LATENESS, EventWorks, event, ndjson, open_event_works
from mortals import Mortals, mortals

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.checks import check_waiting_log, cut_off
from farthing.events.log.files import BlockHeader, RefusedLine, encode_block, list_log_files
from farthing.events.sealing.sealer import sweep
from farthing.events.segments.rewrite import compact
from farthing.events.store import books as rows
from farthing.kernel.errors import Conflict, Corrupt
from farthing.kernel.instant import unix_microseconds
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

KILLS = 10


@pytest.fixture
def works(books: Books, now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, now) as works:
        yield works


def events(*ids: object, data: object = None, **attributes: object) -> list[dict[str, object]]:
    return [event(str(event_id), data, **attributes) for event_id in ids]


def meter(works: EventWorks, tenant_id: int, **more: object) -> None:
    definition = {"key": "total", "event_type": "call", "aggregation": "sum", "value": "data.n", **more}
    put_meter(works.books, tenant_id, definition, works.now)


def total(works: EventWorks, tenant_id: int, key: str = "total") -> Decimal:
    query = UsageQuery(key, works.now - timedelta(days=3000), works.now + timedelta(days=1))
    groups = query_usage(works.books, works.store, tenant_id, query, works.now)
    return groups[0].quantity if groups else Decimal(0)


def files(works: EventWorks, kind: str, tenant_id: int) -> set[str]:
    return {
        str(path.relative_to(works.store.data_dir))
        for path in (works.store.data_dir / kind / str(tenant_id)).glob("*")
    }


# -------------------------------------------------------------------------------------------------
# No double


def test_identities_are_source_and_id_and_never_their_sum(works: EventWorks, tenant_id: int) -> None:
    pairs = [
        ("a-b", "c"), ("a", "b-c"), ("ab", "c"), ("a", "bc"), ("1:a", "b"), ("1", ":ab"), ("1:", "ab"), ("a\0", "b"),
        ("a", "\0b"), ("é", "x"), ("e\u0301", "x"), ("e", "\u0301x"), ("A", "x"), ("a", "x"), ("a ", "x"), ("a", " x"),
        ("👩\u200d👧", "x"), ("👩", "\u200d👧x"), ("12", "3"), ("1", "23"), ("test", "x" * 256), ("test", "x" * 255),
    ]  # fmt: skip
    batch = [event(event_id, source=source) for source, event_id in pairs]
    assert works.take(tenant_id, batch) == (len(pairs), 0, 0)
    assert works.take(tenant_id, batch[::-1]) == (0, len(pairs), 0)
    assert sorted(works.stored(tenant_id, "source, id")) == sorted(pairs)


def test_a_repeat_is_found_wherever_and_whenever_it_comes(works: EventWorks, tenant_id: int) -> None:
    meter(works, tenant_id)
    first = events(1, 2, 3, data={"n": 1})
    assert works.take(tenant_id, [first[0], *first, first[0]]) == (3, 2, 0)  # in one batch
    assert works.take(tenant_id, first) == (0, 3, 0)  # in a later one
    assert works.take(tenant_id, first, received_at=works.now + timedelta(days=2000)) == (0, 3, 0)
    works.log = works.new_writer()
    assert works.take(tenant_id, first) == (0, 3, 0)  # in another file
    works.restart()
    assert works.take(tenant_id, first) == (0, 3, 0)  # after a restart
    for number in range(70):  # after the index has been merged, twice over
        assert works.take(tenant_id, [*events(f"more-{number}", data={"n": 1}), first[number % 3]]) == (
            1,
            1,
            0,
        )
    assert len(files(works, "ids", tenant_id)) < 16
    assert (
        compact(works.books, works.store, tenant_id, works.now) > 32
    )  # after the segments have been put together
    assert len(works.segments(tenant_id)) == 1
    assert works.take(tenant_id, first) == (0, 3, 0)
    works.restart()
    everything = [*first, *events(*(f"more-{number}" for number in range(70)), data={"n": 1})]
    assert works.take(tenant_id, everything) == (0, 73, 0)
    assert total(works, tenant_id) == 73
    assert works.reasons(tenant_id) == {}


def test_the_first_stands_and_other_content_is_a_conflict(works: EventWorks, tenant_id: int) -> None:
    meter(works, tenant_id)
    first, second = event("x", {"n": 1}), event("x", {"n": 100})
    assert works.take(tenant_id, [first, second, first, second]) == (1, 1, 2)
    assert works.take(tenant_id, [second]) == (0, 0, 1)
    works.restart()
    assert works.take(tenant_id, [second, first]) == (0, 1, 1)
    # Whatever else differs makes it another content: the type, the subject, the time.
    others = [event("x", {"n": 1}, **{name: value}) for name, value in (
        ("type", "other"), ("subject", "acme"), ("time", "2026-11-23T12:00:00Z"),
    )]  # fmt: skip
    assert works.take(tenant_id, others) == (0, 0, 3)
    assert works.reasons(tenant_id) == {"conflict": 7}
    reason, detail, raw = works.quarantine(tenant_id)[0]
    assert (reason, detail) == ("conflict", "another event with the same source and id was counted before")
    assert json.loads(raw)["data"] == {"n": 100}
    assert total(works, tenant_id) == 1


def test_equal_ids_of_two_tenants_are_two_events(works: EventWorks, tenant_id: int) -> None:
    other = create_tenant(works.books, f"other-{tenant_id}", "Other", works.now)
    for tenant, number in ((tenant_id, 1), (other, 100)):
        meter(works, tenant)
        works.append(tenant, events("x", "y", data={"n": number}))
    (report,) = works.seal()  # one file, one transaction
    assert (report.accepted, report.counted) == (4, 4)
    for tenant, number in ((tenant_id, 1), (other, 100)):
        assert works.take(tenant, events("x", data={"n": number})) == (0, 1, 0)
        assert total(works, tenant) == 2 * number


def test_a_faulty_event_does_not_take_its_identity(works: EventWorks, tenant_id: int) -> None:
    meter(works, tenant_id)
    bad, good = event("x", {"n": "much"}), event("x", {"n": 7})
    assert works.take(tenant_id, [bad, bad]) == (0, 0, 2)
    works.restart()
    assert works.take(tenant_id, [bad, good, bad]) == (1, 0, 2)
    assert works.take(tenant_id, [good, bad]) == (0, 1, 1)
    assert (total(works, tenant_id), works.reasons(tenant_id)) == (7, {"invalid_value": 5})


def test_a_repeat_of_what_was_counted_before_the_meter_came_is_a_repeat(
    works: EventWorks, tenant_id: int
) -> None:
    without = event("x", {"m": 1})
    assert works.take(tenant_id, [without]) == (1, 0, 0)
    meter(works, tenant_id)
    assert works.take(tenant_id, [without, event("y", {"m": 1})]) == (0, 1, 1)
    assert total(works, tenant_id) == 0


# -------------------------------------------------------------------------------------------------
# Conservation


def test_the_account_agrees_with_a_model_at_every_step(works: EventWorks, tenant_id: int) -> None:
    """Few ids, few contents, some of them faulty, in batches; a restart, a merge or a compaction now and then."""
    meter(works, tenant_id)
    random = Random(20261123)
    counted: dict[str, str] = {}
    outcomes: Counter[str] = Counter()
    for _ in range(40):
        before, lines = dict(counted), []
        for _ in range(random.randrange(1, 30)):
            event_id, n = str(random.randrange(300)), random.choice([1, 1, 1, 2, "bad", None])
            line = json.dumps(event(event_id, {"n": n}))
            lines.append(line)
            faulty = not isinstance(n, int)
            if (before if faulty else counted).get(event_id) == line:
                outcomes["duplicate"] += 1
            elif faulty or event_id in counted:
                outcomes["quarantined"] += 1
            else:
                counted[event_id] = line
                outcomes["counted"] += 1
        works.take(tenant_id, lines)
        tally = works.tally(tenant_id)
        assert tally == {"accepted": outcomes.total()} | {
            name: outcomes[name] for name in tally if name != "accepted"
        }
        match random.randrange(10):
            case 0:
                works.restart()
            case 1:
                works.log = works.new_writer()
            case 2:
                compact(works.books, works.store, tenant_id, works.now)
    assert dict(works.stored(tenant_id, "id, data")) == {
        event_id: json.dumps(json.loads(line)["data"]) for event_id, line in counted.items()
    }
    assert total(works, tenant_id) == sum(json.loads(line)["data"]["n"] for line in counted.values())


# -------------------------------------------------------------------------------------------------
# Quarantine


def test_reasons_name_their_place(works: EventWorks, tenant_id: int) -> None:
    meter(
        works,
        tenant_id,
        value="data.n + 2 * data.deep.n",
        filter=[{"field": "data.kind", "op": "ne", "value": "free"}],
    )
    meter(works, tenant_id, key="who", aggregation="unique", value="data.user", event_type="login")
    beyond = "the value of the meter total has too many digits to be exact"
    digits = "which is not a number of at most 18 digits before and 12 after the point"
    cases: list[tuple[dict[str, object], str, str]] = [
        ({}, "missing_value", "data.n is missing; the meter total needs it"),
        ({"n": None, "deep": {"n": 1}}, "missing_value", "data.n is missing; the meter total needs it"),
        ({"n": 1, "deep": 5}, "missing_value", "data.deep.n is missing; the meter total needs it"),
        ({"n": "abc", "deep": {"n": 1}}, "invalid_value", f"data.n is abc, {digits}"),
        ({"n": "x|y" * 100, "deep": {"n": 1}}, "invalid_value", f"data.n is {('x|y' * 100)[:60]}, {digits}"),
        ({"n": True, "deep": {"n": 1}}, "invalid_value", f"data.n is true, {digits}"),
        ({"n": "a\0b", "deep": {"n": 1}}, "invalid_value", f"data.n is a\ufffdb, {digits}"),
        ({"n": 1, "deep": {"n": {"a": [1]}}}, "invalid_value", f'data.deep.n is {{"a":[1]}}, {digits}'),
        ({"n": 0.30000000000000004, "deep": {"n": 1}}, "invalid_value", f"data.n is 0.30000000000000004, {digits}"),
        ({"n": 10**18, "deep": {"n": 1}}, "invalid_value", f"data.n is {10**18}, {digits}"),
        ({"n": 1, "deep": {"n": 10**12}}, "invalid_value", beyond),
        ({"n": 10**18 - 1, "deep": {"n": 1}}, "invalid_value", beyond),
    ]  # fmt: skip
    batch = [event(str(number), data) for number, (data, _, _) in enumerate(cases)]
    batch += [event("free", {"kind": "free", "n": "abc"}), event("other", {}, type="other")]
    batch += [event("login", {"user": ""}, type="login"), event("nobody", {"user": None}, type="login")]
    assert works.take(tenant_id, batch) == (3, 0, len(cases) + 1)
    named = [(reason, detail) for reason, detail, _ in works.quarantine(tenant_id)]
    assert named == [(reason, detail) for _, reason, detail in cases] + [
        ("missing_value", "data.user is missing; the meter who needs it")
    ]
    assert [json.loads(raw)["id"] for _, _, raw in works.quarantine(tenant_id)] == [
        *map(str, range(len(cases))),
        "nobody",
    ]


def test_times_too_far_from_their_receipt(works: EventWorks, tenant_id: int) -> None:
    late, early = LATENESS.too_late_seconds, LATENESS.too_early_seconds
    offsets = [-late, -late - 0.000001, early, early + 0.000001, -(10**10), 0]
    times = [(works.now + timedelta(seconds=offset)).isoformat() for offset in offsets]
    times += ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"]
    batch = [event(str(number), time=time) for number, time in enumerate(times)]
    assert works.take(tenant_id, batch) == (3, 0, 6)
    assert works.stored(tenant_id) == ["0", "2", "5"]
    assert works.reasons(tenant_id) == {"too_early": 2, "too_late": 4}
    # Received later, the same line may have become too late: counted before, it is still a repeat.
    assert works.take(tenant_id, [batch[0]], received_at=works.now + timedelta(days=1)) == (0, 1, 0)


def test_refused_lines_of_a_file_stand_with_their_place(works: EventWorks, tenant_id: int) -> None:
    refused = [RefusedLine(f"f.ndjson:{place}", "malformed_json", "no", b"\xff\0") for place in (3, 7)]
    now_us = unix_microseconds(works.now)
    header = BlockHeader(
        block=1, tenant=tenant_id, kind="refused", received_us=now_us, events=2, bytes=0, origin="f"
    )
    works.log.append(encode_block(header, msgspec.json.Encoder().encode_lines(refused))).result()
    assert works.take(tenant_id, events(1)) == (1, 0, 2)
    with works.books.read_only(tenant_id) as conn:
        found = conn.execute("SELECT origin, reason, raw FROM quarantine ORDER BY quarantine_id").fetchall()
    assert [(row["origin"], row["reason"], bytes(row["raw"])) for row in found] == [
        ("f.ndjson:3", "malformed_json", b"\xff\0"),
        ("f.ndjson:7", "malformed_json", b"\xff\0"),
    ]


POISON = [
    b"{",
    b"",
    b"null",
    b"[1]",
    b"garbage",
    rb'{"id":"\ud800","source":"s","type":"call","data":null}',
    rb'{"id":"p1","source":"s","type":"call","data":{"n":"\ud800"}}',
    rb'{"id":"p2","source":"s","type":"call","data":{"n":"\udc00\ud800"}}',
    b'{"id":"p3","source":"s","type":"call","data":{"n":"\xff\xfe"}}',
    b'{"id":"p4","source":"s","type":"call","data":{"n":"\xed\xa0\x80"}}',
    b'{"id":"p5","source":"s","type":"call","data":{"n":"\x00"}}',
    b'{"id":"p6","source":"s","type":"call","data":{"n":NaN}}',
    b"\x00" * 50,
    b'{"id":"p8","source":"s","type":"call","data":' + b"[" * 5000 + b"]" * 5000 + b"}",
]


def test_poison_at_the_door_is_named_and_the_rest_goes_on(works: EventWorks, tenant_id: int) -> None:
    meter(works, tenant_id)
    good = ndjson(events(1, 2, data={"n": 1})).splitlines()
    body = b"\n".join([good[0], *POISON, good[1]])
    batch = works.append(tenant_id, body)
    assert (batch.accepted, len(batch.rejected)) == (2, len(POISON) - 1)  # one of them is blank
    assert [report.counted for report in works.seal()] == [2]
    works.check(tenant_id)


def test_what_the_door_lets_in_never_stops_a_batch(works: EventWorks, tenant_id: int) -> None:
    meter(works, tenant_id, dimensions={"m": "data.m"})
    odd = [
        r'{"id":"n\u0000","source":"s\u0000","type":"call","subject":"\u0000","data":{"n":1,"m":"\u0000"}}',
        r'{"id":"t","source":"s","type":"ty\u0000pe","data":{"n":1}}',
        r'{"id":"k","source":"s","type":"call","data":{"n":1,"\u0000":1,"":2,"m":"\\u0000"}}',
        '{"id":"e","source":"s","type":"call","data":{"n":1,"m":"\x7f\u2028\ufeff\U0010ffff"}}',
        '{"id":"b","source":"s","type":"call","data":{"n":1,"m":"' + "x" * 200_000 + '"}}',
        '{"id":"d","source":"s","type":"call","data":{"n":1,"m":' + "[" * 29 + "]" * 29 + "}}",
        '{"id":"h","source":"s","type":"call","data":{"n":1,"m":1e400,"x":-1e400,"y":' + "9" * 5000 + "}}",
    ]
    assert works.take(tenant_id, odd) == (len(odd), 0, 0)
    assert works.take(tenant_id, odd) == (0, len(odd), 0)
    assert total(works, tenant_id) == len(odd) - 1
    assert works.stored(tenant_id, '"dim:data.m"')[0] == "\0"


def test_lines_in_the_log_that_are_no_events_are_quarantined(works: EventWorks, tenant_id: int) -> None:
    """The door lets none of them in; should they stand in the log all the same, they hold nothing up."""
    meter(works, tenant_id)
    good = works.append(tenant_id, events(1, data={"n": 1})).lines
    works.append_lines(tenant_id, good.replace(b'"1"', b'"2"') + b"\n".join(POISON) + b"\n", 1 + len(POISON))
    (report,) = works.seal()
    assert (report.counted, report.duplicate, report.quarantined) == (2, 0, len(POISON))
    assert total(works, tenant_id) == 2
    works.check(tenant_id)
    # A byte that is not UTF-8 is shown as NUL.
    shown = [
        line.decode(errors="surrogateescape").encode(errors="replace").replace(b"?", b"\0") for line in POISON
    ]
    assert [raw for _, _, raw in works.quarantine(tenant_id)] == shown


# -------------------------------------------------------------------------------------------------
# Damage


def test_the_torn_tail_of_a_writer_that_died_is_no_loss(works: EventWorks, tenant_id: int) -> None:
    works.append(tenant_id, events(1, 2))
    path = works.log_dir / works.log.log_file
    whole = path.read_bytes()
    works.append(tenant_id, events(3))  # written, and as far as the test goes never acknowledged
    torn = path.read_bytes()[: len(whole) + 150]
    works.log.close()
    for tail in (torn, whole + b"\0" * 5000, whole + b'{"block":1,'):
        path.write_bytes(tail)
        assert sum(report.counted for report in works.seal()) == (2 if tail == torn else 0)
        works.restart()
    works.log = works.new_writer()
    assert works.take(tenant_id, events(1, 3)) == (1, 1, 0)
    assert works.stored(tenant_id) == ["1", "2", "3"]


def test_a_damaged_block_is_loud_and_nothing_is_shortened(works: EventWorks, tenant_id: int) -> None:
    for number in range(3):
        works.append(tenant_id, events(number, data={"pad": "x" * 100}))
    damaged = works.log_dir / works.log.log_file
    whole = damaged.read_bytes()
    works.log.close()
    works.log = works.new_writer()
    works.append(tenant_id, events("sound"))
    middle = len(whole) // 2
    damaged.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
    for _ in range(2):
        with pytest.raises(Corrupt) as refused:
            works.seal()
        assert refused.value.code == "log_damaged"
        # What is sound was sealed first; of the damaged file nothing is taken as if it were all.
        assert works.stored(tenant_id) == ["sound"]
        works.check(tenant_id)
        works.restart()
    damaged.write_bytes(whole)  # as from a copy
    assert sum(report.counted for report in works.seal()) == 3
    assert works.stored(tenant_id) == ["0", "1", "2", "sound"]


def test_what_waits_is_checked_too_and_a_cut_off_write_is_told(works: EventWorks, tenant_id: int) -> None:
    log_file = works.log.log_file
    path = works.log_dir / log_file
    works.append(tenant_id, events(1))
    first = path.stat().st_size
    works.append(tenant_id, events(2))
    whole = path.read_bytes()
    works.log.close()
    works.log = works.new_writer()
    assert check_waiting_log(works.books, works.log_dir).findings == ()
    assert cut_off(works.books, works.log_dir) == {}
    path.write_bytes(whole[:-3] + b"!" + whole[-2:])
    (finding,) = check_waiting_log(works.books, works.log_dir).findings
    assert finding == f"{log_file} is damaged behind byte {first}"
    path.write_bytes(whole[:-3])
    assert check_waiting_log(works.books, works.log_dir).findings == ()
    assert cut_off(works.books, works.log_dir) == {log_file: len(whole) - first - 3}


def test_what_is_appended_meanwhile_is_not_waited_for(works: EventWorks, tenant_id: int) -> None:
    """Otherwise an import beside a busy server would never come to its own file."""
    numbers = itertools.count(1)

    def busy_clock() -> datetime:
        works.append(tenant_id, events(next(numbers)))
        return works.now

    works.append(tenant_id, events(0))
    reports = list(itertools.islice(works.sealer.seal_standing(busy_clock), 10))
    assert [report.counted for report in reports] == [2]


def test_what_cannot_be_synced_is_not_counted(
    works: EventWorks, tenant_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door may have written it and not synced it yet: counted, it would be missing from the log."""
    works.append(tenant_id, events(1))

    def broken_disk(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken_disk)
        with pytest.raises(OSError, match="Input/output"):
            works.seal()
    assert works.tally(tenant_id)["accepted"] == 0
    works.restart()
    assert [report.counted for report in works.seal()] == [1]


@pytest.mark.parametrize("harm", ["missing", "shorter", "empty", "another"])
def test_an_id_run_that_is_not_whole_is_made_anew(works: EventWorks, tenant_id: int, harm: str) -> None:
    """Without it a repeat would be taken for new."""
    works.take(tenant_id, events(*range(100)))
    (path,) = files(works, "ids", tenant_id)
    run = works.store.data_dir / path
    whole = run.read_bytes()
    match harm:
        case "missing":
            run.unlink()
        case "shorter":
            run.write_bytes(whole[:-8])
        case "empty":
            run.write_bytes(b"")
        case _:
            run.write_bytes(b"another file of the same length".ljust(len(whole)))
    works.append(tenant_id, events(*range(100)))
    works.restart()
    assert [(report.counted, report.duplicate) for report in works.seal()] == [(0, 100)]


# -------------------------------------------------------------------------------------------------
# The commit point


def test_a_commit_that_fails_leaves_everything_as_it_was(
    works: EventWorks, tenant_id: int, owner: psycopg.Connection[Any]
) -> None:
    meter(works, tenant_id)
    assert works.take(tenant_id, events("before", data={"n": 1})) == (1, 0, 0)
    position = works.append(
        tenant_id, [*events(1, 2, data={"n": 1}), *events("before", data={"n": 1}), event("bad")]
    )
    assert position.accepted == 4
    # The database refuses the id run: after the seal and the segment, before the quarantine.
    owner.execute(f"ALTER TABLE id_runs ADD CONSTRAINT refused CHECK (tenant_id <> {tenant_id}) NOT VALID")
    owner.commit()
    try:
        for _ in range(2):
            with pytest.raises(psycopg.errors.CheckViolation):
                works.seal()
            assert works.tally(tenant_id) == {"accepted": 1, "counted": 1, "duplicate": 0, "quarantined": 0}
            assert works.quarantine(tenant_id) == []
            assert total(works, tenant_id) == 1
            works.check(tenant_id)
    finally:
        owner.execute("ALTER TABLE id_runs DROP CONSTRAINT refused")
        owner.commit()
    assert (
        len(files(works, "segments", tenant_id)) == len(files(works, "ids", tenant_id)) == 3
    )  # two are debris
    assert [(r.counted, r.duplicate, r.quarantined) for r in works.seal()] == [(2, 1, 1)]
    assert total(works, tenant_id) == 3
    works.check(tenant_id)
    assert sweep(works.books, works.store.data_dir, [tenant_id], works.now + timedelta(days=3650), 0) == 4
    works.check(tenant_id)


def test_a_piece_that_another_process_sealed_is_not_sealed_again(works: EventWorks, tenant_id: int) -> None:
    works.take(tenant_id, events(1))
    late = works.sealer
    works.append(tenant_id, events(2))
    works.restart()
    assert [report.counted for report in works.seal()] == [1]
    with pytest.raises(Conflict) as refused:
        late.seal_next(works.now)
    assert refused.value.code == "sealed_elsewhere"
    assert works.stored(tenant_id) == ["1", "2"]
    works.check(tenant_id)


def test_the_sweep_takes_debris_and_nothing_else(works: EventWorks, tenant_id: int) -> None:
    other = create_tenant(works.books, f"sweep-{tenant_id}", "Other", works.now)
    works.append(tenant_id, events(1))
    works.append(other, events(1))
    works.seal()
    in_force = {kind: files(works, kind, tenant_id) for kind in ("segments", "ids")}
    debris = [works.store.data_dir / kind / str(tenant_id) / "left.over" for kind in ("segments", "ids")]
    foreign = works.store.data_dir / "segments" / str(other) / "left.over"
    for path in (*debris, foreign):
        path.touch()
    written = datetime.fromtimestamp(foreign.stat().st_mtime, works.now.tzinfo)

    def swept(seconds_later: int) -> int:
        moment = written + timedelta(seconds=seconds_later)
        return sweep(works.books, works.store.data_dir, [tenant_id], moment, 3600)

    assert swept(3590) == 0  # who wrote them may still commit them
    assert swept(3610) == 2
    assert swept(3610) == 0
    assert {kind: files(works, kind, tenant_id) for kind in ("segments", "ids")} == in_force
    assert foreign.exists()
    works.check(tenant_id)
    works.check(other)


def test_log_files_go_once_they_are_sealed_and_their_writer_has_gone(
    works: EventWorks, tenant_id: int
) -> None:
    works.take(tenant_id, events(1))
    later = works.now + timedelta(days=3650)
    assert works.sealer.remove_sealed_logs(later, 0) == 0  # its writer may go on
    works.log.close()
    sealed, works.log = works.log.log_file, works.new_writer()
    works.append(tenant_id, events(2))
    assert works.sealer.remove_sealed_logs(later, 10**10) == 0  # too young
    assert works.sealer.remove_sealed_logs(later, 0) == 1
    assert list_log_files(works.log_dir) == [works.log.log_file] != [sealed]
    works.restart()
    assert [report.counted for report in works.seal()] == [1]
    with works.books.operator_transaction() as conn:
        assert sealed not in rows.cursors(conn)
    assert works.take(tenant_id, events(1, 2)) == (0, 2, 0)


# -------------------------------------------------------------------------------------------------
# Killed


@pytest.fixture
def lives(works: EventWorks, books_dir: Path) -> Iterator[Mortals]:
    lateness = (works.lateness.too_late_seconds, works.lateness.too_early_seconds)
    with mortals(books_dir, works.store.data_dir, works.now.isoformat(), lateness) as lives:
        yield lives


def test_a_sealer_killed_at_any_moment_has_sealed_each_event_once(
    works: EventWorks, tenant_id: int, lives: Mortals, eventually: Callable[..., None]
) -> None:
    meter(works, tenant_id)
    random = Random(20261123)
    expected: set[str] = set()
    accepted = killed = 0

    def write_some_files() -> None:
        nonlocal accepted
        for _ in range(6):
            works.log.close()
            works.log = works.new_writer()
            for _ in range(2):
                # New events, repeats of earlier ones with the same content and with another.
                batch = [(str(random.randrange(20_000)), random.randrange(1, 3)) for _ in range(300)]
                works.append(tenant_id, [event(event_id, {"n": n}) for event_id, n in batch])
                accepted += len(batch)
                expected.update(event_id for event_id, _ in batch)

    for number in range(KILLS):
        write_some_files()
        # From right after the start to about the time that all of it takes.
        killed += not lives.live(killed_after=0.35 * (number + random.random()) / KILLS)
        eventually(works.settled)
        works.check(tenant_id)
    assert killed >= KILLS // 2
    assert lives.live()
    works.check(tenant_id)
    tally = works.tally(tenant_id)
    assert (tally["accepted"], tally["counted"]) == (accepted, len(expected))
    assert works.stored(tenant_id) == sorted(expected)
    stored = works.stored(tenant_id, "id, data")
    assert total(works, tenant_id) == sum(json.loads(data)["n"] for _, data in stored)
    # All that was appended is a repeat of what was counted, or a conflict with it.
    assert works.take(tenant_id, [event(event_id, json.loads(data)) for event_id, data in stored]) == (
        0,
        len(stored),
        0,
    )
    sweep(works.books, works.store.data_dir, [tenant_id], works.now + timedelta(days=3650), 0)
    for kind in ("segments", "ids"):
        with works.books.read_only(tenant_id) as conn:
            named = {
                row.path for row in (rows.segments if kind == "segments" else rows.id_runs)(conn, tenant_id)
            }
        assert files(works, kind, tenant_id) == named
