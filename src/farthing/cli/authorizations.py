"""`farthing authorizations`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, print_json, print_table, printable
from farthing.kernel.quantity import ZERO
from farthing.wallets.holds.content import hold_json
from farthing.wallets.holds.lookup import get_authorization, list_authorizations, status_filter
from farthing.wallets.holds.model import Hold, Status

LIMIT_MAX = 100
STATUSES = tuple(status.value for status in Status if status is not Status.COUNTED)

app = new_app(help="Authorisations: money set aside for calls under way.", no_args_is_help=True)

_LIST = """\b
Example:
  $ farthing authorizations list --customer acme --status held

\b
held: its call is under way     settled: its call has happened, and its event counts
released: it has not happened   expired: nobody said in time"""


@app.command("list", epilog=_LIST)
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only these: held, settled, released or expired.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List authorisations in the order of their keys."""
    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"must be one of {', '.join(STATUSES)}", param_hint="--status")
    with opened(data, tenant, make=False) as house:
        found = list_authorizations(
            house.books, house.tenant_id, after, limit + 1, customer, status_filter(status)
        )
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"authorizations": [hold_json(hold) for hold in page], "more": more})
        return
    if not page:
        print("No authorisations.")
        return
    print_table(
        [
            Column("Authorisation"),
            Column("Customer"),
            Column("Status", whole=True),
            Column("Amount", "right"),
            Column("Settled", "right"),
            Column("Owed", "right"),
            Column("", whole=True),
            Column("Expires", whole=True),
        ],
        [_row(hold) for hold in page],
    )
    if more:
        print(f"There are more: --after {printable(page[-1].key)}")


def _row(hold: Hold) -> list[str]:
    shown = hold_json(hold)
    settled = "-" if hold.cost is None else number(hold.cost)
    owed = "-" if hold.cost is None else number(hold.cost - (hold.covered or ZERO))
    expires = shown["expires_at"].split(".")[0].rstrip("Z") + "Z"
    return [
        hold.key, hold.customer, shown["status"], number(hold.amount), settled, owed, hold.currency, expires,
    ]  # fmt: skip


@app.command(epilog="\b\nExample:\n  $ farthing authorizations show call-1")
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of the authorisation.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show an authorisation, and the grants that its money and units are set aside on."""
    with opened(data, tenant, make=False) as house:
        found = get_authorization(house.books, house.tenant_id, key)
    if as_json:
        print_json(found)
        return
    print(f"{printable(found['key'])}, of {printable(found['customer'])}: {found['status']}")
    print(f"  held      {found['amount']} {found['currency']}, at {found['created_at']}")
    for one in found.get("units", ()):
        settled = "" if one["settled"] is None else f", {number(one['settled'])} settled"
        print(f"  units     {number(one['held'])} {printable(one['unit'])} held{settled}")
    print(f"  expires   {found['expires_at']}")
    if "event" in found:
        event = found["event"]
        print(
            f"  settled   {found['settled']} {found['currency']}, at {found['ended_at']}; owed {found['owed']}"
        )
        print(f"  event     {printable(event['id'])} of {printable(event['source'])}")
        print(f"  counted   {found['counted_at'] or 'not yet'}")
    elif "ended_at" in found:
        print(f"  ended     {found['ended_at']}")
    parts = [["held", *_part(part)] for part in found["held_on"]]
    parts += [["settled", *_part(part)] for part in found["settled_on"]]
    if parts:
        print()
        print_table(
            [
                Column("On"),
                Column("Grant"),
                Column("Rate card"),
                Column("Period from", whole=True),
                Column("Amount", "right"),
            ],
            parts,
        )


def _part(part: dict[str, Any]) -> list[str]:
    amount = f"{number(part['amount'])} {part['unit']}" if "unit" in part else part["amount"]
    return [part["grant"], part["rate_card"], part["period_start"], amount]
