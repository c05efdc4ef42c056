"""`farthing estimate`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, money, number, print_json, print_table
from farthing.cli.progress import progress_bar
from farthing.events.sealing.sealer import seal_here
from farthing.invoicing.ahead.estimate import parse_question
from farthing.invoicing.ahead.preview import estimate_usage
from farthing.kernel.reading import Faults

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing estimate tokens=1000000,model=opus calls=500 --customer acme
  $ farthing estimate tokens=1000000 --plan payg     (somebody who has used nothing)"""


@app.command(epilog=_EXAMPLE)
def estimate(
    usage: Annotated[
        list[str],
        typer.Argument(metavar="METER=QUANTITY[,DIMENSION=VALUE...]", help="Usage that has not happened."),
    ],
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Priced for this customer.")] = None,
    subscription: Annotated[str | None, typer.Option(metavar="KEY", help="On this subscription.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="KEY", help="On this plan, from zero.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what usage would add to the next invoice, before it happens. Nothing is stored.

    It is priced where the customer stands in tiers and free units, with coupons and commitments.
    """
    asked = {"customer": customer, "subscription": subscription, "plan": plan, "usage": _usage(usage)}
    question = parse_question(asked)
    with opened(data, tenant, make=False) as house, progress_bar("estimating"):
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        said = estimate_usage(house.books, house.store, house.tenant_id, question, house.clock())
    if as_json:
        print_json(said)
        return
    if said["lines"]:
        rows = [row for line in said["lines"] for row in _rows(line)]
        print_table([Column("What"), Column("Quantity", "right"), Column("Exact", "right")], rows)
        print()
    print(f"It adds {money(said['amount'], said['currency'])}, exactly {number(said['amount_exact'])}.")


def _usage(texts: list[str]) -> list[dict[str, Any]]:
    faults = Faults("invalid_estimate")
    found = []
    for text in texts:
        first, *rest = text.split(",")
        meter, equals, quantity = first.partition("=")
        dimensions: dict[str, str] = {}
        for part in rest:
            name, sign, value = part.partition("=")
            if not sign or name in dimensions:
                faults.add(text[:80], f"must have DIMENSION=VALUE, each once, not {part[:40]!r}")
            dimensions[name] = value
        if not equals:
            faults.add(text[:80], "must be METER=QUANTITY")
        found.append({"meter": meter, "quantity": quantity, "dimensions": dimensions})
    faults.refuse()
    return found


def _rows(line: dict[str, Any]) -> list[list[str]]:
    dimensions = ", ".join(f"{name} {value}" for name, value in line["dimensions"].items())
    what = line["description"] + (f" ({dimensions})" if dimensions else "")
    quantity = number(line["quantity"]) if line["meter"] else ""
    charges = [
        [
            f"  {number(one['quantity'])} x {number(one['unit_price'])}, {one['reason']}",
            "",
            number(one["amount"]),
        ]
        for one in line["charges"]
    ]
    return [[what, quantity, number(line["amount_exact"])], *(charges if len(charges) > 1 else [])]
