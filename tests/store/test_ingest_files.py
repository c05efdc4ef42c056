"""Files as a door: each line of a file is counted, a duplicate, or in quarantine with its place in the file."""

import csv
import gzip
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import zstandard
from event_works import EventWorks, event, ndjson, open_event_works
from mortals import mortals

from farthing.catalog.service import put_meter
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.ingest import IngestProgress, IngestReport, ingest_file
from farthing.events.intake import files
from farthing.events.intake.formats import parse_lines
from farthing.kernel.errors import InvalidInput, NotFound, Unavailable
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage

LARGE = 60_000
IMPORT_KILLS = 5
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def works(books: Books, now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, now) as works:
        yield works


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not there")
    return SHARED_DATA


def ingest(works: EventWorks, tenant_id: int, path: Path, **how: Any) -> IngestReport:
    works.restart()  # An import seals by itself: what the works' sealer knew is not so any more.
    report = ingest_file(
        works.books, works.store, tenant_id, path, lateness=works.lateness, clock=lambda: works.now, **how
    )
    assert report.accepted == report.counted + report.duplicate + report.quarantined
    assert report.quarantined == sum(report.by_reason.values())
    works.check(tenant_id)
    return report


def counts(report: IngestReport) -> tuple[int, int, int]:
    return report.counted, report.duplicate, report.quarantined


def datas(works: EventWorks, tenant_id: int) -> list[Any]:
    """What the events say, in order of their ids."""
    return [json.loads(data) for _, data in works.stored(tenant_id, "id, data")]


def meter_sum(works: EventWorks, tenant_id: int, value: str, **more: Any) -> None:
    definition = {"key": "total", "event_type": "call", "aggregation": "sum", "value": value, **more}
    put_meter(works.books, tenant_id, definition, works.now)


def total(works: EventWorks, tenant_id: int, meter: str = "total") -> Decimal:
    query = UsageQuery(meter, works.now - timedelta(days=5000), works.now + timedelta(days=1))
    groups = query_usage(works.books, works.store, tenant_id, query, works.now)
    return groups[0].quantity if groups else Decimal(0)


# -------------------------------------------------------------------------------------------------
# Formats

PLAIN = ndjson(event(str(number), {"n": number}) for number in range(1000))
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda plain: plain,
    ".gz": lambda plain: gzip.compress(plain[:7000]) + gzip.compress(plain[7000:]),
    ".zst": lambda plain: zstandard.compress(plain[:7000]) + zstandard.compress(plain[7000:]),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_ndjson(works: EventWorks, tenant_id: int, tmp_path: Path, suffix: str) -> None:
    meter_sum(works, tenant_id, "data.n")
    path = tmp_path / f"events.ndjson{suffix}"
    path.write_bytes(PACKED[suffix](PLAIN))
    report = ingest(works, tenant_id, path)
    assert (report.file, counts(report), report.resumed_at) == (path.name, (1000, 0, 0), 0)
    assert total(works, tenant_id) == sum(range(1000))
    # A second time everything is known, and nothing changes.
    assert counts(ingest(works, tenant_id, path)) == (0, 1000, 0)
    assert total(works, tenant_id) == sum(range(1000))


def test_bad_lines_are_named_by_their_number_in_the_file(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(
        b"\n".join([PLAIN.splitlines()[0], b"", b"garbage", b'{"id":"x"}', b'"\xff"', PLAIN.splitlines()[1]])
    )
    report = ingest(works, tenant_id, path)
    assert counts(report) == (2, 0, 3)
    assert report.by_reason == {"invalid_utf8": 1, "malformed_json": 1, "missing_attribute": 1}
    assert origins(works, tenant_id) == ["mixed.jsonl:3", "mixed.jsonl:4", "mixed.jsonl:5"]
    assert [raw for _, _, raw in works.quarantine(tenant_id)] == [b"garbage", b'{"id":"x"}', b'"\xff"']


def origins(works: EventWorks, tenant_id: int) -> list[str]:
    with works.books.read_only(tenant_id) as conn:
        return [row["origin"] for row in conn.execute("SELECT origin FROM quarantine ORDER BY quarantine_id")]


SPEC = "id=#,type='call',subject=who,time=at,data.n=n,data.deep.model=model,data.fixed='it''s'"
HEADER = b"who,at,n,model\n"


def csv_file(tmp_path: Path, text: bytes, name: str = "calls.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text)
    return path


@pytest.mark.parametrize("suffix", PACKED)
def test_csv(works: EventWorks, tenant_id: int, tmp_path: Path, suffix: str) -> None:
    text = (
        b"\xef\xbb\xbf" + HEADER + b"acme,2026-11-20 10:00:00.1234567,1.10,gpt-4o\r\n"
        b'key-7,2026-11-20T10:00:00+05:30,-0.5,"a ""quoted"", cell\non two lines"\n'
        b"\n"
        b",,12345678901234567890123,1.10\n"
        b'"",2026-11-20,007,"true"\n'
        b"acme,2026-11-20,1e3, x\n"
    )
    path = csv_file(tmp_path, PACKED[suffix](text) if suffix else text, f"calls.csv{suffix}")
    report = ingest(works, tenant_id, path, mapping=SPEC)
    assert (counts(report), works.quarantine(tenant_id)) == ((5, 0, 0), [])
    rows = works.stored(tenant_id, "id, source, subject, time, data")
    assert [row[:3] for row in rows] == [
        (f"calls.csv#{row}", "file:calls.csv;type=call", subject)
        for row, subject in enumerate(["acme", "key-7", None, None, "acme"], start=1)
    ]
    assert [row[3] for row in rows] == [
        datetime(2026, 11, 20, 10, 0, 0, 123456),
        datetime(2026, 11, 20, 4, 30),
        works.now.replace(tzinfo=None),
        datetime(2026, 11, 20),
        datetime(2026, 11, 20),
    ]
    assert [row[4] for row in rows] == [
        '{"n":1.10,"deep":{"model":"gpt-4o"},"fixed":"it\'s"}',
        '{"n":-0.5,"deep":{"model":"a \\"quoted\\", cell\\non two lines"},"fixed":"it\'s"}',
        '{"n":12345678901234567890123,"deep":{"model":1.10},"fixed":"it\'s"}',
        '{"n":"007","deep":{"model":"true"},"fixed":"it\'s"}',
        '{"n":"1e3","deep":{"model":" x"},"fixed":"it\'s"}',
    ]
    assert counts(ingest(works, tenant_id, path, mapping=SPEC)) == (0, 5, 0)


def test_a_cell_that_is_no_number_is_quarantined_and_named(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    meter_sum(works, tenant_id, "data.n")
    path = csv_file(tmp_path, b'n\n1\n2.50\n\nthree\n1e3\n""\n0.30000000000000004\n-0\n')
    report = ingest(works, tenant_id, path, mapping="id=#,type='call',data.n=n")
    assert report.by_reason == {"invalid_value": 3, "missing_value": 1}
    assert [detail.partition(", which")[0] for _, detail, _ in works.quarantine(tenant_id)] == [
        "data.n is three",
        "data.n is 1e3",
        "data.n is missing; the meter total needs it",
        "data.n is 0.30000000000000004",
    ]
    assert total(works, tenant_id) == Decimal("3.5")


def test_broken_rows_are_named_and_take_no_number_from_the_others(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    lines = [b"a,1", b"broken", b"b,2", b"c,3,4", b"\xff,5", b"d,6", b",,,"]
    spec = "id=#,type='call',data.who=who,data.n=n"
    path = csv_file(tmp_path, b"who,n\n" + b"\n".join(lines) + b"\n")
    report = ingest(works, tenant_id, path, mapping=spec)
    assert counts(report) == (3, 0, 4)
    assert report.by_reason == {"invalid_utf8": 1, "malformed_row": 3}
    assert sorted(origins(works, tenant_id)) == ["calls.csv#2", "calls.csv#4", "calls.csv#5", "calls.csv#7"]
    assert works.stored(tenant_id) == ["calls.csv#1", "calls.csv#3", "calls.csv#6"]
    # Mended, the same rows are the same events, and the mended ones are counted.
    mended = [b"a,1", b"x,7", b"b,2", b"c,3", "é,5".encode(), b"d,6", b"y,8"]
    csv_file(tmp_path, b"who,n\n" + b"\n".join(mended) + b"\n")
    assert counts(ingest(works, tenant_id, path, mapping=spec)) == (4, 3, 0)


def test_columns_may_be_called_anything(works: EventWorks, tenant_id: int, tmp_path: Path) -> None:
    names = ["row_number", "N", "n", 'x" || (SELECT 1) --', "select", "é $1", "line", "cell_0"]
    text = ",".join('"' + name.replace('"', '""') + '"' for name in names) + "\n"
    text += ",".join(str(100 + place) for place in range(len(names))) + "\n"
    fields = ",".join(f"data.f{place}={name}" for place, name in enumerate(names))
    report = ingest(works, tenant_id, csv_file(tmp_path, text.encode()), mapping=f"id=#,type='call',{fields}")
    assert counts(report) == (1, 0, 0)
    assert works.stored(tenant_id, "id") == ["calls.csv#1"]
    assert datas(works, tenant_id) == [{f"f{place}": 100 + place for place in range(len(names))}]


def test_a_map_may_take_nothing_but_the_number_of_rows(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    report = ingest(works, tenant_id, csv_file(tmp_path, b"a,b\n1,2\n3,4\n"), mapping="id=#,type='call'")
    assert (counts(report), works.stored(tenant_id)) == ((2, 0, 0), ["calls.csv#1", "calls.csv#2"])


@pytest.mark.parametrize(
    ("text", "mapping", "code"),
    [
        (b"a,b\n1,2\n", "id=#,type='call',data.n=nope", "unknown_column"),
        (b"a,A\n1,2\n", "id=#,type='call',data.n=B", "unknown_column"),
        (b"a,a\n1,2\n", "id=#,type='call',data.n=a", "unknown_column"),
        (b"a,b\n1,2\n", "id=#,type='call',data.n='", "invalid_map"),
        (b"a,b\n1,2\n", None, "missing_map"),
        (b"", "id=#,type='call'", "broken_file"),
    ],
)
def test_a_table_that_cannot_be_read(
    works: EventWorks, tenant_id: int, tmp_path: Path, text: bytes, mapping: str | None, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        ingest(works, tenant_id, csv_file(tmp_path, text), mapping=mapping)
    assert refused.value.code == code
    assert works.tally(tenant_id)["accepted"] == 0


def parquet_file(tmp_path: Path, columns: dict[str, pa.Array], name: str = "calls.parquet") -> Path:
    pa_parquet.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def test_parquet(works: EventWorks, tenant_id: int, tmp_path: Path) -> None:
    small = [Decimal(0), Decimal("0.0000002"), Decimal("-12.5")]
    moments = [datetime(2026, 11, 20, 10, 0, 0, 123456), None, datetime(2026, 11, 21)]
    path = parquet_file(
        tmp_path,
        {
            "row_number": pa.array(["x", "y", "z"]),
            "price": pa.array(small, pa.decimal128(38, 8)),
            "Price": pa.array([2**64 - 1, None, 0], pa.uint64()),
            "at": pa.array(moments, pa.timestamp("ns")),
            "ok": pa.array([True, False, None]),
            "model": pa.array(["é", "", None]).dictionary_encode(),
            "unused": pa.array([0.1, 0.2, float("nan")]),
            "nested": pa.array([[1], [], None]),
        },
    )
    spec = "id=#,type='call',time=at,data.who=row_number,data.price=price,data.Price=Price,data.ok=ok,data.m=model"
    meter_sum(works, tenant_id, "data.price")
    assert counts(ingest(works, tenant_id, path, mapping=spec)) == (3, 0, 0)
    assert total(works, tenant_id) == Decimal("-12.4999998")
    assert works.stored(tenant_id, "id, time, data") == [
        (
            "calls.parquet#1",
            moments[0],
            '{"who":"x","price":0.00000000,"Price":18446744073709551615,"ok":"true","m":"é"}',
        ),
        ("calls.parquet#2", works.now.replace(tzinfo=None), '{"who":"y","price":0.00000020,"ok":"false"}'),
        ("calls.parquet#3", moments[2], '{"who":"z","price":-12.50000000,"Price":0}'),
    ]  # fmt: skip
    assert counts(ingest(works, tenant_id, path, mapping=spec)) == (0, 3, 0)


def test_parquet_with_the_columns_of_an_event(works: EventWorks, tenant_id: int, tmp_path: Path) -> None:
    ids = pa.array([f"e{row}" for row in range(100_000)])
    path = parquet_file(
        tmp_path,
        {"id": ids, "type": pa.array(["call"] * len(ids)), "n": pa.array(range(len(ids)), pa.int64())},
    )
    meter_sum(works, tenant_id, "data.n")
    assert counts(ingest(works, tenant_id, path)) == (100_000, 0, 0)
    assert total(works, tenant_id) == sum(range(100_000))


def test_parquet_with_data_as_json_text(works: EventWorks, tenant_id: int, tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["a", "b", "c"]),
        "type": pa.array(["call"] * 3),
        "data": pa.array(['{"n": 1, "who": "07"}', '1,"id":"z"', None]),
    }
    path = parquet_file(tmp_path, columns)
    assert counts(ingest(works, tenant_id, path)) == (2, 0, 1)
    assert works.stored(tenant_id, "id, source, data") == [
        ("a", "file:calls.parquet", '{"n": 1, "who": "07"}'),
        ("c", "file:calls.parquet", "null"),
    ]
    assert counts(ingest(works, tenant_id, path)) == (0, 2, 1)


EVENT = {"id": pa.array(["1"]), "type": pa.array(["call"])}


@pytest.mark.parametrize(
    ("columns", "mapping", "code"),
    [
        ({"x": pa.array([0.5])}, "id=#,type='call',data.n=x", "float_column"),
        ({"x": pa.array([[1]])}, "id=#,type='call',data.n=x", "broken_file"),
        ({"x": pa.array([1])}, "id=#,type='call',data.n=y", "unknown_column"),
        ({"x": pa.array([1])}, None, "missing_map"),
        (EVENT | {"data": pa.array([1])}, None, "unsupported_column"),
        (EVENT | {"data": pa.array(["{}"]), "n": pa.array([1])}, None, "invalid_map"),
        (EVENT | {"n": pa.array([0.5])}, None, "float_column"),
        (EVENT | {"a": pa.array([1]), "a.b": pa.array([1])}, None, "invalid_map"),
    ],
)  # fmt: skip
def test_parquet_that_cannot_be_read(
    works: EventWorks,
    tenant_id: int,
    tmp_path: Path,
    columns: dict[str, pa.Array],
    mapping: str | None,
    code: str,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        ingest(works, tenant_id, parquet_file(tmp_path, columns), mapping=mapping)
    assert refused.value.code == code


def test_names_that_tell_no_format(works: EventWorks, tenant_id: int, tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(PLAIN)
    with pytest.raises(InvalidInput) as refused:
        ingest(works, tenant_id, path)
    assert refused.value.code == "unknown_file_format"
    assert counts(ingest(works, tenant_id, path, file_format="ndjson")) == (1000, 0, 0)
    with pytest.raises(NotFound):
        ingest(works, tenant_id, tmp_path / "nothing.ndjson")
    with pytest.raises(InvalidInput) as refused:
        ingest(works, tenant_id, path, file_format="ndjson", mapping=SPEC)
    assert refused.value.code == "unexpected_map"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_a_compressed_file_cut_short_is_no_whole_file(
    works: EventWorks, tenant_id: int, tmp_path: Path, kind: str, suffix: str
) -> None:
    table = b"who,at,n,model\n" + b"".join(b"w,,%d,m\n" % number for number in range(1000))
    packed = PACKED[suffix](table if kind == "csv" else PLAIN)
    path = tmp_path / f"cut.{kind}{suffix}"
    mapping = SPEC if kind == "csv" else None
    path.write_bytes(packed[: len(packed) - 5])
    with pytest.raises(InvalidInput) as refused:
        ingest(works, tenant_id, path, mapping=mapping)
    assert refused.value.code == "broken_compression"
    works.seal()
    before = works.tally(tenant_id)["counted"]
    path.write_bytes(packed)
    report = ingest(works, tenant_id, path, mapping=mapping)
    assert report.counted + before == 1000


# -------------------------------------------------------------------------------------------------
# Stopped on the way


def test_an_import_that_fails_goes_on_where_it_was(
    works: EventWorks, tenant_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 4096)
    path = tmp_path / "events.ndjson"
    path.write_bytes(PLAIN)

    def stop_half_way(progress: IngestProgress) -> None:
        if progress.events_read > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(works, tenant_id, path, progress=stop_half_way)
    report = ingest(works, tenant_id, path)
    assert 0 < report.resumed_at < len(PLAIN)
    assert works.tally(tenant_id) == {"accepted": 1000, "counted": 1000, "duplicate": 0, "quarantined": 0}
    # Read in another way, the same file is read from its beginning.
    assert ingest(works, tenant_id, path, source="other").resumed_at == 0


def test_a_table_goes_on_at_the_row_where_it_was(
    works: EventWorks, tenant_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 500)
    rows = [b"broken" if row % 7 == 0 else b"who,,%d,m" % row for row in range(1, 1001)]
    path = csv_file(tmp_path, HEADER + b"\n".join(rows) + b"\n")

    def stop_half_way(progress: IngestProgress) -> None:
        if progress.events_read > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(works, tenant_id, path, mapping=SPEC, progress=stop_half_way)
    report = ingest(works, tenant_id, path, mapping=SPEC)
    assert 400 < report.resumed_at < 1000
    assert works.tally(tenant_id) == {"accepted": 1000, "counted": 858, "duplicate": 0, "quarantined": 142}
    assert sorted(origins(works, tenant_id)) == sorted(f"calls.csv#{row}" for row in range(7, 1001, 7))
    assert works.stored(tenant_id, "data->'$.n'") == sorted(str(row) for row in range(1, 1001) if row % 7)


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_an_import_killed_at_any_moment_and_run_again_is_one_clean_import(
    works: EventWorks,
    tenant_id: int,
    tmp_path: Path,
    books_dir: Path,
    eventually: Callable[..., None],
    kind: str,
) -> None:
    mapping = None if kind == "ndjson" else "id=#,type='call',data.n=n,data.pad=pad"
    path = tmp_path / f"large.{kind}"
    if kind == "ndjson":
        lines = [json.dumps(event(str(number), {"n": number, "pad": "x" * 50})) for number in range(LARGE)]
    else:
        lines = ["n,pad", *(f"{number},{'x' * 100}" for number in range(LARGE))]
    lines[100::1000] = ["broken"] * len(lines[100::1000])
    path.write_text("\n".join(lines))
    clean = create_tenant(works.books, f"clean-{tenant_id}", "Clean", works.now)
    for tenant in (clean, tenant_id):
        meter_sum(works, tenant, "data.n")
    expected = ingest(works, clean, path, mapping=mapping)
    random, killed = Random(20261123), 0
    lateness = (works.lateness.too_late_seconds, works.lateness.too_early_seconds)
    with mortals(books_dir, works.store.data_dir, works.now.isoformat(), lateness) as lives:
        while works.tally(tenant_id)["counted"] < expected.counted:
            # Each run may last a little longer, so that the last of them comes to its end.
            after = expected.seconds * (killed + random.random()) / IMPORT_KILLS
            killed += not lives.live(tenant_id=tenant_id, path=path, mapping=mapping, killed_after=after)
            eventually(works.settled)
            works.check(tenant_id)
    assert killed >= 2
    assert (works.tally(tenant_id)["counted"], works.reasons(tenant_id)) == (
        expected.counted,
        expected.by_reason,
    )
    assert works.stored(tenant_id) == works.stored(clean)
    assert total(works, tenant_id) == total(works, clean) == sum(set(range(LARGE)) - {*missing(kind)})


def missing(kind: str) -> range:
    """The numbers on the lines that are broken."""
    return range(100, LARGE, 1000) if kind == "ndjson" else range(99, LARGE, 1000)


# -------------------------------------------------------------------------------------------------
# Real traces


@pytest.mark.parametrize(
    ("trace", "events", "context", "generated"),
    [("conv", 19_366, 22_361_870, 4_088_665), ("code", 8_819, 18_059_974, 245_896)],
)
def test_the_tokens_of_a_real_trace(
    works: EventWorks,
    tenant_id: int,
    shared_data: Path,
    trace: str,
    events: int,
    context: int,
    generated: int,
) -> None:
    path = shared_data / "azure-llm-2023" / f"AzureLLMInferenceTrace_{trace}.csv.gz"
    with gzip.open(path, "rt") as text:
        rows = list(csv.DictReader(text))
    assert (len(rows), sum(int(row["ContextTokens"]) for row in rows)) == (events, context)
    for key, column in (("input", "data.input"), ("output", "data.output")):
        definition = {"key": key, "event_type": "llm.completion", "aggregation": "sum", "value": column}
        put_meter(works.books, tenant_id, definition, works.now)
    spec = (
        "id=#,type='llm.completion',subject='acme',time=TIMESTAMP,"
        "data.input=ContextTokens,data.output=GeneratedTokens"
    )
    assert counts(ingest(works, tenant_id, path, mapping=spec)) == (events, 0, 0)
    assert total(works, tenant_id, "input") == context
    assert total(works, tenant_id, "output") == generated
    moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC) for row in rows]
    half = sorted(moments)[events // 2]
    early = UsageQuery("input", datetime(2023, 1, 1, tzinfo=UTC), half)
    (group,) = query_usage(works.books, works.store, tenant_id, early, works.now)
    within = [int(row["ContextTokens"]) for row, moment in zip(rows, moments, strict=True) if moment < half]
    assert (group.quantity, group.events) == (sum(within), len(within))


# -------------------------------------------------------------------------------------------------
# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Take all space but `leave` bytes."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_bsize - leave)))
    return ballast


def test_a_full_disk_loses_nothing_and_is_no_end(
    books: Books, tenant_id: int, now: datetime, tmp_path: Path, small_disk: Path
) -> None:
    first, second = tmp_path / "first.ndjson", tmp_path / "second.ndjson"
    first.write_bytes(ndjson(event(f"a{number}", {"n": 1}) for number in range(1000)))
    second.write_bytes(ndjson(event(f"b{number}", {"n": 1, "pad": "x" * 100}) for number in range(6000)))
    with open_event_works(books, now, data_dir=small_disk) as works:
        meter_sum(works, tenant_id, "data.n")
        assert counts(ingest(works, tenant_id, first)) == (1000, 0, 0)
        needed = len(parse_lines(second.read_bytes()).lines)
        # No room for anything, none for the log, then enough for the log and none for a segment.
        for left, accepted in ((0, 1000), (100_000, 1000), (needed - 20_000, 1000), (needed + 20_000, 7000)):
            ballast = fill(small_disk, left)
            with pytest.raises(Unavailable) as refused:
                ingest(works, tenant_id, second)
            assert refused.value.code == "disk_full"
            assert total(works, tenant_id) == 1000
            ballast.unlink()
            if accepted == 7000:
                works.seal()  # What was acknowledged while there was no room for a segment is counted now.
            assert works.tally(tenant_id)["counted"] == accepted
            works.check(tenant_id)
        assert counts(ingest(works, tenant_id, second)) == (0, 6000, 0)
        assert total(works, tenant_id) == 7000
        # The same writer, refused for want of space, goes on as soon as there is some.
        ballast = fill(small_disk, 0)
        with pytest.raises(Unavailable) as refused:
            works.append(tenant_id, event("c1", {"n": 1}))
        assert refused.value.code == "disk_full"
        ballast.unlink()
        assert works.take(tenant_id, [event("c1", {"n": 1}), event("c2", {"n": 1})]) == (2, 0, 0)
        assert total(works, tenant_id) == 7002


# -------------------------------------------------------------------------------------------------
# Access logs


def request_lines(count: int) -> list[bytes]:
    return [
        b'10.0.0.1 - acme [01/Jan/2024:00:00:%02d +0000] "GET /v1/%d HTTP/1.1" 200 10 "-" "c"\n' % (n % 60, n)
        for n in range(count)
    ]


def test_an_access_log_counts_once_as_it_grows_moves_and_is_compressed(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    put_meter(
        works.books,
        tenant_id,
        {"key": "total", "event_type": "http.request", "aggregation": "sum", "value": "data.bytes_sent"},
        works.now,
    )
    lines = request_lines(100)
    path = tmp_path / "access.log"
    path.write_bytes(b"".join(lines[:60]) + lines[60][:20])
    report = ingest(works, tenant_id, path, file_format="nginx")
    assert (counts(report), report.by_reason) == ((60, 0, 1), {"unfinished_line": 1})
    assert origins(works, tenant_id) == ["access.log:61"]
    path.write_bytes(b"".join(lines))
    assert counts(ingest(works, tenant_id, path, file_format="nginx")) == (40, 60, 0)
    rotated = tmp_path / "access.log.1.gz"
    rotated.write_bytes(gzip.compress(b"".join(lines)))
    assert counts(ingest(works, tenant_id, rotated, file_format="nginx")) == (0, 100, 0)
    assert total(works, tenant_id) == 1000
    path.write_bytes(lines[5])  # A new file that begins with another line.
    assert counts(ingest(works, tenant_id, path, file_format="nginx")) == (1, 0, 0)


def test_broken_lines_of_an_access_log_are_named_by_their_number(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    lines = request_lines(3)
    path = tmp_path / "access.log"
    path.write_bytes(lines[0] + b"\n" + b"garbage\n" + lines[1] + b"\xff\xff\n" + lines[2])
    report = ingest(works, tenant_id, path, file_format="apache", subject="'all'", keep=("referer",))
    assert (counts(report), report.by_reason) == ((3, 0, 2), {"malformed_line": 2})
    assert origins(works, tenant_id) == ["access.log:3", "access.log:5"]


def test_equal_lines_of_an_access_log_are_requests_of_their_own(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(request_lines(1)[0] * 30_000)
    assert counts(ingest(works, tenant_id, path, file_format="nginx")) == (30_000, 0, 0)


def test_what_is_for_access_logs_is_refused_elsewhere(
    works: EventWorks, tenant_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(PLAIN)
    with pytest.raises(InvalidInput, match="access logs"):
        ingest(works, tenant_id, path, subject="user")
    with pytest.raises(InvalidInput, match="not for access logs"):
        ingest(works, tenant_id, path, file_format="nginx", mapping="id=#,type='x'")


def test_a_real_access_log(works: EventWorks, tenant_id: int, shared_data: Path) -> None:
    works.now = datetime(2015, 5, 25, tzinfo=UTC)
    path = shared_data / "elastic-access-logs" / "apache_logs.gz"
    report = ingest(works, tenant_id, path, file_format="apache", subject="'site'")
    assert (report.accepted, report.quarantined) == (10_000, 0)
    said = datas(works, tenant_id)
    with gzip.open(path, "rt") as lines:
        sizes = [line.split('" ')[1].split()[1] for line in lines]
    assert sum(one.get("bytes_sent", 0) for one in said) == sum(int(size) for size in sizes if size.isdigit())
