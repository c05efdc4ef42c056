"""`farthing events`: find events, see the whole way of one, correct one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from farthing.api.paging import page, read_cursor
from farthing.app import App
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import (
    Column,
    moment,
    money,
    plural,
    print_exact_json,
    print_facts,
    print_json,
    print_table,
    printable,
)
from farthing.events.correcting.service import Sent, list_corrections, replace_event, void_event
from farthing.events.engine import seal_what_waits
from farthing.events.find import FoundEvent, events_of_id
from farthing.events.log.files import LogWriter
from farthing.events.model import EVENT_BYTES_MAX
from farthing.invoicing.explaining.tracing import (
    Sought,
    correction_document,
    customers_of,
    event_document,
    only_source,
    search_events,
    trace_event,
)
from farthing.invoicing.late.later import effects_after_invoice
from farthing.kernel.errors import Fault, InvalidInput, NotFound
from farthing.kernel.instant import parse_instant

LIMIT_MAX = 1_000
SEAL_WAIT_SECONDS = 60
"""How long a running engine may take to seal a correction."""

app = new_app(
    help="Find events, see the whole way of one from the door to the invoice, correct one.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id that the event was sent with.")]
Source = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Its source, where events of several sources have the id."),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the correction.")]


@app.command(
    "list",
    epilog="\b\nExamples:\n  $ farthing events list --customer acme --from 2026-11-01 --to 2026-11-02\n"
    "  $ farthing events list --id req-8f14e",
)
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Of this customer.")] = None,
    subject: Annotated[str | None, typer.Option(metavar="TEXT", help="With this subject.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First instant in: a date or a time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="First instant out.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="With this id, whatever became of it.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="SOURCE", help="The source of the --id.")] = None,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind a page, as it said.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List events, the newest first: counted, voided, or waiting in the log; with --id quarantined ones too."""
    sought = Sought(
        event_id,
        source,
        customer,
        subject,
        event_type,
        None if start is None else parse_moment(start, timezone, "--from"),
        None if end is None else parse_moment(end, timezone, "--to"),
    )
    with opened(data, tenant, make=False) as house:
        events = search_events(house.books, house.store, house.tenant_id, sought, _place(cursor), limit + 1)
        customers = customers_of(house.books, house.tenant_id, events)
    shown_events, next_cursor = page(events, limit, "events", lambda event: json.dumps(event.place))
    if as_json:
        items = [_document(event, customers) for event in shown_events]
        print_exact_json({"items": items, "next_cursor": next_cursor})
        return
    if not shown_events:
        print("No event.")
        return
    print_table(
        [
            Column("Time", whole=True),
            Column("Type"),
            Column("Customer"),
            Column("Source"),
            Column("Id"),
            Column("State", whole=True),
        ],
        [
            [
                event_document(event, None)["time"],
                event.type,
                customers.get(event.subject or "", f"({event.subject})" if event.subject else "-"),
                event.source,
                event.id,
                event.state,
            ]
            for event in shown_events
        ],
    )
    if next_cursor:
        print(f"There are more: --cursor {next_cursor}")


def _place(cursor: str | None) -> tuple[int, str, str] | None:
    text = read_cursor(cursor, "events")
    if text is None:
        return None
    try:
        at, source, event_id = json.loads(text)
    except (ValueError, TypeError):
        raise InvalidInput.of("invalid_cursor", [Fault("--cursor", "is not one of this list")]) from None
    return int(at), str(source), str(event_id)


def _document(event: FoundEvent, customers: dict[str, str]) -> dict[str, Any]:
    return _with_data(event_document(event, customers.get(event.subject or "")))


def _with_data(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the event's data as the bytes that were sent, so that its numbers keep every digit."""
    return document | {"data": msgspec.Raw(document.pop("data_text").encode())}


@app.command(epilog="\b\nExample:\n  $ farthing events show req-8f14e --source gateway-eu")
def show(
    event_id: Id,
    source: Source = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show the whole way of one event: received, sealed or set aside, metered, billed, and what it cost.

    Its cost is the difference that it makes to the rate card's amount in the order of time, so the costs of all
    events sum to the amount. Coupons, commitments and minimums belong to the invoice as a whole.
    """
    with opened(data, tenant, make=False) as house:
        document = trace_event(house.books, house.store, house.tenant_id, source, event_id, house.clock())
    if as_json:
        print_exact_json(_with_data(document))
        return
    _print_way(document)


def _source_of(house: App, event_id: str, source: str | None) -> str:
    """The source that was named, or the only one that has the id."""
    if source is not None:
        return source
    return only_source(events_of_id(house.books, house.store, house.tenant_id, event_id), event_id)


def _print_way(way: dict[str, Any]) -> None:
    print_facts(
        {
            "Event": f"{way['id']} of {way['source']}",
            "Type": way["type"],
            "Customer": way["customer"] or (f"none (subject {way['subject']})" if way["subject"] else "none"),
            "Time": way["time"] + (" (of its receipt)" if way["time_is_receipt"] else ""),
            "Received": way["received_at"],
            "State": way["state"],
            "Data": way["data_text"],
        }
    )
    if way["received"]:
        print("\nSent in, as far back as the log is kept")
        print_table(
            [
                Column("Received", whole=True),
                Column("By"),
                Column("Became", whole=True),
                Column("Sealed", whole=True),
                Column("Log"),
            ],
            [
                [
                    _second(one["received_at"]),
                    one["origin"],
                    one["outcome"],
                    _second(one["sealed_at"]),
                    f"{one['log_file']} {one['offset']}",
                ]
                for one in way["received"]
            ],
        )
    for row in way["quarantined"]:
        closed = f", {row['resolution']}" if row["resolution"] else ""
        print(f"\nQuarantined as {row['quarantine_id']}: {row['reason']}, {printable(row['detail'])}{closed}")
    for one in way["corrections"]:
        print("\n" + printable(_said(one)))
    if way["meters"]:
        print("\nMeters that counted it" if way["state"] == "voided" else "\nMeters that count it")
        print_table(
            [Column("Meter"), Column("Takes", "right")],
            [[one["meter"], one["value"]] for one in way["meters"]],
        )
    for bill in way["bills"]:
        _print_bill(bill)
    if way["unbilled"]:
        print(f"\nNobody is billed for it: {_WHY[way['unbilled']]}")


def _second(instant: str | None) -> str:
    return "-" if instant is None else moment(parse_instant(instant, ""))


_WHY = {
    "unknown_subject": "its subject is no customer and no alias of one",
    "unknown_type": "no meter counts its type",
    "filtered_out": "every meter of its type leaves it out",
    "no_subscription": "the customer has no subscription at that time with a rate card for it",
}


def _said(one: dict[str, Any]) -> str:
    what = "voided by" if one["kind"] == "void" else "replaced by"
    since = one["in_effect_since"]
    reason = f": {one['reason']}" if one["reason"] else ""
    effect = f", in effect since {since}" if since else ", its event has not come"
    corrects, by = one["corrects"], one["by"]
    return f"{corrects['id']} of {corrects['source']}: {what} {by['id']} of {by['source']}{effect}{reason}"


def _print_bill(bill: dict[str, Any]) -> None:
    period = f"{bill['period']['start']} to {bill['period']['end']}"
    invoice = bill["invoice"]
    if invoice is None:
        where = {"open": "a period that is open", "due": "due, not issued yet"}[bill["status"]]
    elif invoice["came_later"]:
        where = f"after {invoice['number']} was issued, {_second(invoice['issued_at'])}"
    else:
        where = f"on {invoice['number']}, issued {_second(invoice['issued_at'])}"
    print(f"\nBilled to {printable(bill['subscription'])}, {period}: {where}")
    print_table(
        [Column("Rate card"), Column("Costs", "right"), Column("All of the period", "right"), Column("")],
        [
            [
                one["name"],
                "-" if one["amount_exact"] is None else money(one["amount_exact"], bill["currency"]),
                money(one["whole_amount_exact"], bill["currency"]),
                f"not billed: {one['not_billed']}"
                if one["not_billed"]
                else ("priced as a whole" if one["prices_whole_total"] else ""),
            ]
            for one in bill["rate_cards"]
        ],
    )


@app.command("void", epilog="\b\nExample:\n  $ farthing events void req-8f14e --reason 'sent by a test'")
def void(
    event_id: Id,
    source: Source = None,
    reason: Reason = "",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Let an event no longer count. It stays where it is, its id stays taken, and it is shown as voided.

    What was invoiced stays as it was invoiced.
    """
    with opened(data, tenant, make=False) as house, _log_of(house) as log:
        named = _source_of(house, event_id, source)
        sent = void_event(
            house.books, house.store, log, house.tenant_id, named, event_id, reason, house.clock()
        )
        _take_effect(house)
    _print_sent(sent, as_json)


@app.command(
    "replace",
    epilog="\b\nExample:\n  $ farthing events replace req-8f14e --with right.json --reason 'wrong model'",
)
def replace(
    event_id: Id,
    replacement: Annotated[
        Path,
        typer.Option(
            "--with", metavar="FILE", help="The event in its place; type, subject and time are as they were."
        ),
    ],
    source: Source = None,
    reason: Reason = "",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Let another event count in place of one, under an id of its own."""
    said = _read_event(replacement)
    with opened(data, tenant, make=False) as house, _log_of(house) as log:
        named = _source_of(house, event_id, source)
        sent = replace_event(
            house.books, house.store, log, house.tenant_id, named, event_id, reason, said, house.clock()
        )
        _take_effect(house)
    _print_sent(sent, as_json)


def _read_event(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound("file_not_found", f"there is no file {path}", path="--with")
    with path.open("rb") as file:
        text = file.read(EVENT_BYTES_MAX + 1)
    try:
        said = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("malformed_json", f"{path} is not valid JSON: {error}", path="--with") from None
    if not isinstance(said, dict):
        raise InvalidInput("not_an_event", f"{path} holds no event", path="--with")
    return said


@contextmanager
def _log_of(house: App) -> Iterator[LogWriter]:
    log = LogWriter(house.log_dir, f"correct-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield log
    finally:
        log.close()


def _take_effect(house: App) -> None:
    seal_what_waits(house.books, house.store, house.settings.lateness, house.clock, SEAL_WAIT_SECONDS)


def _print_sent(sent: Sent, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "kind": sent.kind,
                "by": {"source": sent.source, "id": sent.event_id},
                "corrects": {"source": sent.target_source, "id": sent.target_id},
                "again": sent.again,
            }
        )
        return
    done = "voided" if sent.kind == "void" else "replaced"
    before = " before" if sent.again else ""
    print(printable(f"{sent.target_id} of {sent.target_source} was {done}{before}, by {sent.event_id}."))


@app.command("corrections", epilog="\b\nExample:\n  $ farthing events corrections --customer acme")
def corrections(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Of this customer's events.")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List corrections, in the order in which they took effect."""
    with opened(data, tenant, make=False) as house:
        found = list_corrections(house.books, house.tenant_id, after, limit + 1, customer)
    shown_rows, more = [correction_document(row) for row in found[:limit]], len(found) > limit
    if as_json:
        print_json({"corrections": shown_rows, "more": more})
        return
    if not shown_rows:
        print("No event was corrected.")
        return
    print_table(
        [
            Column("Id", "right"),
            Column("Kind", whole=True),
            Column("Event"),
            Column("By"),
            Column("Customer"),
            Column("Reason"),
        ],
        [
            [
                str(one["correction_id"]),
                one["kind"],
                one["corrects"]["id"],
                one["by"]["id"],
                one["customer"] or "-",
                one["reason"],
            ]
            for one in shown_rows
        ],
    )
    if more:
        print(f"There are more: --after {shown_rows[-1]['correction_id']}")
    print(plural(len(shown_rows), "correction"))


@app.command("later", epilog="\b\nExample:\n  $ farthing events later INV-000017")
def later(
    number: Annotated[str, typer.Argument(metavar="INVOICE", help="The number of an invoice.")],
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List events that came to an invoice's period, or were voided, after it was issued. The invoice stands."""
    with opened(data, tenant, make=False) as house:
        found = effects_after_invoice(house.books, house.store, house.tenant_id, number, limit)
    if as_json:
        print_json(found)
        return
    if not found["events"]:
        print("Nothing came to its period since it was issued.")
        return
    print_table(
        [Column("Since", whole=True), Column(""), Column("Time", whole=True), Column("Source"), Column("Id")],
        [
            [_second(one["known_at"]), one["effect"], one["time"], one["source"], one["id"]]
            for one in found["events"]
        ],
    )
    if found["more"]:
        print("There are more: --limit")
