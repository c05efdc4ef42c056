"""`farthing credit-notes`."""

from datetime import datetime
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.correcting import EVENTS_EXAMPLE, events
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import (
    Column,
    moment,
    money,
    number,
    print_facts,
    print_json,
    print_table,
)
from farthing.cli.paper import PaperFile, write_paper
from farthing.invoicing.credit_notes.service import get_credit_note, list_credit_notes
from farthing.invoicing.paper.tax import tax_rows
from farthing.invoicing.service import get_seller

LIMIT_MAX = 100

app = new_app(help="Credit notes; `farthing invoices credit` issues them.", no_args_is_help=True)
app.command(epilog=EVENTS_EXAMPLE)(events)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="Like CN-000001.")]


@app.command("list", epilog="\b\nExample:\n  $ farthing credit-notes list --customer acme")
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    invoice: Annotated[str | None, typer.Option(metavar="NUMBER", help="Only those of this invoice.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NUMBER", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List credit notes in the order of their issue."""
    with opened(data, tenant, make=False) as house:
        found = list_credit_notes(
            house.books, house.tenant_id, after, limit + 1, customer=customer, invoice=invoice
        )
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"credit_notes": page, "more": more})
        return
    if not page:
        print("No credit notes.")
        return
    columns = [Column("Number", whole=True), Column("Of", whole=True), Column("Customer"), Column("Reason")]
    columns += [Column("Issued", whole=True), Column("Refund"), Column("Total", "right")]
    print_table(columns, [_row(one) for one in page])
    if more:
        print(f"There are more: --after {page[-1]['number']}")


@app.command(epilog="\b\nExample:\n  $ farthing credit-notes show CN-000001")
def show(number_: Number, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show a credit note; with --json the document as it was issued."""
    with opened(data, tenant, make=False) as house:
        document = get_credit_note(house.books, house.tenant_id, number_)
    if as_json:
        print_json(document)
    else:
        print_credit_note(document)


def print_credit_note(document: dict[str, Any]) -> None:
    """A credit note for people."""
    currency = document["currency"]
    print_facts(
        {
            "Credit note": document["number"],
            "Of": document["invoice"],
            "To": f"{document['bill_to']['name']} ({document['customer']})",
            "Reason": document["reason"],
            "Issued": moment(datetime.fromisoformat(document["issued_at"])),
            "Refund": "to be paid back" if document["refund"] else "no, to the customer's credit",
        }
        | ({"To wallets": money(document["to_wallets"], currency)} if "to_wallets" in document else {})
    )
    print()
    columns = [Column("Of line", "right"), Column("What"), Column("Quantity", "right")]
    print_table(
        [*columns, Column(currency, "right")],
        [
            [
                str(line["of"]),
                line["description"],
                "" if line["quantity"] is None else number(line["quantity"]),
                line["amount"],
            ]
            for line in document["lines"]
        ],
    )
    print()
    taxes = [tax["amount"] for tax in document.get("taxes", ())] or [document["tax"]]
    totals = [("Subtotal", document["subtotal"])]
    totals += zip((name for name, _ in tax_rows(document)), taxes, strict=True)
    totals.append(("Total", document["total"]))
    width = max(len(money(amount, currency)) for _, amount in totals)
    print_facts({name: money(amount, currency).rjust(width) for name, amount in totals})


@app.command(epilog="\b\nExample:\n  $ farthing credit-notes pdf CN-000001 -o credit.pdf")
def pdf(
    number_: Number,
    output: PaperFile = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write a credit note as PDF."""
    from farthing.invoicing.credit_notes.paper import render_credit_note

    with opened(data, tenant, make=False) as house:
        document = get_credit_note(house.books, house.tenant_id, number_)
        content = render_credit_note(document, get_seller(house.books, house.tenant_id))
    write_paper(content, output, document["number"], as_json)


def _row(one: dict[str, Any]) -> list[str]:
    refund = "yes" if one["refund"] else "no"
    total = money(one["total"], one["currency"])
    return [
        one["number"],
        one["invoice"],
        one["customer"],
        one["reason"],
        one["issued_at"][:10],
        refund,
        total,
    ]
