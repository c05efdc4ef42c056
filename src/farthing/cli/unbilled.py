"""`farthing unbilled`: accepted events that nobody is billed for."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, money, number, plural, print_json, print_table
from farthing.cli.progress import progress_bar
from farthing.events.sealing.sealer import seal_here
from farthing.invoicing.explaining.unbilled import GROUPS_MAX, unbilled

app = new_app()

_CAUSES = {
    "unknown_subject": "subject is no customer",
    "unknown_type": "no meter for the type",
    "filtered_out": "left out by every meter",
    "no_subscription": "no subscription then",
    "no_rate_card": "no rate card for it",
}


@app.command("unbilled", epilog="\b\nExample:\n  $ farthing unbilled --from 2026-11-01 --to 2026-12-01")
def unbilled_events(
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First instant in: a date or a time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="First instant out.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GROUPS_MAX, help="Groups shown, the largest first.")] = 20,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List accepted events that nobody is billed for, by cause, and what they would make.

    They are kept. What lacks a customer or an alias, a meter, or a subscription counts as soon as there is one.
    The money is of customers' events from times without a subscription, under the plan that they have now or
    had last, rated by themselves as one period.
    """
    first = None if start is None else parse_moment(start, timezone, "--from")
    last = None if end is None else parse_moment(end, timezone, "--to")
    with opened(data, tenant, make=False) as house, progress_bar("unbilled"):
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        found = unbilled(house.books, house.store, house.tenant_id, first, last, limit, house.clock())
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    if not found["events"]:
        print("Every event is on somebody's bill.")
        return
    print(f"{plural(found['events'], 'event')} on nobody's bill")
    print_table(
        [Column("Cause"), Column("Events", "right")],
        [[_CAUSES[cause], number(events)] for cause, events in found["by_cause"].items()],
    )
    print()
    print_table(
        [Column("Cause"), Column("Type"), Column("Subject"), Column("Events", "right"), Column("Such as")],
        [
            [
                _CAUSES[group["cause"]],
                group["type"],
                "-" if group["subject"] is None else group["subject"],
                number(group["events"]),
                ", ".join(sample["id"] for sample in group["samples"]),
            ]
            for group in found["groups"]
        ],
    )
    if found["groups_total"] > len(found["groups"]):
        print(f"and {plural(found['groups_total'] - len(found['groups']), 'group')} more: --limit")
    if found["would_make"]:
        print("\nFrom times without a subscription, under the plan of now or the last one")
        print_table(
            [Column("Customer"), Column("Plan"), Column("Would make", "right")],
            [
                [
                    made["customer"],
                    f"{made['plan']['key']}, version {made['plan']['version']}",
                    money(made["amount_exact"], made["currency"]),
                ]
                for made in found["would_make"]
            ],
        )
