"""`farthing accrued`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import (
    Column,
    moment,
    money,
    number,
    plural,
    print_json,
    print_table,
    printable,
    short_moment,
)
from farthing.cli.progress import progress_bar
from farthing.events.sealing.sealer import seal_here
from farthing.invoicing.accrued.service import charge_accrued, list_accrued
from farthing.kernel.instant import parse_instant

LIMIT_MAX = 1000

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing accrued --customer acme
  $ farthing accrued --charge        (the engine of `farthing serve` does this by itself)"""


@app.command(epilog=_EXAMPLE)
def accrued(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    charge: Annotated[
        bool, typer.Option("--charge", help="First issue an interim invoice wherever a charge is due.")
    ] = False,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this subscription.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what has accrued in open periods, how much of it no invoice has billed, and when it is charged."""
    issued: list[str] = []
    with opened(data, tenant, make=False) as house, progress_bar("adding up"):
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        now = house.clock()
        if charge:
            issued = charge_accrued(house.books, house.store, house.tenant_id, now).issued
        found = list_accrued(house.books, house.store, house.tenant_id, now, after, limit + 1, customer)
    shown, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"accrued": shown, "more": more} | ({"issued": issued} if charge else {}))
        return
    if charge:
        print(
            f"Issued {plural(len(issued), 'interim invoice')}{': ' if issued else ''}{', '.join(issued)}.\n"
        )
    if not shown:
        print("No subscription is in a period now.")
        return
    columns = [Column("Subscription"), Column("Since", whole=True)]
    columns += [Column(title, "right") for title in ("Accrued", "Billed", "Unbilled", "Charged at")]
    print_table([*columns, Column("Or by", whole=True)], [_row(one) for one in shown])
    for one in shown:
        if one["held"] is not None:
            print(
                f"{printable(one['subscription'])} is not charged before its period ends: {_WHY[one['held']]}."
            )
    if more:
        print(f"There are more: --after {printable(str(shown[-1]['subscription']))}")


_WHY = {
    "prepaid_commitment": "a prepaid commitment pays for its usage",
    "wallet": "a wallet pays for its usage",
    "too_many_interim_invoices": "the period has as many interim invoices as it may have",
    "not_rated": "its usage cannot be rated",
}


def _row(one: dict[str, Any]) -> list[str]:
    threshold = one["threshold"]
    at_end = one["collection"]["mode"] == "at_period_end"
    return [
        one["subscription"],
        short_moment(one["period"]["start"]),
        number(one["accrued"]),
        number(one["billed"]),
        number(one["unbilled"]),
        "" if threshold is None else money(threshold, one["currency"]),
        _when(one["period"]["end"] if at_end or one["charge_by"] is None else one["charge_by"]),
    ]


def _when(text: str) -> str:
    """A moment at whole seconds, a midnight as its date."""
    return short_moment(moment(parse_instant(text, "")))
