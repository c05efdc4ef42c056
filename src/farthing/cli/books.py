"""`farthing books`: closing months, and recognising what was invoiced in advance."""

from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, moment, plural, print_facts, print_json, print_table, printable
from farthing.finance.service import close_books, recognise_revenue
from farthing.finance.wire import closing_document
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant
from farthing.ledger.model import PeriodClosing
from farthing.ledger.service import close_period, period_closings

LIMIT_MAX = 10_000

app = new_app(help="The books: close, reopen, closings, recognise.", no_args_is_help=True)

Until = Annotated[str, typer.Option("--until", metavar="TIME", help="Up to then: a date or a time.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays to be read.")]


@app.command(epilog="\b\nExample:\n  $ farthing books close --until 2026-02-01 --reason 'January is filed'")
def close(
    until: Until,
    reason: Reason,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Recognise what was rendered, then refuse whatever would take effect before then."""
    end = parse_moment(until, timezone, "--until")
    with opened(data, tenant, make=False) as house:
        done = close_books(house.books, house.tenant_id, end, reason, house.clock())
    _say(done, as_json)


@app.command(
    epilog="\b\nExample:\n  $ farthing books reopen --until 2026-01-01 --reason 'an invoice was missing'"
)
def reopen(
    reason: Reason,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Keep closed up to then; else all is open.", show_default=False
        ),
    ] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Open again what was closed, all of it or back to an earlier end."""
    end = None if until is None else parse_moment(until, timezone, "--until")
    with opened(data, tenant, make=False) as house:
        standing = period_closings(house.books, house.tenant_id, 1)
        closed = standing[0].closed_until if standing else None
        if closed is None or (end is not None and end >= closed):
            said = (
                "nothing is closed"
                if closed is None
                else f"the books are closed until {format_instant(closed)}"
            )
            raise InvalidInput(
                "invalid_period_closing", f"{said}; that would not reopen anything", path="--until"
            )
        done = close_period(house.books, house.tenant_id, end, reason, house.clock())
    _say(done, as_json)


@app.command(epilog="\b\nExample:\n  $ farthing books closings")
def closings(
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List every closing and reopening, the last one, which holds, first."""
    with opened(data, tenant, make=False) as house:
        found = period_closings(house.books, house.tenant_id, limit)
    if as_json:
        print_json({"closings": [closing_document(one) for one in found]})
        return
    if not found:
        print("The books were never closed.")
        return
    print_table(
        [Column("Closed until", whole=True), Column("Since", whole=True), Column("Reason")],
        [
            [
                "all is open" if one.closed_until is None else moment(one.closed_until),
                moment(one.closed_at),
                one.reason,
            ]
            for one in found
        ],
    )


@app.command(epilog="\b\nExample:\n  $ farthing books recognise --until 2026-02-01")
def recognise(
    until: Until,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Book as revenue what was rendered by then of what was invoiced in advance. The engine does it, too."""
    end = parse_moment(until, timezone, "--until")
    with opened(data, tenant, make=False) as house:
        done = recognise_revenue(house.books, house.tenant_id, end, house.clock())
    if as_json:
        print_json({"until": format_instant(done.until), "booked": done.booked})
    else:
        print(f"{plural(done.booked, 'transfer')} booked; all is recognised up to {moment(done.until)}.")


def _say(done: PeriodClosing, as_json: bool) -> None:
    if as_json:
        print_json(closing_document(done))
        return
    until = "nothing: all is open" if done.closed_until is None else moment(done.closed_until)
    print_facts({"Closed until": until, "Reason": printable(done.reason)})
