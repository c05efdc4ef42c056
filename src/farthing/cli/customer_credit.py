"""`farthing payments balance` and `credits`: what customers owe, and what stands to their credit."""

from typing import Annotated

import typer

from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, money, number, print_facts, print_json, print_table
from farthing.kernel.instant import parse_instant
from farthing.payments.credit import customer_balance, list_credits

LIMIT_MAX = 100
BALANCE_EXAMPLE = "\b\nExample:\n  $ farthing payments balance acme"
CREDITS_EXAMPLE = "\b\nExample:\n  $ farthing payments credits --customer acme"


def balance(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The key of the customer.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show what is open of a customer's invoices, what stands to its credit, and where that comes from."""
    with opened(data, tenant, make=False) as house:
        found = customer_balance(house.books, house.tenant_id, customer)
    if as_json:
        print_json({"customer": customer, "balances": found})
        return
    if not found:
        print("Nothing is owed, and nothing stands to its credit.")
    for one in found:
        currency = one["currency"]
        facts = {"Open": money(one["open"], currency), "Credit": money(one["credit"], currency)}
        if one["refunds_under_way"] != "0":
            facts["Refunds under way"] = money(one["refunds_under_way"], currency)
        if one["owed_for_grants"] != "0":
            facts["Owed for grants"] = money(one["owed_for_grants"], currency)
        facts["Balance"] = money(one["balance"], currency)
        width = max(map(len, facts.values()))
        print_facts({name: said.rjust(width) for name, said in facts.items()})
        if one["credits"]:
            print()
            print_table(
                [
                    Column("Credit of", whole=True),
                    Column("Reference"),
                    Column("Since", whole=True),
                    Column("Left", "right"),
                    Column("Of", "right"),
                ],
                [
                    [
                        credit["source"].replace("_", " "),
                        credit["reference"],
                        moment(parse_instant(credit["since"], "since")),
                        number(credit["left"]),
                        number(credit["amount"]),
                    ]
                    for credit in one["credits"]
                ],
            )


def credits_(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List credit that no payment brought: of invoices below zero, credit notes, grants that were called off."""
    with opened(data, tenant, make=False) as house:
        found = list_credits(house.books, house.tenant_id, after, limit + 1, customer)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"credits": [{"id": place} | one for place, one in page], "more": more})
        return
    if not page:
        print("No credits.")
        return
    print_table(
        [
            Column("Id", "right"),
            Column("Customer"),
            Column("Credit of", whole=True),
            Column("Reference"),
            Column("Amount", "right"),
            Column("Left", "right"),
            Column("Paid"),
        ],
        [
            [
                str(place),
                one["customer"],
                one["source"].replace("_", " "),
                one["reference"],
                money(one["amount"], one["currency"]),
                number(one["left"]),
                ", ".join(f"{number(paid['amount'])} of {paid['invoice']}" for paid in one["paid"]),
            ]
            for place, one in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1][0]}")
