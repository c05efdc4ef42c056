"""`farthing invoices`."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from farthing.cli.bill import INVOICE_COLUMNS, invoice_row
from farthing.cli.commands import new_app
from farthing.cli.correcting import CORRECT_EXAMPLE, POLICY_EXAMPLE, correct, correction_policy
from farthing.cli.drafts import ISSUE_EXAMPLE, State, issue, print_drafts
from farthing.cli.invoice_corrections import CREDIT_EXAMPLES, VOID_EXAMPLE, credit, void
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import (
    Column,
    moment,
    money,
    number,
    plural,
    print_facts,
    print_json,
    print_json_lists,
    print_table,
    printable,
    short_moment,
)
from farthing.cli.paper import PaperFile, write_paper
from farthing.cli.progress import progress_bar
from farthing.events.sealing.sealer import seal_here
from farthing.invoicing.drafts.service import list_drafts
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.paper.tax import tax_notes, tax_rows
from farthing.invoicing.paper.wording import in_unit
from farthing.invoicing.service import get_invoice, get_seller, invoices_named, list_invoices
from farthing.kernel.money import amount_text
from farthing.payments.content import balance_json
from farthing.payments.model import Balance, PaymentStatus, status_of
from farthing.payments.service import balances_of, overdue_invoices

LIMIT_MAX = 100
EVENTS_MAX = 1000
PRICE_SHOWN_MAX = 88

app = new_app(help="Issued invoices, and the next ones.", no_args_is_help=True)

app.command(epilog=CREDIT_EXAMPLES)(credit)
app.command(epilog=VOID_EXAMPLE)(void)
app.command(epilog=CORRECT_EXAMPLE)(correct)
app.command("correction-policy", epilog=POLICY_EXAMPLE)(correction_policy)
app.command(epilog=ISSUE_EXAMPLE)(issue)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="Like INV-000001.")]


@app.command("list", epilog="\b\nExample:\n  $ farthing invoices list --customer acme")
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    state: Annotated[State | None, typer.Option(help="Only such ones.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Begin behind this one (of drafts: its `draft`).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List invoices in the order of their issue, and how far each is paid.

    Drafts are due and wait until their grace is over; they are computed from usage as it is now.
    """
    with opened(data, tenant, make=False) as house:
        if state is State.DRAFT:
            seal_here(house.books, house.store, house.settings.lateness, house.clock)
            now = house.clock()
            drafts = list_drafts(house.books, house.store, house.tenant_id, now, after, limit + 1, customer)
            print_drafts(drafts[:limit], len(drafts) > limit, as_json)
            return
        if state is State.OVERDUE:
            numbers = overdue_invoices(
                house.books, house.tenant_id, house.clock(), after, limit + 1, customer
            )
            found = invoices_named(house.books, house.tenant_id, numbers)
        else:
            void = None if state is None else state is State.VOID
            found = list_invoices(house.books, house.tenant_id, after, limit + 1, customer, void=void)
        balances = balances_of(house.books, house.tenant_id, [invoice["number"] for invoice in found])
        now = house.clock()
    page = [invoice | balance_json(balances[invoice["number"]], now) for invoice in found[:limit]]
    more = len(found) > limit
    if as_json:
        print_json({"invoices": page, "more": more})
        return
    if not page:
        print("No invoices.")
        return
    columns = [*INVOICE_COLUMNS, Column("Open", "right"), Column("Payment", whole=True)]
    print_table(
        columns,
        [[*invoice_row(invoice), invoice["amount_open"], _payment_word(invoice)] for invoice in page],
    )
    if more:
        print(f"There are more: --after {page[-1]['number']}")


@app.command(epilog="\b\nExample:\n  $ farthing invoices upcoming --customer acme")
def upcoming(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Preview the next invoices as they stand now, by the code that issues them. Nothing is issued.

    A due invoice is what billing would issue now; a draft waits until its grace is over; an open one is its period
    as if it ended now.
    With --json: {"upcoming": [invoice, ...], "skipped": [...]}.
    """
    from farthing.invoicing.ahead.preview import preview_billing

    with opened(data, tenant, make=False) as house, progress_bar("drafting") as bar:
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        ahead = preview_billing(
            house.books,
            house.store,
            house.tenant_id,
            house.clock(),
            customer=customer,
            progress=lambda done, total: bar(done, total, f"{done:,} invoices"),
        )
    if as_json:
        print_json_lists({"upcoming": iter(ahead.upcoming), "skipped": iter(ahead.skipped)})
        return
    if not ahead.upcoming:
        print("No upcoming invoices.")
    for place, invoice in enumerate(ahead.upcoming):
        if place:
            print()
        period = invoice["period"]
        print_facts(
            {
                "For": f"{invoice['bill_to']['name']} ({invoice['customer']}, {invoice['subscription']})",
                "Period": f"{_period_text(period)}, {invoice['status']}",
            }
        )
        print()
        _print_lines(invoice)


@app.command(epilog="\b\nExample:\n  $ farthing invoices show INV-000001")
def show(number_: Number, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show an invoice; with --json the document as it was issued."""
    with opened(data, tenant, make=False) as house:
        invoice = get_invoice(house.books, house.tenant_id, number_)
        balance = balances_of(house.books, house.tenant_id, [number_])[number_]
        status = status_of(balance, house.clock())
    if as_json:
        print_json(invoice)
        return
    period = invoice["period"]
    print_facts(
        {
            "Invoice": invoice["number"],
            "From": invoice["seller"]["name"],
            "To": f"{invoice['bill_to']['name']} ({invoice['customer']})",
            "For": f"{invoice['plan']['name']}, {_period_text(period)}",
            "Issued": moment(datetime.fromisoformat(invoice["issued_at"])),
            "Due": moment(datetime.fromisoformat(invoice["due_at"])),
            **({"Void": invoice["void_reason"]} if invoice["status"] == "void" else {}),
            "Payment": _paid(status, balance, invoice["currency"]),
        }
    )
    print()
    _print_lines(invoice)


def _payment_word(invoice: dict[str, Any]) -> str:
    """`partly paid`; of a void invoice `void`, which says more than that nothing is open."""
    return "void" if invoice["status"] == "void" else str(invoice["payment_status"]).replace("_", " ")


def _paid(status: PaymentStatus, balance: Balance, currency: str) -> str:
    """`partly paid: 30.00 USD paid, 70.00 USD open`"""
    said = status.value.replace("_", " ")
    parts = [
        f"{money(amount_text(amount, currency), currency)} {what}"
        for amount, what in (
            (balance.paid, "paid"),
            (balance.credited, "credited"),
            (balance.written_off, "written off"),
            (balance.open, "open"),
        )
        if amount
    ]
    return f"{said}: {', '.join(parts)}" if parts else said


def _print_lines(invoice: dict[str, Any]) -> None:
    """The lines of an invoice and its totals."""
    currency = invoice["currency"]
    columns = [
        Column("#", "right"),
        Column("What"),
        Column("Quantity", "right"),
        Column("Exact", "right"),
        Column(currency, "right"),
    ]
    print_table(columns, [row for line in invoice["lines"] for row in _line_rows(line, invoice["period"])])
    print()
    totals = [("Subtotal", invoice["subtotal"]), *_taxes(invoice), ("Total", invoice["total"])]
    if "paid_from_wallets" in invoice:
        totals.append(("Paid from wallets", f"-{invoice['paid_from_wallets']}"))
        totals.append(("Amount due", invoice["amount_due"]))
    width = max(len(money(amount, currency)) for _, amount in totals)
    print_facts({name: money(amount, currency).rjust(width) for name, amount in totals})
    for note in tax_notes(invoice):
        print(printable(note))


def _taxes(invoice: dict[str, Any]) -> list[tuple[str, str]]:
    """Each tax with its amount; of an invoice from before a table of rates was loaded, one row of zero."""
    names = [name for name, _ in tax_rows(invoice)]
    amounts = [tax["amount"] for tax in invoice.get("taxes", ())] or [invoice["tax"]]
    return list(zip(names, amounts, strict=True))


def _line_rows(line: dict[str, Any], period: dict[str, str]) -> list[list[str]]:
    """The line; its time where that is not the invoice's; its charges where there are several.

    Of an adjustment, how it was reached.
    """
    served = line["service_period"]
    when = [] if served == period else [["", f"  {_period_text(served)}", "", "", ""]]
    if "adjustment" in line:
        row = [str(line["line"]), line["description"], "", number(line["amount_exact"]), line["amount"]]
        return [row, *when, *(["", f"  {charge['reason']}", "", "", ""] for charge in line["charges"])]
    dimensions = ", ".join(f"{name} {value}" for name, value in line["dimensions"].items())
    what = line["description"]
    if dimensions and not all(value in what for value in line["dimensions"].values()):
        what += f" ({dimensions})"
    first = [str(line["line"]), what, number(line["quantity"]), number(line["amount_exact"]), line["amount"]]
    charges = line["charges"] if len(line["charges"]) > 1 else []
    return [
        first,
        *when,
        *(["", f"  {charge_text(charge)}", "", number(charge["amount"]), ""] for charge in charges),
    ]


def _period_text(period: dict[str, str]) -> str:
    """`2026-01-01 - 2026-02-01`"""
    return f"{short_moment(period['start'])} - {short_moment(period['end'])}"


def charge_text(charge: dict[str, str]) -> str:
    """`1,000 x 0.01, tier 1`"""
    return f"{number(charge['quantity'])} x {number(charge['unit_price'])}, {charge['reason']}"


@app.command(epilog="\b\nExample:\n  $ farthing invoices pdf INV-000001 -o acme.pdf")
def pdf(
    number_: Number,
    output: PaperFile = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write an invoice as PDF."""
    from farthing.invoicing.paper.pdf import render_pdf

    with opened(data, tenant, make=False) as house:
        invoice = get_invoice(house.books, house.tenant_id, number_)
        content = render_pdf(invoice, get_seller(house.books, house.tenant_id))
    write_paper(content, output, invoice["number"], as_json)


@app.command(epilog="\b\nExample:\n  $ farthing invoices explain INV-000001 1")
def explain(
    number_: Number,
    line: Annotated[int, typer.Argument(metavar="LINE", min=1, help="The number of the line.")],
    limit: Annotated[int, typer.Option(min=1, max=EVENTS_MAX, help="Events to show at most.")] = 10,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say where a line comes from: its price, its charges, and the events behind its quantity.

    For what a coupon, a commitment or a minimum adds: the lines that it was made of.
    """
    with opened(data, tenant, make=False) as house:
        said = explain_line(house.books, house.store, house.tenant_id, number_, line, limit)
    if as_json:
        print_json(said)
        return
    found, currency = said["line"], said["currency"]
    print(f"{said['invoice']}, line {found['line']}: {printable(found['description'])}\n")
    print_facts(_origin(said))
    print()
    print_table(
        [
            Column("Charge"),
            Column("Quantity", "right"),
            Column("Unit price", "right"),
            Column("Amount", "right"),
        ],
        [
            [
                charge["reason"] + in_unit(charge),
                number(charge["quantity"]),
                number(charge["unit_price"]),
                number(charge["amount"]),
            ]
            for charge in found["charges"]
        ],
    )
    print(f"\nExactly {number(found['amount_exact'])}, on the invoice {money(found['amount'], currency)}.")
    if "corrects" in said:
        print(f"\nWhat came after {said['corrects']} was issued, as it stands now:")
        _print_events(said["events_total"], said["events"])
    for source in _sources(said):
        _print_usage(source, named="meters" in said)
    if said.get("of"):
        print("\nMade of these lines:\n")
        print_table(
            [Column("#", "right"), Column("What"), Column("Exact", "right"), Column("Of it", "right")],
            [
                [
                    str(one["line"]["line"]),
                    one["line"]["description"],
                    number(one["line"]["amount_exact"]),
                    number(one["share"]),
                ]
                for one in said["of"]
            ],
        )


def _sources(said: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said of the meter of a line, or of each of its meters."""
    if "meters" in said:
        sources: list[dict[str, Any]] = said["meters"]
        return sources
    return [said] if "meter" in said else []


def _origin(said: dict[str, Any]) -> dict[str, str]:
    period = said["line"]["service_period"]
    facts = {
        "Customer": f"{said['customer']} (subscription {said['subscription']})",
        "Period": _period_text(period),
    }
    plan = f"{said['plan']['key']} version {said['plan']['version']}"
    for name in ("coupon", "commitment", "minimum", "corrects"):
        if name in said:
            source = said[name]
            text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)
            return facts | {"Plan": plan, name.capitalize(): text}
    for name, title in (
        ("billed_on", "Billed on"),
        ("carried", "Carried"),
        ("carried_forward", "Carried forward"),
        ("brought_from", "Brought from"),
    ):
        if name in said:
            return facts | {"Plan": plan, title: said[name]}
    facts |= {"Plan": f"{plan}, rate card {said['rate_card']}", "Price": _price(said["price"])}
    for place, source in enumerate(_sources(said), start=1):
        meter = source["meter"]
        what = f"{meter['aggregation']} of {meter['value']}" if "value" in meter else meter["aggregation"]
        name = f"Meter {place}" if "meters" in said else "Meter"
        facts[name] = f"{meter['key']}: {what} over events of type {meter['event_type']}"
    return facts


def _price(price: dict[str, Any]) -> str:
    """On one line where it fits, else its model and where to find the rest."""
    text = json.dumps(price, ensure_ascii=False)
    return text if len(text) <= PRICE_SHOWN_MAX else f"{price['model']} (all of it with --json)"


def _print_usage(said: dict[str, Any], *, named: bool) -> None:
    """The events behind the quantity, as they stand now."""
    if named:
        print(f"\n{said['meter']['key']}: {number(said['quantity_billed'])}")
    if said["changed_since"]:
        print(
            f"Billed {number(said['quantity_billed'])}; events that came later make it "
            f"{number(said['quantity_now'])} now."
        )
    _print_events(said["events_total"], said["events"])


def _print_events(total: int, events: list[dict[str, Any]]) -> None:
    """The first of so many events."""
    if not events:
        print("No events are behind it.")
        return
    print(
        f"\n{plural(total, 'event')}" + (f", the first {len(events)}:" if total > len(events) else ":") + "\n"
    )
    print_table(
        [
            Column("Time", whole=True),
            Column("Subject"),
            Column("Source"),
            Column("Id"),
            Column("Value", "right"),
        ],
        [
            [event["time"], event["subject"] or "-", event["source"], event["id"], event["value"]]
            for event in events
        ],
    )
