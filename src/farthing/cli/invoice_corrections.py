"""`farthing invoices credit` and `void`: what corrects an invoice."""

from typing import Annotated, Any

import typer

from farthing.catalog.model import Outcome
from farthing.cli.credit_notes import print_credit_note
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import print_json, printable
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.kernel.errors import InvalidInput

CREDIT_EXAMPLES = """\b
Examples:
  $ farthing invoices credit INV-000001 outage-3-may "Outage on 3 May" --amount 11.90
  $ farthing invoices credit INV-000001 wrong-model "Wrong model" --line 1:500 --line 2
  $ farthing invoices credit INV-000001 cancelled "Contract cancelled" --refund

\b
--line NUMBER gives back what is left of a line, NUMBER:QUANTITY so much of it.
Without --amount and --line all that is left of the invoice is given back."""
VOID_EXAMPLE = '\b\nExample:\n  $ farthing invoices void INV-000001 "Billed to the wrong customer"'

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="Like INV-000001.")]


def credit(
    number_: Number,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Yours: the same key gives back once.")],
    reason: Annotated[str, typer.Argument(metavar="REASON", help="What stands on the credit note.")],
    amount: Annotated[str | None, typer.Option(metavar="AMOUNT", help="So much, with tax.")] = None,
    line: Annotated[
        list[str] | None, typer.Option(metavar="LINE[:QUANTITY]", help="A line; may be repeated.")
    ] = None,
    refund: Annotated[
        bool, typer.Option("--refund", help="To be paid back; else it stands to the customer's credit.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Issue a credit note: give back all of an invoice, an amount, or lines. Never over what was billed."""
    body: dict[str, Any] = {"key": key, "invoice": number_, "reason": reason, "refund": refund}
    if amount is not None:
        body["amount"] = amount
    if line:
        body["lines"] = [_line(text) for text in line]
    with opened(data, tenant, make=False) as house:
        document, outcome = issue_credit_note(house.books, house.tenant_id, body, house.clock())
    if as_json:
        print_json(document | {"outcome": outcome.value})
        return
    if outcome is Outcome.UNCHANGED:
        print(f"It was given back already, as {document['number']}:\n")
    print_credit_note(document)


def void(
    number_: Number,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why it is taken back.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Take back an issued invoice whole. What it billed is billed again by the next run.

    Only the last invoice of its subscription that holds; for an earlier one issue a credit note.
    """
    with opened(data, tenant, make=False) as house:
        document, outcome = void_invoice(house.books, house.tenant_id, number_, reason, house.clock())
    if as_json:
        print_json(document | {"outcome": outcome.value})
        return
    said = "is void" if outcome is Outcome.CHANGED else "was void already"
    print(f"{document['invoice']} {said}: {printable(document['void_reason'])}")


def _line(text: str) -> dict[str, Any]:
    place, colon, quantity = text.partition(":")
    if not place.isascii() or not place.isdigit() or len(place) > 9 or (colon and not quantity):
        raise InvalidInput("invalid_line", f"{printable(text[:40])} must be like 2 or 2:500", path="--line")
    return {"line": int(place)} | ({"quantity": quantity} if colon else {})
