"""`farthing quarantine`: events that were accepted and are not counted."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, print_facts, print_json, print_table, printable
from farthing.events.service import quarantined, quarantined_event
from farthing.kernel.instant import format_instant

LIMIT_MAX = 10_000

app = new_app(
    help="Events that were accepted and are not counted, each with the reason.", no_args_is_help=True
)


@app.command("list", epilog="\b\nExample:\n  $ farthing quarantine list --reason conflict --limit 20")
def list_some(
    reason: Annotated[str | None, typer.Option(help="Only this one, such as conflict.")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List quarantined events, oldest first."""
    with opened(data, tenant, make=False) as house:
        found = quarantined(house.books, house.tenant_id, reason=reason, after=after, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"quarantined": [_document(row) for row in page], "more": more})
        return
    if not page:
        print("Nothing is in quarantine." if reason is None and not after else "Nothing.")
        return
    rows = [[str(row["quarantine_id"]), row["reason"], row["origin"], row["detail"]] for row in page]
    print_table(
        [Column("Id", "right"), Column("Reason", whole=True), Column("From"), Column("Detail")],
        rows,
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
        }
    )
    print("\n" + printable(_text(row), lines=True))


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "quarantine_id": row["quarantine_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "origin": row["origin"],
        "received_at": format_instant(row["received_at"]),
        "raw": _text(row),
    }


def _text(row: dict[str, Any]) -> str:
    return bytes(row["raw"]).decode("utf-8", "replace")
