"""`farthing bill`."""

import heapq
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, money, number, plural, print_json_lists, print_table, short_moment
from farthing.cli.progress import progress_bar
from farthing.events.engine import seal_what_waits
from farthing.invoicing.model import BillingResult
from farthing.invoicing.service import invoice_documents, run_billing
from farthing.kernel.quantity import exact, plain

LARGEST_SHOWN = 10
SEAL_WAIT_SECONDS = 300.0

app = new_app()

_EXAMPLE = """\b
Example:
  $ farthing bill --until 2023-12-01

Issues what is due and has not been issued: run it as often as you like, kill it where you like."""


@dataclass(slots=True)
class _Totals:
    """What a run issued, summed up as the documents pass by."""

    invoices: Counter[str] = field(default_factory=Counter)
    amounts: dict[str, Decimal] = field(default_factory=dict)
    largest: list[tuple[Decimal, int, dict[str, Any]]] = field(default_factory=list)

    def add(self, invoice: dict[str, Any]) -> None:
        currency, total = invoice["currency"], Decimal(invoice["total"])
        self.invoices[currency] += 1
        with exact():
            self.amounts[currency] = self.amounts.get(currency, Decimal(0)) + total
        # The count decides between equal amounts: the first issued stands first.
        heapq.heappush(self.largest, (total, -self.invoices.total(), invoice))
        if len(self.largest) > LARGEST_SHOWN:
            heapq.heappop(self.largest)


@app.command(epilog=_EXAMPLE)
def bill(
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Periods that end by then are billed: a date or a time.", show_default=False
        ),
    ],
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Issue every invoice that is due and does not stand yet.

    With --json: {"issued": [invoice, ...], "skipped": [...]}.
    """
    moment = parse_moment(until, timezone, "--until")
    with opened(data, tenant, make=False) as house:
        if moment > house.clock():
            print(
                "note: --until lies ahead; what is used in those periods from now on is not billed",
                file=sys.stderr,
            )
        with progress_bar("billing") as bar:
            seal_what_waits(house.books, house.store, house.settings.lateness, house.clock, SEAL_WAIT_SECONDS)
            result = run_billing(
                house.books,
                house.store,
                house.tenant_id,
                moment,
                house.clock(),
                lambda done, total: bar(done, total, f"{done:,} invoices"),
            )
        issued = invoice_documents(house.books, house.tenant_id, result.issued)
        if as_json:
            print_json_lists({"issued": issued, "skipped": iter(result.skipped)})
        else:
            _print(result, issued)


def _print(result: BillingResult, issued: Iterator[dict[str, Any]]) -> None:
    totals = _Totals()
    for invoice in issued:
        totals.add(invoice)
    print(f"Issued {plural(len(result.issued), 'invoice')}.")
    if result.issued:
        print()
        print_table(
            [Column("Currency"), Column("Invoices", "right"), Column("Total", "right")],
            [
                [currency, number(count), money(plain(totals.amounts[currency]), currency)]
                for currency, count in sorted(totals.invoices.items())
            ],
        )
        shown = [
            invoice for _, _, invoice in sorted(totals.largest, key=lambda entry: entry[:2], reverse=True)
        ]
        if len(result.issued) > LARGEST_SHOWN:
            print("\nThe largest:")
        else:
            print()
            shown.sort(key=lambda invoice: str(invoice["number"]))
        print_table(INVOICE_COLUMNS, [invoice_row(invoice) for invoice in shown])
    if result.skipped:
        print("\nSkipped:")
        reasons = Counter(entry["reason"] for entry in result.skipped)
        for reason, count in reasons.most_common():
            print(f"  {count:>8,}  {reason}")


INVOICE_COLUMNS = [
    Column("Invoice", whole=True),
    Column("Customer"),
    Column("Period", whole=True),
    Column("Exact", "right"),
    Column("Total", "right"),
]


def invoice_row(invoice: dict[str, Any]) -> list[str]:
    """An invoice as a row under `INVOICE_COLUMNS`."""
    period = invoice["period"]
    return [
        invoice["number"],
        invoice["customer"],
        f"{short_moment(period['start'])} - {short_moment(period['end'])}",
        number(invoice["total_exact"]),
        money(invoice["total"], invoice["currency"]),
    ]
