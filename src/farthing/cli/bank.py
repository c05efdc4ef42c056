"""`farthing bank`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, money, plural, print_facts, print_json, print_table, printable
from farthing.cli.progress import progress_bar
from farthing.kernel.errors import InvalidInput, NotFound
from farthing.kernel.instant import format_instant, parse_date
from farthing.kernel.money import amount_text
from farthing.kernel.quantity import plain
from farthing.payments.bank.camt053 import FILE_BYTES_MAX
from farthing.payments.bank.service import (
    DebitFile,
    assign_entry,
    export_debits,
    import_statement,
    list_unmatched,
    write_debits,
)
from farthing.payments.content import payment_json

LIMIT_MAX = 100

app = new_app(help="The bank: statements in, direct debits out.", no_args_is_help=True)


@app.command("import", epilog="\b\nExample:\n  $ farthing bank import statement.xml")
def import_some(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="camt.053 files.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Take bank statements in: transfers pay the invoices they name, direct debits are paid or come back.

    Each file is taken whole or not at all. What was imported before does nothing.
    """
    imported: list[dict[str, Any]] = []
    with opened(data, tenant, make=False) as house, progress_bar("importing") as bar:
        for place, file in enumerate(files):
            bar(place, len(files), file)
            done = import_statement(house.books, house.tenant_id, _read(file), house.clock())
            effects = {name: done.effects[name] for name in sorted(done.effects)}
            said = {"file": file, "statements": done.statements, "entries": done.entries}
            imported.append(said | {"known": done.known, "effects": effects})
    if as_json:
        print_json({"imported": imported})
        return
    for one in imported:
        print(
            f"{printable(one['file'])}: {plural(one['entries'], 'new entry', 'new entries')}, {one['known']:,} known"
        )
        for name, count in one["effects"].items():
            print(f"  {count:>8,}  {name.replace('_', ' ')}")


def _read(file: str) -> bytes:
    path = Path(file)
    try:
        with path.open("rb") as opened_file:
            return opened_file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound("file_not_found", f"there is no file {file}", path=file) from None
    except OSError as error:
        raise InvalidInput("file_unreadable", f"{file}: {error.strerror}", path=file) from None


@app.command(epilog="\b\nExample:\n  $ farthing bank export --collect-on 2026-03-10 -o debits.xml")
def export(
    collect_on: Annotated[
        str | None, typer.Option(metavar="DATE", help="The day on which the bank is to draw the money.")
    ] = None,
    again: Annotated[
        str | None, typer.Option(metavar="MESSAGE", help="Write this file again, the same bytes.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="MESSAGE.xml if left out.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write a file of SEPA direct debits (pain.008) for all that is due by that day and a mandate covers.

    From then on these payments are on their way: no other file has them until the bank says what became of them.
    """
    if (collect_on is None) == (again is None):
        raise InvalidInput("invalid_usage", "give either --collect-on or --again", path="--collect-on")
    with opened(data, tenant, make=False) as house:
        if again is not None:
            made = write_debits(house.books, house.tenant_id, again)
        else:
            day = parse_date(collect_on, "--collect-on")
            made = export_debits(house.books, house.tenant_id, house.creditor, day, house.clock())
    path = _written(made, output)
    if as_json:
        print_json({"file": str(path), "message_id": made.message_id, "debits": made.debits})
        return
    print(f"{printable(str(path))}: {plural(made.debits, 'debit')}, to be drawn on {made.collect_on}.")
    print(f"To write it again: farthing bank export --again {made.message_id}")


def _written(made: DebitFile, output: str | None) -> Path:
    path = Path(output or f"{made.message_id}.xml")
    try:
        path.write_bytes(made.content)
    except OSError as error:
        complaint = f"{path}: {error.strerror}; nothing is lost: --again {made.message_id} writes it"
        raise InvalidInput("file_unwritable", complaint, path=str(path)) from None
    return path


@app.command(epilog="\b\nExample:\n  $ farthing bank unmatched")
def unmatched(
    after: Annotated[int, typer.Option(min=0, metavar="ENTRY", help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List money that came in and is nobody's yet: no invoice is named, or several customers'."""
    with opened(data, tenant, make=False) as house:
        found = list_unmatched(house.books, house.tenant_id, after, limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json(
            {
                "entries": [
                    {
                        "entry": one["entry_id"],
                        "account": one["account"],
                        "amount": plain(one["amount"]),
                        "currency": one["currency"],
                        "booked_at": format_instant(one["booked_at"]),
                        "payer": one["payer"],
                        "remittance": one["remittance"],
                    }
                    for one in page
                ],
                "more": more,
            }
        )
        return
    if not page:
        print("Nothing is unmatched.")
        return
    print_table(
        [Column("Entry", "right"), Column("Booked", whole=True), Column("Amount", "right"), Column("Payer"),
         Column("Says")],
        [
            [
                str(one["entry_id"]),
                one["booked_at"].date().isoformat(),
                money(plain(one["amount"]), one["currency"]),
                one["payer"],
                one["remittance"],
            ]
            for one in page
        ],
    )  # fmt: skip
    if more:
        print(f"There are more: --after {page[-1]['entry_id']}")


@app.command(epilog="\b\nExample:\n  $ farthing bank assign 17 acme")
def assign(
    entry: Annotated[int, typer.Argument(metavar="ENTRY", min=1, help="As `unmatched` numbers it.")],
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Whose money it is.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say whose money an unmatched entry is. It pays what is oldest; the rest stands to the customer's credit."""
    with opened(data, tenant, make=False) as house:
        payment = assign_entry(house.books, house.tenant_id, entry, customer, house.clock())
    if as_json:
        print_json(payment_json(payment))
        return
    print_facts(
        {
            "Payment": payment.key,
            "From": payment.customer,
            "Amount": money(plain(payment.amount), payment.currency),
            "Paid invoices": amount_text(payment.allocated, payment.currency),
            "To its credit": amount_text(payment.credit, payment.currency),
        }
    )
