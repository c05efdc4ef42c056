"""`farthing billing-terms`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, opened
from farthing.cli.output import money, plural, print_facts, print_json
from farthing.customers.terms.service import get_billing_terms, put_billing_terms

app = new_app(help="How invoices come about: the smallest invoice, the grace.", no_args_is_help=True)

Customer = Annotated[
    str | None, typer.Option(metavar="KEY", help="Of this customer; the tenant's if left out.")
]

_SET = """\b
Examples:
  $ echo '{smallest_invoice: {USD: "5"}, grace_hours: 72}' | farthing billing-terms set -
  $ echo '{smallest_invoice: {USD: "0"}}' | farthing billing-terms set - --customer acme"""


@app.command(epilog="\b\nExample:\n  $ farthing billing-terms show --customer acme")
def show(
    customer: Customer = None, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """Show the terms in force: the tenant's, or what holds for a customer."""
    with opened(data, tenant, make=False) as house:
        found = get_billing_terms(house.books, house.tenant_id, customer)
    _print(found, as_json)


@app.command("set", epilog=_SET)
def set_terms(
    file: DocumentFile,
    customer: Customer = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say how invoices come about from now on, in place of what was said before."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        found = put_billing_terms(house.books, house.tenant_id, customer, document or {}, house.clock())
    _print(found, as_json)


@app.command(epilog="\b\nExample:\n  $ farthing billing-terms unset --customer acme")
def unset(
    customer: Annotated[str, typer.Option(metavar="KEY", help="The customer.", show_default=False)],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Take a customer's own terms away: those of the tenant hold again."""
    with opened(data, tenant, make=False) as house:
        found = put_billing_terms(house.books, house.tenant_id, customer, None, house.clock())
    _print(found, as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    terms = found["billing_terms"]
    smallest = [money(amount, currency) for currency, amount in terms.get("smallest_invoice", {}).items()]
    facts = {"Customer": found["customer"]} if found["customer"] is not None else {}
    print_facts(
        facts
        | {
            "Smallest invoice": ", ".join(smallest) or "any amount",
            "Grace": plural(terms.get("grace_hours", 0), "hour"),
            "Collective invoices": "yes" if terms.get("collective") else "no",
        }
    )
