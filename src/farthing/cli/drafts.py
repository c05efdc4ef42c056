"""Drafts at the command line: part of `farthing invoices`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, money, number, plural, print_json, print_table, short_moment
from farthing.events.sealing.sealer import seal_here
from farthing.invoicing.drafts.service import issue_early

ISSUE_EXAMPLE = "\b\nExample:\n  $ farthing invoices issue --customer acme"


class State(StrEnum):
    """Which invoices are listed."""

    DRAFT = "draft"
    ISSUED = "issued"
    VOID = "void"
    OVERDUE = "overdue"


def issue(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Those of this customer.")] = None,
    subscription: Annotated[str | None, typer.Option(metavar="KEY", help="Of this subscription.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Issue what is due of a customer or a subscription now, without waiting until its grace is over."""
    asked = {"customer": customer, "subscription": subscription}
    with opened(data, tenant, make=False) as house:
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        result = issue_early(house.books, house.store, house.tenant_id, asked, house.clock())
    if as_json:
        print_json({"issued": result.issued, "skipped": result.skipped})
        return
    print(f"Issued {plural(len(result.issued), 'invoice')}" + (":" if result.issued else "."))
    for issued in result.issued:
        print(f"  {issued}")


def print_drafts(drafts: list[dict[str, Any]], more: bool, as_json: bool) -> None:
    """A page of drafts."""
    if as_json:
        print_json({"drafts": drafts, "more": more})
        return
    if not drafts:
        print("No drafts.")
        return
    columns = [
        Column("Customer"),
        Column("Subscription"),
        Column("Period", whole=True),
        Column("Exact", "right"),
        Column("Total", "right"),
        Column("Issued at", whole=True),
    ]
    print_table(
        columns,
        [
            [
                draft["customer"],
                draft["subscription"],
                f"{short_moment(draft['period']['start'])} - {short_moment(draft['period']['end'])}",
                number(draft["total_exact"]),
                money(draft["total"], draft["currency"]),
                short_moment(draft["issue_at"]),
            ]
            for draft in drafts
        ],
    )
    if more:
        print(f"There are more: --after {drafts[-1]['draft']}")
