"""`farthing report`: what finance people file, each tied to the ledger to the last digit."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_NO
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, number, print_json, print_table
from farthing.finance.model import BEGINNING, FOREVER, CellKind, Report, ReportName
from farthing.finance.service import OVER_A_PERIOD, make_report
from farthing.finance.wire import report_csv, report_document, row_texts
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import parse_choice

app = new_app()


@app.command(
    "report",
    epilog="\b\nExamples:\n  $ farthing report receivables --as-of 2026-02-01"
    "\n  $ farthing report revenue --from 2026-01-01 --to 2026-02-01 --csv revenue.csv",
)
def make(
    report: Annotated[
        str,
        typer.Argument(metavar="REPORT", help="One of: " + ", ".join(ReportName) + ".", show_default=False),
    ],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="Only what took effect before then.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="From then on, in a report over a period.", show_default=False
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only before then.", show_default=False)
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write the rows as CSV; - is standard output.", show_default=False
        ),
    ] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Make a report of what is booked. Exit code 1 if it does not tie to the ledger."""
    name = ReportName(parse_choice(report, "REPORT", list(ReportName), code="unknown_report"))
    if as_of is not None and (start is not None or end is not None):
        raise InvalidInput("invalid_usage", "give --as-of, or --from and --to", path="--as-of")
    if as_of is not None and name in OVER_A_PERIOD:
        raise InvalidInput(
            "invalid_usage", f"{name.value} is over a period: give --from and --to", path="--as-of"
        )
    since = None if start is None else parse_moment(start, timezone, "--from")
    text, option = (as_of, "--as-of") if as_of is not None else (end, "--to")
    until = None if text is None else parse_moment(text, timezone, option)
    with opened(data, tenant, make=False) as house:
        made = make_report(house.books, house.tenant_id, name, since, until, house.clock())
    if csv is not None:
        _write_csv(made, csv)
    elif as_json:
        print_json(report_document(made))
    else:
        _print(made)
    if not all(tie.holds for tie in made.ties):
        raise typer.Exit(EXIT_NO)


def _write_csv(made: Report, path: str) -> None:
    text = report_csv(made)
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput("file_unwritable", f"{path}: {error.strerror}", path="--csv") from None


def _print(made: Report) -> None:
    print(f"{made.title}, {_over(made)}")
    if not made.rows:
        print("Nothing is booked.")
    else:
        print_table(
            [
                Column(column.title, "right" if column.kind is CellKind.AMOUNT else "left")
                for column in made.columns
            ],
            [
                ["" if cell == 0 else text for cell, text in zip(row, row_texts(made, row), strict=True)]
                for row in made.rows
            ],
        )
    off = [tie for tie in made.ties if not tie.holds]
    for tie in off:
        print(
            f"DOES NOT TIE: {tie.what} {tie.currency} is {number(tie.report)} here"
            f" and {number(tie.ledger)} in the ledger"
        )
    if made.ties and not off:
        print("Ties to the ledger.")


def _over(made: Report) -> str:
    until = "" if made.end is None or made.end == FOREVER else f" before {format_instant(made.end)}"
    if made.start is None or made.start == BEGINNING:
        return f"all that took effect{until}" if until else "all that is booked"
    return f"from {format_instant(made.start)}{until}"
