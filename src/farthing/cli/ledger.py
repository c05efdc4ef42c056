"""`farthing ledger`: what the books say in accounts."""

import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import (
    Column,
    moment,
    number,
    plural,
    print_facts,
    print_json,
    print_table,
    printable,
)
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant
from farthing.ledger.chart import Code, in_own_sense
from farthing.ledger.export import Format, journal_lines
from farthing.ledger.service import list_accounts, list_entries, opened_journal, trial_balance
from farthing.ledger.wire import (
    account_document,
    entry_document,
    entry_place,
    parse_entry_place,
    trial_balance_document,
)

LIMIT_MAX = 10_000

app = new_app(
    help="The ledger: every amount twice, where it came from and where it went.", no_args_is_help=True
)

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Only what took effect before then: a date or a time.",
        show_default=False,
    ),
]
BookedBy = Annotated[
    str | None,
    typer.Option(
        "--booked-by", metavar="TIME", help="Only what had been booked before then.", show_default=False
    ),
]


@app.command("trial-balance", epilog="\b\nExample:\n  $ farthing ledger trial-balance --as-of 2026-02-01")
def show_trial_balance(
    as_of: AsOf = None,
    booked_by: BookedBy = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show both sides of the chart of accounts; in every currency they are equal."""
    effective = _moment(as_of, timezone, "--as-of")
    known = _moment(booked_by, timezone, "--booked-by")
    with opened(data, tenant, make=False) as house:
        found = trial_balance(house.books, house.tenant_id, effective, known)
    if as_json:
        moments = {
            "as_of": None if effective is None else format_instant(effective),
            "booked_by": None if known is None else format_instant(known),
        }
        print_json(moments | trial_balance_document(found))
        return
    if not found.rows:
        print("Nothing is booked.")
        return
    rows = [
        [
            row.kind.value,
            row.code.value,
            row.currency,
            number(row.debit) if row.debit else "",
            number(row.credit) if row.credit else "",
        ]
        for row in found.rows
    ]
    rows += [
        ["", "total", currency, number(debit), number(credit)]
        for currency, (debit, credit) in found.totals.items()
    ]
    print_table(
        [
            Column("Kind", whole=True),
            Column("Account", whole=True),
            Column("Currency"),
            Column("Debit", "right"),
            Column("Credit", "right"),
        ],
        rows,
    )


@app.command("accounts", epilog="\b\nExample:\n  $ farthing ledger accounts --customer acme")
def show_accounts(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    code: Annotated[Code | None, typer.Option(help="Only this account of the chart.", metavar="CODE")] = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List accounts with their balances, each in its own sense: owed, held or earned is above zero."""
    with opened(data, tenant, make=False) as house:
        found = list_accounts(house.books, house.tenant_id, after, limit + 1, customer, code)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"accounts": [account_document(account) for account in page], "more": more})
        return
    if not page:
        print("No accounts.")
        return
    print_table(
        [
            Column("Id", "right"),
            Column("Account", whole=True),
            Column("Customer"),
            Column("Balance", "right"),
            Column("Currency"),
            Column("Entries", "right"),
        ],
        [
            [
                str(account.account_id),
                account.code.value,
                account.customer or "",
                number(in_own_sense(account.kind, account.balance)),
                account.currency,
                number(account.entries),
            ]
            for account in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1].account_id}")


@app.command("entries", epilog="\b\nExample:\n  $ farthing ledger entries --account 1")
def show_entries(
    account: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            min=1,
            help="Only this one's, as `farthing ledger accounts` shows it.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str, typer.Option(metavar="ENTRY", help="Begin behind this one.", show_default=False)
    ] = "0.0",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List entries in the order of booking."""
    behind = parse_entry_place(after, "--after", "invalid_entry")
    with opened(data, tenant, make=False) as house:
        found = list_entries(house.books, house.tenant_id, behind, limit + 1, account)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"entries": [entry_document(entry) for entry in page], "more": more})
        return
    if not page:
        print("No entries.")
        return
    print_table(
        [
            Column("Entry", whole=True),
            Column("When", whole=True),
            Column("Transfer"),
            Column("Account"),
            Column("Debit", "right"),
            Column("Credit", "right"),
            Column(""),
        ],
        [
            [
                entry_place(entry),
                moment(entry.effective_at),
                entry.transfer,
                f"{entry.code.value} {entry.customer or ''}".rstrip(),
                number(entry.amount) if entry.amount > 0 else "",
                number(-entry.amount) if entry.amount < 0 else "",
                entry.currency,
            ]
            for entry in page
        ],
    )
    if more:
        print(f"There are more: --after {entry_place(page[-1])}")


@app.command(epilog="\b\nExample:\n  $ farthing ledger export --format hledger -o books.journal")
def export(
    form: Annotated[Format, typer.Option("--format", help="For which tool.")] = Format.BEANCOUNT,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is standard output.")
    ] = "-",
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Only what took effect from then on.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Only what took effect before then.", show_default=False),
    ] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write the journal for beancount, hledger, or as CSV.

    Without --from the file ends with the balances that our books keep, so that the tool's own check compares
    its sums with ours. Dates are in UTC; the exact moments stand beside them.
    """
    since, until = _moment(start, timezone, "--from"), _moment(end, timezone, "--to")
    if as_json and output == "-":
        raise InvalidInput("invalid_usage", "--json needs --output: standard output takes one document")
    path, count = Path(output), 0
    with opened(data, tenant, make=False) as house:
        try:
            out = nullcontext(sys.stdout) if output == "-" else path.open("w", encoding="utf-8", newline="\n")
            with out as lines, opened_journal(house.books, house.tenant_id, since, until) as journal:
                accounts = list(journal.accounts())
                for line in journal_lines(form, accounts, journal.transfers(), whole=journal.whole):
                    lines.write(line)
                    count += line.count("\n")
        except OSError as error:
            if output == "-":
                raise
            raise InvalidInput("file_unwritable", f"{path}: {error.strerror}", path=str(path)) from None
    if output == "-":
        return
    if as_json:
        print_json({"file": str(path), "format": form.value, "lines": count})
    else:
        print_facts({"File": printable(str(path)), "Lines": plural(count, "line")})


def _moment(text: str | None, timezone: str, path: str) -> datetime | None:
    return None if text is None else parse_moment(text, timezone, path)
