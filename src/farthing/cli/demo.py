"""`farthing demo`: the main job, end to end, on generated traffic."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from farthing.app import App, open_app, read_settings, wall_clock
from farthing.cli.commands import new_app
from farthing.cli.demo_traffic import (
    Traffic,
    broken_lines,
    catalog,
    event_lines,
    expected_totals,
    make_traffic,
)
from farthing.cli.options import AsJson
from farthing.cli.output import Column, money, number, print_facts, print_json, print_table
from farthing.kernel.errors import Unavailable

HTTP_SHARE = 0.3
"""The part of the traffic that goes through HTTP; the rest comes as a file."""
HTTP_CONNECTIONS = 4
EVENTS_PER_REQUEST = 1_000
LARGEST_SHOWN = 8
_SEAL_SECONDS_MAX = 300.0

app = new_app()


@dataclass(slots=True)
class _Run:
    """What the demo measured, step by step."""

    directory: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, saying: str) -> Iterator[None]:
        """Do something, saying so on a terminal, and keep how long it took."""
        started = time.monotonic()
        if sys.stderr.isatty():
            print(f"\x1b[2m{saying} ...\x1b[0m", file=sys.stderr)
        yield
        self.seconds[name] = time.monotonic() - started


@app.command(
    epilog="Example: farthing demo   |   smaller: farthing demo --events 100000 --customers 200",
)
def demo(
    as_json: AsJson = False,
    events: Annotated[int, typer.Option(min=2_000, max=20_000_000, help="Events to send.")] = 1_000_000,
    customers: Annotated[int, typer.Option(min=10, max=1_000, help="Customers to bill.")] = 1_000,
    directory: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="An empty directory to use instead of a temporary one."),
    ] = None,
) -> None:
    """Make a month of LLM-API traffic, send it through the real doors, bill it, and check the bills.

    The data directory is kept, so that you can look around in it afterwards.
    """
    run = _Run(_place(directory))
    end = wall_clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (end - timedelta(days=1)).replace(day=1)
    began = time.monotonic()
    with run.step("generate", f"Making {events:,} events of {customers:,} customers in {start:%B %Y}"):
        traffic = make_traffic(events, customers, start, end)
    settings = read_settings(os.environ, {"data_dir": str(run.directory)})
    with open_app(settings, wall_clock) as farthing:
        with run.step("apply", "Applying meters, a plan, customers and subscriptions"):
            _apply(farthing, catalog(customers, start))
        sent = _send(run, farthing, traffic)
        with run.step("bill", "Billing every customer"):
            issued = _bill(farthing, end)
        with run.step("check", "Working every invoice out a second time"):
            off = _differences(issued, expected_totals(traffic))
        largest = sorted(issued, key=lambda invoice: -Decimal(invoice["total_exact"]))[:LARGEST_SHOWN]
        pdf = _write_pdfs(farthing, run.directory, largest[:1])  # loads the typesetter
        with run.step("pdf", "Setting the largest invoices"):
            _write_pdfs(farthing, run.directory, largest)
        report = _report(run, farthing, sent, issued, largest, off, pdf, time.monotonic() - began)
        report |= {"from": f"{start:%Y-%m-%d}", "to": f"{end:%Y-%m-%d}"}
    if as_json:
        print_json(report)
    else:
        _print(report)
    raise typer.Exit(1 if off else 0)


def _place(directory: Path | None) -> Path:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Unavailable("directory_not_empty", f"{directory} is not empty", path="--data")
        return directory
    place = Path(tempfile.mkdtemp(prefix="farthing-demo-"))
    if os.geteuid() == 0:
        place.chmod(0o711)  # root's PostgreSQL runs as another user, who must be able to pass
    return place / "data"


def _apply(farthing: App, document: dict[str, object]) -> None:
    from farthing.customers.apply import apply

    apply(farthing.books, farthing.tenant_id, document, farthing.clock())


# -------------------------------------------------------------------------------------------------
# Sending


@dataclass(slots=True)
class _Sent:
    """What the doors answered."""

    http_events: int = 0
    http_rejected: int = 0
    file_events: int = 0


def _send(run: _Run, farthing: App, traffic: Traffic) -> _Sent:
    """A third through HTTP to a running server, the rest as a file; return when all of it is sealed."""
    chunks = list(event_lines(traffic))
    split = max(1, round(len(chunks) * HTTP_SHARE))
    file = run.directory / "traffic.ndjson"
    with open(file, "wb") as out:
        out.writelines(lines for lines, _ in chunks[split:])
        out.write(broken_lines())
    sent = _Sent()
    with _server(run.directory) as (port, key):
        with run.step("http", f"Sending {sum(count for _, count in chunks[:split]):,} events over HTTP"):
            _post_all([lines for lines, _ in chunks[:split]], port, key, sent)
        with run.step("file", "Ingesting the rest from a file, beside the running server"):
            sent.file_events = _ingest(farthing, file)
        with run.step("seal", "Waiting for the last events to be sealed"):
            _wait_until_sealed(farthing)
    file.unlink()
    return sent


@contextmanager
def _server(data_dir: Path) -> Iterator[tuple[int, str]]:
    """A real `farthing serve` on a free port; gives the port and the API key that it printed."""
    command = [
        sys.executable,
        "-m",
        "farthing",
        "serve",
        "--port",
        "0",
        "--workers",
        "1",
        "--data",
        str(data_dir),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port, key = 0, ""
        while not (port and key):
            line = process.stdout.readline()
            if not line:
                raise Unavailable(
                    "server_ended", "the server ended before it was ready; its message stands above"
                )
            if "listening on" in line:
                port = int(line.rsplit(":", 1)[1])
            elif "API key" in line:
                key = line.rsplit(" ", 1)[1].strip()
        yield port, key
    finally:
        process.terminate()
        process.wait()


def _post_all(chunks: list[bytes], port: int, key: str, sent: _Sent) -> None:
    """Batches of a thousand events over a few connections."""
    bodies: list[bytes] = []
    for chunk in chunks:
        lines = chunk.splitlines(keepends=True)
        bodies += [
            b"".join(lines[at : at + EVENTS_PER_REQUEST]) for at in range(0, len(lines), EVENTS_PER_REQUEST)
        ]
    waiting, lock = iter(bodies), threading.Lock()
    failures: list[str] = []

    def post() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
            "Prefer": "return=minimal",
        }
        while True:
            with lock:
                body = next(waiting, None)
            if body is None or failures:
                return
            connection.request("POST", "/v1/events", body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            with lock:
                if response.status != 202:
                    failures.append(f"{response.status}: {answer.get('detail')}")
                    return
                sent.http_events += answer["accepted"]
                sent.http_rejected += answer["rejected"]

    threads = [threading.Thread(target=post) for _ in range(HTTP_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Unavailable("events_refused", f"the server answered {failures[0]}")


def _ingest(farthing: App, file: Path) -> int:
    from farthing.events.ingest import ingest_file

    report = ingest_file(
        farthing.books,
        farthing.store,
        farthing.tenant_id,
        file,
        lateness=farthing.settings.lateness,
        clock=farthing.clock,
    )
    return report.accepted


def _wait_until_sealed(farthing: App) -> None:
    from farthing.events.service import account

    deadline = time.monotonic() + _SEAL_SECONDS_MAX
    while account(farthing.books, farthing.log_dir, farthing.tenant_id).waiting:
        if time.monotonic() > deadline:
            raise Unavailable("not_sealed", "the engine did not seal the events in time")
        time.sleep(0.05)


# -------------------------------------------------------------------------------------------------
# Billing and checking


def _bill(farthing: App, until: datetime) -> list[dict[str, Any]]:
    from farthing.invoicing.service import invoice_documents, run_billing

    result = run_billing(farthing.books, farthing.store, farthing.tenant_id, until, farthing.clock())
    return list(invoice_documents(farthing.books, farthing.tenant_id, result.issued))


def _differences(issued: list[dict[str, Any]], expected: dict[str, Fraction]) -> list[str]:
    """The customers whose invoice is not what a second calculation says, to the last digit."""
    billed = {invoice["customer"]: Fraction(invoice["total_exact"]) for invoice in issued}
    return sorted(key for key in billed.keys() | expected.keys() if billed.get(key) != expected.get(key))


def _write_pdfs(farthing: App, directory: Path, invoices: list[dict[str, Any]]) -> Path:
    from farthing.invoicing.paper.pdf import render_pdfs
    from farthing.invoicing.service import get_seller

    seller = get_seller(farthing.books, farthing.tenant_id)
    place = directory / "invoices"
    place.mkdir(exist_ok=True)
    for invoice, content in zip(invoices, render_pdfs(invoices, seller), strict=True):
        (place / f"{invoice['number']}.pdf").write_bytes(content)
    return place / f"{invoices[0]['number']}.pdf"


# -------------------------------------------------------------------------------------------------
# Saying


def _report(
    run: _Run,
    farthing: App,
    sent: _Sent,
    issued: list[dict[str, Any]],
    largest: list[dict[str, Any]],
    off: list[str],
    pdf: Path,
    seconds: float,
) -> dict[str, Any]:
    from farthing.events.service import account

    tally = account(farthing.books, farthing.log_dir, farthing.tenant_id)
    return {
        "account": {
            "accepted": tally.accepted,
            "counted": tally.counted,
            "duplicate": tally.duplicate,
            "quarantined": tally.quarantined,
            "by_reason": dict(tally.quarantined_by_reason),
        },
        "invoices": len(issued),
        "total": str(sum(Decimal(invoice["total"]) for invoice in issued)),
        "differences": off,
        "largest": [
            {
                "number": invoice["number"],
                "customer": invoice["customer"],
                "name": invoice["bill_to"]["name"],
                "total_exact": invoice["total_exact"],
                "total": invoice["total"],
            }
            for invoice in largest
        ],
        "rates": {
            "http_events_per_second": int(sent.http_events / run.seconds["http"]),
            "file_events_per_second": int(sent.file_events / (run.seconds["file"] + run.seconds["seal"])),
            "invoices_per_second": int(len(issued) / run.seconds["bill"]),
            "pdfs_per_second": int(len(largest) / run.seconds["pdf"]),
        },
        "seconds": round(seconds, 1),
        "pdf": str(pdf),
        "data": str(run.directory),
    }


def _command() -> str:
    """How the person at the terminal would call this program."""
    program = Path(sys.argv[0])
    found = shutil.which("farthing")
    return "farthing" if found and Path(found).samefile(program) else os.path.relpath(program)


def _print(report: dict[str, Any]) -> None:
    tally, rates = report["account"], report["rates"]
    print("\nEvery accepted event, accounted for")
    print(
        f"  {tally['accepted']:,} accepted = {tally['counted']:,} counted + {tally['duplicate']:,} duplicate "
        f"+ {tally['quarantined']:,} quarantined"
    )
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally["by_reason"].items())
    print(f"  quarantine: {reasons}")
    print(f"\n{report['invoices']:,} invoices over {money(report['total'], 'USD')}; the largest:\n")
    print_table(
        [
            Column("Invoice"),
            Column("Customer"),
            Column("Name"),
            Column("Exact", align="right"),
            Column("Total", align="right"),
        ],
        [
            [
                invoice["number"],
                invoice["customer"],
                invoice["name"],
                number(invoice["total_exact"]),
                money(invoice["total"], "USD"),
            ]
            for invoice in report["largest"]
        ],
    )
    if report["differences"]:
        print(f"\nNOT EQUAL to a second calculation: {', '.join(report['differences'][:10])}")
    else:
        print(
            "\nAll of them equal a second, independent calculation from the generated calls, to the last digit."
        )
    print("\nRates on this machine")
    print_facts(
        {
            "  events over HTTP, batches of 1,000": f"{rates['http_events_per_second']:>10,} /s",
            "  events from a file, to queryable": f"{rates['file_events_per_second']:>10,} /s",
            "  invoices": f"{rates['invoices_per_second']:>10,} /s",
            "  invoice PDFs": f"{rates['pdfs_per_second']:>10,} /s",
        }
    )
    largest = report["largest"][0]
    print(f"\nA PDF lies in   {report['pdf']}")
    print(f"Look around     export FARTHING_DATA={report['data']}")
    command = _command()
    print(f"                {command} invoices show {largest['number']}")
    print(f"                {command} invoices explain {largest['number']} 1")
    print(
        f"                {command} usage requests --group-by customer --from {report['from']} --to {report['to']}"
    )
    print(f"                {command} doctor")
    print(f"Throw it away   rm -r {report['data']}")
    print(f"\nThe whole journey took {report['seconds']} s.")
