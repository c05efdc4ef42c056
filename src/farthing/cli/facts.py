"""`farthing facts`: what happened that the world outside may want to know."""

from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, print_json, print_table, short_moment
from farthing.db.outbox import FACTS_READ_MAX, fact_document, facts_after

app = new_app()


@app.command(epilog="\b\nExample:\n  $ farthing facts --kind 'wallet.*' --after 120")
def facts(
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only these, such as wallet.low_balance, or wallet.*")
    ] = None,
    after: Annotated[int, typer.Option(metavar="POSITION", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=FACTS_READ_MAX - 1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List what happened, in order: each fact once, with a position to go on behind."""
    with opened(data, tenant, make=False) as house:
        found = facts_after(house.books, house.tenant_id, after, limit + 1, kind)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"facts": [fact_document(one) for one in page], "more": more})
        return
    if not page:
        print("Nothing has happened behind that." if after else "Nothing has happened yet.")
        return
    print_table(
        [
            Column("Position", "right"),
            Column("When", whole=True),
            Column("Kind", whole=True),
            Column("Of"),
            Column("More"),
        ],
        [
            [
                str(one.position),
                moment(one.fact.occurred_at),
                one.fact.kind,
                one.fact.subject,
                ", ".join(f"{name} {_said(value)}" for name, value in one.fact.body.items()),
            ]
            for one in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1].position}")


def _said(value: object) -> str:
    """A value for a person: `yes` and `no`, times to the minute, and what is not there as a dash."""
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else short_moment(str(value))
