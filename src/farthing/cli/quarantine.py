"""`farthing quarantine`: events that were accepted and are not counted."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from farthing.app import App
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, plural, print_facts, print_json, print_table, printable
from farthing.events.engine import seal_what_waits
from farthing.events.log.files import LogWriter
from farthing.events.model import EVENT_BYTES_MAX
from farthing.events.resolve import Resent, Retried, drop, open_events, outcome_of, resend
from farthing.events.service import quarantined, quarantined_event
from farthing.kernel.errors import InvalidInput, NotFound
from farthing.kernel.instant import format_instant

LIMIT_MAX = 10_000
SEAL_WAIT_SECONDS = 60
"""How long a running engine may take to seal what was retried."""

app = new_app(
    help="Events that were accepted and are not counted, each with the reason.", no_args_is_help=True
)


Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="ID", min=1, help="As `farthing quarantine list` shows them.", show_default=False),
]
Reason = Annotated[str | None, typer.Option(help="All open ones of this reason, such as conflict.")]


@app.command("list", epilog="\b\nExample:\n  $ farthing quarantine list --reason conflict --limit 20")
def list_some(
    reason: Annotated[str | None, typer.Option(help="Only this one, such as conflict.")] = None,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Those that were retried or dropped, in place of the open ones."),
    ] = False,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List quarantined events that nothing was done about yet, oldest first."""
    with opened(data, tenant, make=False) as house:
        found = quarantined(
            house.books, house.tenant_id, reason=reason, resolved=resolved, after=after, limit=limit + 1
        )
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"quarantined": [_document(row) for row in page], "more": more})
        return
    if not page:
        print("Nothing." if reason or after or resolved else "Nothing is open in quarantine.")
        return
    closed = [Column("Closed", whole=True)] if resolved else []
    rows = [
        [
            str(row["quarantine_id"]),
            row["reason"],
            *([row["resolution"]] if resolved else []),
            row["origin"],
            row["detail"],
        ]
        for row in page
    ]
    print_table(
        [Column("Id", "right"), Column("Reason", whole=True), *closed, Column("From"), Column("Detail")], rows
    )
    if more:
        print(f"There are more: --after {page[-1]['quarantine_id']}")


@app.command(epilog="\b\nExample:\n  $ farthing quarantine show 17")
def show(
    quarantine_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, help="As `farthing quarantine list` shows it.")
    ],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show one quarantined event, its bytes as they were received."""
    with opened(data, tenant, make=False) as house:
        row = quarantined_event(house.books, house.tenant_id, quarantine_id)
    if as_json:
        print_json(_document(row))
        return
    print_facts(
        {
            "Reason": row["reason"],
            "Detail": row["detail"],
            "From": row["origin"],
            "Received": moment(row["received_at"]),
            **({row["resolution"].title(): moment(row["resolved_at"])} if row["resolution"] else {}),
        }
    )
    print("\n" + printable(_text(row), lines=True))


@app.command(
    epilog="\b\nExamples:\n  $ farthing quarantine retry --reason missing_value\n"
    "  $ farthing quarantine retry 17 --with corrected.json"
)
def retry(
    ids: Ids = None,
    reason: Reason = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    corrected: Annotated[
        Path | None,
        typer.Option("--with", metavar="FILE", help="Send this event in place of the one of the ID."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Send quarantined events in once more: after a meter was put right, say, or with a correction.

    Each goes through the door like any other event, is accepted once more, and keeps the moment of its
    first receipt. What it becomes (counted, a duplicate, in quarantine again) closes the old entry.
    Exit code 1: none of them is an event.
    """
    _check_choice(ids, reason, everything, "--reason, or --all")
    if corrected is not None and len(ids or ()) != 1:
        raise InvalidInput("invalid_choice", "--with is for one ID", path="--with")
    with opened(data, tenant, make=False) as house:
        chosen = sorted(set(ids)) if ids else open_events(house.books, house.tenant_id, reason)
        sent, became = _retried(house, chosen, None if corrected is None else _read(corrected))
    if as_json:
        print_json(asdict(became) | {"refused": [asdict(refused) for refused in sent.refused]})
    else:
        _print_retried(sent, became)
    return EXIT_NO if sent.refused and not sent.events else EXIT_OK


def _retried(house: App, ids: list[int], corrected: bytes | None) -> tuple[Resent, Retried]:
    """Send them through a log file of their own, so that it can be said what became of them."""
    log = LogWriter(house.log_dir, f"retry-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        sent = resend(house.books, house.tenant_id, log, ids, house.clock(), corrected)
    finally:
        log.close()
    seal_what_waits(house.books, house.store, house.settings.lateness, house.clock, SEAL_WAIT_SECONDS)
    return sent, outcome_of(house.books, house.tenant_id, sent.log_files)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound("file_not_found", f"there is no file {path}", path="--with")
    with path.open("rb") as file:
        return file.read(EVENT_BYTES_MAX + 1)


def _print_retried(sent: Resent, became: Retried) -> None:
    if not sent.events and not sent.refused:
        print("Nothing to retry.")
        return
    print(
        f"{plural(sent.events, 'event')} retried: {became.counted:,} counted, {became.duplicate:,} duplicate, "
        f"{became.quarantined:,} in quarantine again"
    )
    for reason, count in became.quarantined_by_reason.items():
        print(f"  {count:,} {printable(reason)}")
    for refused in sent.refused:
        print(f"Still open: {refused.quarantine_id} is no event: {printable(refused.message)}")


@app.command("drop", epilog="\b\nExample:\n  $ farthing quarantine drop 17 18")
def drop_some(
    ids: Ids = None,
    reason: Reason = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Close quarantined events that are not to be counted. They stay to be seen: list --resolved."""
    _check_choice(ids, reason, False, "--reason")
    with opened(data, tenant, make=False) as house:
        chosen = sorted(set(ids)) if ids else open_events(house.books, house.tenant_id, reason)
        dropped = drop(house.books, house.tenant_id, chosen, house.clock())
    if as_json:
        print_json({"dropped": dropped})
    else:
        print(f"{plural(dropped, 'event')} dropped.")


def _check_choice(ids: list[int] | None, reason: str | None, everything: bool, others: str) -> None:
    if [bool(ids), reason is not None, everything].count(True) != 1:
        raise InvalidInput("invalid_choice", f"say which: IDs, or {others}", path="ID")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "quarantine_id": row["quarantine_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "origin": row["origin"],
        "received_at": format_instant(row["received_at"]),
        "resolution": row["resolution"],
        "resolved_at": None if row["resolved_at"] is None else format_instant(row["resolved_at"]),
        "raw": _text(row),
    }


def _text(row: dict[str, Any]) -> str:
    return bytes(row["raw"]).decode("utf-8", "replace")
