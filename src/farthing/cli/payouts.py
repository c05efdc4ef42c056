"""`farthing payouts`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, money, number, print_facts, print_json, print_table, printable
from farthing.kernel.errors import NotFound, Unavailable
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import shown
from farthing.payments.gateway import OutcomeUnknown
from farthing.payments.paying_out.service import (
    confirm_arrival,
    get_payout,
    list_movements,
    list_payouts,
    sync_payouts,
)

LIMIT_MAX = 100
MOVEMENTS_SHOWN = 1000

app = new_app(help="Payouts: what gateways transfer to the bank.", no_args_is_help=True)

GatewayName = Annotated[str, typer.Argument(metavar="GATEWAY", help="Like stripe.")]
Payout = Annotated[str, typer.Argument(metavar="PAYOUT", help="The gateway's name for it.")]


@app.command("list", epilog="\b\nExample:\n  $ farthing payouts list --in-transit")
def list_some(
    gateway: Annotated[str | None, typer.Option(metavar="GATEWAY", help="Only this one's.")] = None,
    in_transit: Annotated[
        bool, typer.Option("--in-transit", help="Only those that have not come to the bank.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List payouts in the order in which they were learnt of."""
    with opened(data, tenant, make=False) as house:
        found = list_payouts(house.books, house.tenant_id, after, limit + 1, gateway, awaited=in_transit)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"payouts": [one for _, one in page], "more": more})
        return
    if not page:
        print("No payouts.")
        return
    print_table(
        [
            Column("Gateway"),
            Column("Payout"),
            Column("Amount", "right"),
            Column("State", whole=True),
            Column("Made", whole=True),
            Column("Arrives", whole=True),
        ],
        [
            [
                one["gateway"],
                one["payout"],
                money(one["amount"], one["currency"]),
                one["state"].replace("_", " "),
                one["made_at"][:10],
                (one["arrived_at"] or one["arrives_on"])[:10],
            ]
            for _, one in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1][0]}")


@app.command(epilog="\b\nExample:\n  $ farthing payouts show stripe po_1Nx")
def show(
    gateway: GatewayName, payout: Payout, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """Show a payout with the movements that it sums."""
    with opened(data, tenant, make=False) as house:
        found = get_payout(house.books, house.tenant_id, gateway, payout)
        moved = list_movements(house.books, house.tenant_id, gateway, payout, ("", ""), MOVEMENTS_SHOWN + 1)
    page, more = moved[:MOVEMENTS_SHOWN], len(moved) > MOVEMENTS_SHOWN
    if as_json:
        print_json(found | {"movements": page, "more": more})
        return
    facts = {
        "Payout": found["payout"],
        "Of": found["gateway"],
        "Amount": money(found["amount"], found["currency"]),
        "Movements": money(found["listed"], found["currency"]),
        "State": found["state"].replace("_", " "),
        "Made at": found["made_at"],
        "Arrives on": found["arrives_on"],
        "Arrived at": found["arrived_at"] or "",
        "Bank entry": str(found["bank_entry"] or ""),
        "Reference": found["reference"],
    }
    print_facts({name: value for name, value in facts.items() if value})
    print()
    print_table(
        [Column("Kind", whole=True), Column("There"), Column("Here"), Column("Amount", "right")],
        [[_kind(one), one["movement"], one["key"] or "-", one["amount"]] for one in page],
    )
    if more:
        print(f"The first {MOVEMENTS_SHOWN:,} are shown; /v1/payouts has all of them.")


def _kind(one: dict[str, Any]) -> str:
    return str(one["kind"]).replace("_", " ")


@app.command(epilog="\b\nExample:\n  $ farthing payouts sync stripe")
def sync(gateway: GatewayName, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Ask a gateway how money moved and what it paid out; look for it at the bank.

    The engine of `farthing serve` does it every hour; both at once are safe.
    """
    with opened(data, tenant, make=False) as house:
        own = house.gateways.get(gateway)
        if own is None:
            complaint = f"there is no gateway {shown(gateway)} in FARTHING_GATEWAYS"
            raise NotFound("unknown_gateway", complaint, path="GATEWAY")
        try:
            done = sync_payouts(house.books, house.tenant_id, own, house.clock())
        except OutcomeUnknown as error:
            raise Unavailable("gateway_unreachable", f"{gateway} does not answer: {error}") from None
    facts = {
        "New movements": done.movements,
        "Payouts": done.payouts,
        "Fees booked": done.fees,
        "Arrived": done.arrived,
    }
    if as_json:
        print_json({name.lower().replace(" ", "_"): value for name, value in facts.items()})
        return
    print_facts({name: number(value) for name, value in facts.items()})


@app.command(epilog="\b\nExample:\n  $ farthing payouts arrived stripe po_1Nx --at 2026-02-05")
def arrived(
    gateway: GatewayName,
    payout: Payout,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When; now, if left out.")] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say that a payout is at the bank, where no statement of the bank's is imported. Again, it changes nothing."""
    with opened(data, tenant, make=False) as house:
        now = house.clock()
        moment = now if at is None else parse_moment(at, timezone, "--at")
        raw = {"arrived_at": format_instant(moment)}
        found = confirm_arrival(house.books, house.tenant_id, gateway, payout, raw, now)
    if as_json:
        print_json(found)
        return
    print(
        f"{money(found['amount'], found['currency'])} of {printable(gateway)} arrived at {found['arrived_at']}."
    )
