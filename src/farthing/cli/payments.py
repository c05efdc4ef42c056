"""`farthing payments`."""

from typing import Annotated, Any

import typer

from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.customer_credit import BALANCE_EXAMPLE, CREDITS_EXAMPLE, balance, credits_
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import (
    Column,
    moment,
    money,
    number,
    plural,
    print_facts,
    print_json,
    print_table,
    printable,
)
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.money import amount_text
from farthing.kernel.quantity import plain
from farthing.kernel.reading import shown
from farthing.payments.collecting.service import collect
from farthing.payments.content import detail_json, method_json, payment_json, refund_json
from farthing.payments.model import Payment, State
from farthing.payments.money_back.service import create_refund
from farthing.payments.reconciling.service import reconcile, reconciliation_json
from farthing.payments.service import create_payment, get_payment, list_methods, list_payments, put_method

LIMIT_MAX = 100

app = new_app(help="Payments: what came in, from whom, and what it paid.", no_args_is_help=True)
app.command(epilog=BALANCE_EXAMPLE)(balance)
app.command("credits", epilog=CREDITS_EXAMPLE)(credits_)

Key = Annotated[str, typer.Argument(metavar="PAYMENT", help="The key of the payment.")]

_METHOD = """\b
Example:
  $ echo '{key: acme-card, customer: acme, gateway: fake, reference: tok_ok}' \\
      | farthing payments method -

\b
A SEPA direct debit has the gateway sepa and a mandate instead of a reference:
{iban, bic, holder, mandate_id, signed_on}. The newest one is used, unless it says default: false."""


@app.command("list", epilog="\b\nExample:\n  $ farthing payments list --customer acme")
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    invoice: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Only those for, or that paid, this one.")
    ] = None,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    after: Annotated[str | None, typer.Option(metavar="PAYMENT", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List payments in the order of their making."""
    with opened(data, tenant, make=False) as house:
        behind = 0
        if after is not None:
            behind = get_payment(house.books, house.tenant_id, after).payment.payment_id
        found = list_payments(house.books, house.tenant_id, behind, limit + 1, customer, invoice, state)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"payments": [payment_json(one) for one in page], "more": more})
        return
    if not page:
        print("No payments.")
        return
    print_table(
        [
            Column("Payment"),
            Column("Customer"),
            Column("Amount", "right"),
            Column("State", whole=True),
            Column("For", whole=True),
            Column("By"),
            Column("Paid at", whole=True),
        ],
        [_row(one) for one in page],
    )
    if more:
        print(f"There are more: --after {printable(page[-1].key)}")


def _row(one: Payment) -> list[str]:
    return [
        one.key,
        one.customer,
        money(plain(one.amount), one.currency),
        one.state.value,
        one.invoice or one.purpose.value,
        one.gateway,
        "-" if one.paid_at is None else one.paid_at.date().isoformat(),
    ]


@app.command(epilog="\b\nExample:\n  $ farthing payments show collect:INV-000001:1")
def show(key: Key, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show a payment with all that happened to it."""
    with opened(data, tenant, make=False) as house:
        detail = get_payment(house.books, house.tenant_id, key)
    if as_json:
        print_json(detail_json(detail))
        return
    one = detail.payment
    facts = {
        "Payment": one.key,
        "From": one.customer,
        "Amount": money(plain(one.amount), one.currency),
        "State": one.state.value,
        "For": one.invoice or one.purpose.value,
        "By": one.gateway + (f", {one.method}" if one.method else ""),
        "Reference": one.reference,
        "There": one.provider_id or "",
        "Declined": one.failure or "",
        "Top-up": one.top_up or "",
        "Next try": "" if one.next_attempt_at is None else moment(one.next_attempt_at),
        "Paid at": "" if one.paid_at is None else moment(one.paid_at),
        "Fee": plain(one.fee) if one.fee else "",
        "Refunded": plain(one.refunded) if one.refunded else "",
        "Charged back": plain(one.charged_back) if one.charged_back else "",
        "To its credit": plain(one.credit) if one.credit else "",
    }
    print_facts({name: value for name, value in facts.items() if value})
    print()
    print_table(
        [Column("When", whole=True), Column("What"), Column("Amount", "right")],
        sorted(
            [
                *([format_instant(row["moved_at"]), _moved(row), ""] for row in detail.moves),
                *(
                    [
                        format_instant(row["allocated_at"]),
                        f"{row['invoice']} ({row['cause']})",
                        number(row["amount"]),
                    ]
                    for row in detail.allocations
                ),
                *(
                    [
                        format_instant(row["moved_at"]),
                        f"{row['grant']} ({row['cause']})",
                        number(row["amount"]),
                    ]
                    for row in detail.grants
                ),
            ],
            key=lambda row: row[0],
        ),
    )


def _moved(row: dict[str, Any]) -> str:
    return f"{row['to_state']} ({row['cause']})"


@app.command(
    epilog="\b\nExample:\n  $ farthing payments record cheque-17 acme 119.00 EUR --at 2026-02-01 "
    "--invoice INV-000001"
)
def record(
    key: Annotated[str, typer.Argument(metavar="PAYMENT", help="A key of your choice, once.")],
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Who paid.")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Like 119.00.")],
    currency: Annotated[str, typer.Argument(metavar="CURRENCY", help="Like EUR.")],
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When; now, if left out.")] = None,
    invoice: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="What it pays; the oldest, if left out.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="TEXT", help="For people.")] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write down money that came in by itself: cash, a transfer, a cheque. Again, it changes nothing."""
    with opened(data, tenant, make=False) as house:
        now = house.clock()
        paid_at = now if at is None else parse_moment(at, timezone, "--at")
        raw: dict[str, Any] = {"key": key, "customer": customer, "amount": amount, "currency": currency}
        raw |= {"paid_at": format_instant(paid_at), "invoice": invoice, "reference": reference}
        payment, outcome = create_payment(house.books, house.tenant_id, raw, now)
    if as_json:
        print_json(payment_json(payment) | {"outcome": str(outcome)})
        return
    said = "came in" if outcome is Outcome.CREATED else "was written down already"
    print(f"{money(plain(payment.amount), payment.currency)} of {printable(customer)} {said}.")
    allocated, credit = (amount_text(part, payment.currency) for part in (payment.allocated, payment.credit))
    print(f"{allocated} paid invoices, {credit} stand to its credit.")


@app.command(
    epilog="\b\nExample:\n  $ farthing payments refund goodwill-3 cheque-17 --amount 19.00 --reason outage"
)
def refund(
    key: Annotated[str, typer.Argument(metavar="REFUND", help="A key of your choice, once.")],
    payment: Key,
    amount: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="All that is left, if left out.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Give money back, never more than is left of the payment. Where a gateway took it, the engine sends it."""
    with opened(data, tenant, make=False) as house:
        raw = {"key": key, "payment": payment, "amount": amount, "reason": reason}
        found, outcome = create_refund(house.books, house.tenant_id, raw, house.clock())
    if as_json:
        print_json(refund_json(found) | {"outcome": str(outcome)})
        return
    print(f"{money(plain(found.amount), found.currency)} of {printable(payment)}: {found.state.value}.")


@app.command(epilog=_METHOD)
def method(
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Keep how a customer pays by itself."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        found, outcome = put_method(house.books, house.tenant_id, document, house.gateways, house.clock())
    if as_json:
        print_json(method_json(found) | {"outcome": str(outcome)})
        return
    said = "is there" if outcome is Outcome.CREATED else "was there already"
    print(f"{printable(found.key)} of {printable(found.customer)} {said}: {printable(found.label)}.")


@app.command(epilog="\b\nExample:\n  $ farthing payments methods --customer acme")
def methods(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List payment methods in the order of their keys."""
    with opened(data, tenant, make=False) as house:
        found = list_methods(house.books, house.tenant_id, after, limit + 1, customer)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"payment_methods": [method_json(one) for one in page], "more": more})
        return
    if not page:
        print("No payment methods.")
        return
    print_table(
        [Column("Method"), Column("Customer"), Column("By"), Column("What"), Column("Used", whole=True)],
        [
            [
                one.key,
                one.customer,
                one.gateway,
                one.label,
                "removed" if one.removed_at else "yes" if one.is_default else "no",
            ]
            for one in page
        ],
    )
    if more:
        print(f"There are more: --after {printable(page[-1].key)}")


@app.command("collect", epilog="\b\nExample:\n  $ farthing payments collect")
def collect_now(as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Charge what is due, ask about calls that nobody answered, send refunds, remind and suspend.

    The engine of `farthing serve` does it by itself; both at once are safe.
    """
    with opened(data, tenant, make=False) as house:
        done = collect(house.books, house.tenant_id, house.gateways, house.clock())
    facts = {
        "Invoices that credit paid": done.credited,
        "Payments asked for": done.requested,
        "Sent to gateways": done.sent,
        "Asked about": done.asked,
        "Settled": done.settled,
        "Refunds settled": done.refunds,
        "Answers to disputes": done.answered,
        "Reminders": done.reminded,
        "Customers suspended": done.suspended,
        "Customers resumed": done.resumed,
        "Written off": done.written_off,
    }
    if as_json:
        names = {name.lower().replace(" ", "_"): value for name, value in facts.items()}
        print_json(names)
        return
    print_facts({name: number(value) for name, value in facts.items()})


@app.command(
    "reconcile",
    epilog="\b\nExample:\n  $ farthing payments reconcile stripe --from 2026-02-01 --to 2026-03-01",
)
def reconcile_with(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY", help="Like stripe.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The first moment that is in.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The first one that is not.")],
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Compare a gateway's books with ours, both ways. Exit code 1 where they differ."""
    with opened(data, tenant, make=False) as house:
        own = house.gateways.get(gateway)
        if own is None:
            complaint = f"there is no gateway {shown(gateway)} in FARTHING_GATEWAYS"
            raise NotFound("unknown_gateway", complaint, path="GATEWAY")
        found = reconcile(
            house.books,
            house.tenant_id,
            own,
            parse_moment(start, timezone, "--from"),
            parse_moment(end, timezone, "--to"),
        )
    code = 1 if found.differences else 0
    if as_json:
        print_json(reconciliation_json(found))
        return code
    print_table(
        [Column("What"), Column("There", "right"), Column("Here", "right"), Column("", whole=True)],
        [
            [kind.value, number(theirs), number(ours), currency]
            for (kind, currency), (theirs, ours) in sorted(found.totals.items())
        ],
    )
    print(f"\n{plural(found.matched, 'movement')} matched.")
    if found.differences:
        print(f"{plural(len(found.differences), 'difference')}:\n")
        print_table(
            [
                Column("Reason", whole=True),
                Column("What"),
                Column("There"),
                Column("Here"),
                Column("Theirs", "right"),
                Column("Ours", "right"),
            ],
            [
                [
                    one.reason,
                    one.kind.value,
                    one.provider_id,
                    one.key or "-",
                    "-" if one.theirs is None else number(one.theirs),
                    "-" if one.ours is None else number(one.ours),
                ]
                for one in found.differences
            ],
        )
    return code
