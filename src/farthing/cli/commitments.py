"""`farthing commitments`."""

from typing import Annotated, Any

import typer

from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, opened
from farthing.cli.output import Column, number, print_json, print_table, printable
from farthing.customers.terms.content import commitment_json
from farthing.customers.terms.service import add_commitment
from farthing.invoicing.service import list_commitments
from farthing.kernel.instant import format_instant

app = new_app(help="What subscriptions are committed to.", no_args_is_help=True)

Subscription = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The key of the subscription.")]

_ADD = """\b
Example:
  $ echo '{key: y2026, kind: minimum, amount: "12000", interval: year, overage_percent: "120"}' \\
      | farthing commitments add acme-payg -

\b
Fields: kind minimum or prepaid; amount; start (of the subscription, if left out); end, or
interval and interval_count; optional overage_percent, rollover, rate_cards, name.
`farthing apply` takes them with a subscription."""


@app.command(epilog=_ADD)
def add(
    subscription: Subscription,
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Commit a subscription to an amount in a term. A commitment never changes afterwards."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        commitment, outcome = add_commitment(
            house.books, house.tenant_id, subscription, document, house.clock()
        )
    if as_json:
        print_json(commitment_json(commitment) | {"outcome": str(outcome)})
        return
    said = "is committed to" if outcome is Outcome.CREATED else "was committed already to"
    term = f"{_day(format_instant(commitment.term.start))} - {_day(format_instant(commitment.term.end))}"
    print(f"{printable(subscription)} {said} {number(commitment.amount)} ({commitment.kind}) in {term}.")


@app.command("list", epilog="\b\nExample:\n  $ farthing commitments list acme-payg")
def list_all(
    subscription: Subscription, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """List the commitments of a subscription, and how far issued invoices used them."""
    with opened(data, tenant, make=False) as house:
        found = list_commitments(house.books, house.tenant_id, subscription)
    if as_json:
        print_json({"commitments": found})
        return
    if not found:
        print("No commitments.")
        return
    print_table(
        [
            Column("Commitment"),
            Column("Kind", whole=True),
            Column("Term", whole=True),
            Column("Amount", "right"),
            Column("Used", "right"),
            Column("Left", "right"),
            Column("True-up or lapsed", "right"),
        ],
        [_row(one) for one in found],
    )


def _row(one: dict[str, Any]) -> list[str]:
    return [
        one["key"],
        one["kind"],
        f"{_day(one['start'])} - {_day(one['end'])}",
        number(one["amount"]),
        number(one["used"]),
        number(one["left"]),
        number(one["lapsed" if "lapsed" in one else "true_up"]),
    ]


def _day(text: str) -> str:
    return text.removesuffix("T00:00:00Z")
