"""The benchmarks run, check their answers, print every row and leave nothing behind. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = 4_000
ROWS = {
    "ingest_file": [
        "File of 4,000 events, queryable",
        "  CPU per million events",
        "  peak memory",
        "File of 1,000 events, queryable",
        "  CPU per million events",
    ],
    "file_stages": [
        "Stages of a file: CPU per million",
        "  door",
        "  log: write, read back",
        "  lines as columns",
        "  identities",
        "  segment",
    ],
    "ingest_http": [
        "HTTP in batches of 1,000, on disk",
        "  99th percentile of a request",
        "HTTP in batches of 1,000, queryable",
        "  CPU per million events",
        "  last answer to queryable",
        "  memory of all processes",
    ],
    "ingest_single": [
        "HTTP single events, on disk",
        "  99th percentile of a request",
        "  CPU per event, all processes",
        "  memory of all processes",
        "Restarts, no request failed",
        "  99.9th percentile of a request",
        "All workers killed, next answer",
    ],
    "usage_query": [
        "Usage: largest customer, by model",
        "  by hand in DuckDB",
        "Usage: a small customer, by model",
        "  by hand in DuckDB",
        "Usage: all 10 customers",
        "  by hand in DuckDB",
        "Usage: everybody by day and model",
        "  by hand in DuckDB",
    ],
    "history": [
        "A customer's month of 20,000",
        "  CPU, all processes",
        "  in the order of arrival",
        "All customers' month of 20,000",
        "  CPU per million events",
        "  putting it in order, 1 files",
        "    CPU per million events",
    ],
    "billing": [
        "Invoices of 5 lines, tax, ledger",
        "  10 invoices: the whole run",
        "    usage queries",
        "    lines, rating, totals",
        "    documents, inserts, the rest",
        "    usage asked one by one instead",
        "  CPU per thousand invoices",
    ],
    "accrued": [
        "Accrued spend of 10 customers",
        "  CPU",
        "  nobody with news",
        "  and an interim invoice for each",
    ],
    "ledger": [
        "Ledger transfers, batches of 1,000",
        "  CPU per thousand transfers",
        "Reports: trial balance",
        "  revenue by product and customer",
        "  the slowest of all reports",
    ],
    "finance": [
        "Reports of 6,600 entries: slowest",
        "  its CPU",
        "  trial balance",
        "  income",
        "  receivables",
        "  customer credit",
        "  revenue",
        "  deferred revenue",
        "  recognition schedule",
        "  tax",
        "  tax payable",
        "  cash",
        "  clearing",
        "  wallets",
    ],
    "wallet_draws": [
        "Sealing for 10 wallets",
        "  CPU per million events",
        "  CPU that wallets add to sealing",
    ],
    "authorizations": [
        "Authorise, settle: 10 wallets",
        "  99th percentile of a request",
        "  CPU per pair, all processes",
        "  one hot wallet",
        "    99th percentile of a request",
        "    CPU per pair, all processes",
    ],
    "statement": ["Statement of 200 entries, matched", "  CPU per thousand entries"],
    "rating": ["Rating: graduated, 5 tiers, one core"],
    "pdf": [
        "PDF, one page, 40 lines",
        "  on all cores",
        "  size",
        "PDF, 40 lines of two tiers",
        "  its size",
    ],
    "start": [
        "Start: new books, made and migrated",
        "Start: books that exist",
        "Start: farthing rate, one price",
    ],
    "recovery": [
        "After kill -9: the first good answer",
        "  10,000 events sealed",
        "  CPU per million events",
        "  memory of all processes",
    ],
    "id_index": [
        "Id index of 1,000,000: new ids",
        "  ids that are known",
        "  disk",
        "  runs to look through",
        "  written for each byte that stays",
        "  built",
        "  longest merge",
        "  memory of its own",
        "  mapped pages in memory",
    ],
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks read /proc")
def test_every_benchmark_has_its_rows_in_one_table(tmp_path: Path) -> None:
    place, results = tmp_path / "place", tmp_path / "results.json"
    place.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--events", str(EVENTS), "--json", str(results)],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("---"))
    titles = [line[:36].rstrip() for line in lines[first + 1 :]]
    assert titles[: titles.index("")] == [row for rows in ROWS.values() for row in rows]
    assert max(map(len, lines)) <= 100

    found = json.loads(results.read_text())
    assert {name: [row["what"] for row in rows] for name, rows in found["benchmarks"].items()} == {
        name: [row.strip() for row in rows] for name, rows in ROWS.items()
    }
    # What one of two measured times adds to the other, in per cent, falls below nothing where both are next to nothing.
    measured = [row for rows in found["benchmarks"].values() for row in rows if row["unit"] != "%"]
    assert [row["what"] for row in measured if min(row["figures"]) < 0] == []
    assert found["machine"]["cores"] >= 1
    assert found["sizes"]["events"] == EVENTS
    assert list(place.iterdir()) == []
