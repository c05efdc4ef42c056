"""`farthing limits`."""

from typing import Annotated

import typer

from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, print_json, print_table, printable
from farthing.wallets.holds.content import limit_json
from farthing.wallets.holds.lookup import delete_limit, list_limits, put_limit
from farthing.wallets.holds.model import Level, SpendingLimit

LIMIT_MAX = 100

app = new_app(help="Spending limits: how much may be authorised in each period.", no_args_is_help=True)

_SET = """\b
Examples:
  $ farthing limits set acme 100 --every day
  $ farthing limits set acme 20 --every month --project chat

One of the same customer, project or API key, and interval is replaced."""


@app.command("set", epilog=_SET)
def set_one(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The key of the customer.")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the customer's currency.")],
    every: Annotated[
        str, typer.Option(metavar="INTERVAL", help="day, week, month, quarter, half_year or year.")
    ],
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Of one of its projects.")] = None,
    api_key: Annotated[str | None, typer.Option(metavar="NAME", help="Of one of its API keys.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Set a limit: for a customer in all, for one of its projects, or for one of its API keys."""
    if project is not None and api_key is not None:
        raise typer.BadParameter("stands beside --project: set one limit for each", param_hint="--api-key")
    wanted = {"customer": customer, "amount": amount, "interval": every}
    if project is not None:
        wanted |= {"level": Level.PROJECT.value, "name": project}
    if api_key is not None:
        wanted |= {"level": Level.API_KEY.value, "name": api_key}
    with opened(data, tenant, make=False) as house:
        limit, spent, outcome = put_limit(house.books, house.tenant_id, wanted, house.clock())
    if as_json:
        print_json(limit_json(limit, spent) | {"outcome": str(outcome)})
        return
    said = "is already" if outcome is Outcome.UNCHANGED else "is now"
    print(
        f"The limit of {_whose(limit)} {said} {number(limit.amount)} {limit.currency} a {limit.interval.value}; "
        f"{number(spent.held)} held and {number(spent.spent)} spent count against it."
    )


@app.command("list", epilog="\b\nExample:\n  $ farthing limits list --customer acme")
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List limits, each with what counts against it in its present period."""
    with opened(data, tenant, make=False) as house:
        found = list_limits(house.books, house.tenant_id, after, limit + 1, house.clock(), customer)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"limits": [limit_json(*one) for one in page], "more": more})
        return
    if not page:
        print("No spending limits.")
        return
    print_table(
        [
            Column("Id", "right"),
            Column("Customer"),
            Column("Of"),
            Column("Every", whole=True),
            Column("Limit", "right"),
            Column("Held", "right"),
            Column("Spent", "right"),
            Column("", whole=True),
        ],
        [
            [
                str(one.limit_id),
                one.customer,
                f"{one.level.value.replace('_', ' ')} {one.name}".strip(),
                one.interval.value,
                number(one.amount),
                number(spent.held),
                number(spent.spent),
                one.currency,
            ]
            for one, spent in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1][0].limit_id}")


@app.command(epilog="\b\nExample:\n  $ farthing limits remove 3")
def remove(
    limit_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="As `farthing limits list` shows it.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Remove a limit: from now on it bounds nothing."""
    with opened(data, tenant, make=False) as house:
        limit, spent = delete_limit(house.books, house.tenant_id, limit_id, house.clock())
    if as_json:
        print_json(limit_json(limit, spent))
    else:
        print(f"The limit of {_whose(limit)} a {limit.interval.value} is removed.")


def _whose(limit: SpendingLimit) -> str:
    own = (
        ""
        if limit.level is Level.CUSTOMER
        else f", {limit.level.value.replace('_', ' ')} {printable(limit.name)}"
    )
    return f"{printable(limit.customer)}{own}"
