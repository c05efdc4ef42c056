"""`farthing ingest`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from farthing.app import App
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_OK, exit_code, problem, show_error
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, plural, print_json, print_table, printable
from farthing.cli.progress import progress_bar
from farthing.events.doors.access_logs import ACCESS_FORMATS
from farthing.events.ingest import IngestProgress, IngestReport, ingest_file
from farthing.events.sealing.memory import keep_freed_memory
from farthing.kernel.errors import Corrupt, FarthingError, InvalidInput, Unavailable

FORMATS = ("ndjson", "csv", "parquet", *ACCESS_FORMATS)

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing ingest events.ndjson.gz more/*.ndjson
  $ gateway | farthing ingest -
  $ farthing ingest trace.csv --map "id=#,type='llm.completion',subject='acme',\\
      time=TIMESTAMP,data.input_tokens=ContextTokens,data.model='gpt-4o'"
  $ farthing ingest access.log access.log.1 access.log.2.gz --format nginx --subject remote_user

Stopped halfway, run it again: it goes on where it was, and nothing counts twice."""


@app.command(epilog=_EXAMPLE)
def ingest(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files; - for standard input.")],
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="SPEC",
            help="Which column is what: field=column, field='text' for a constant, id=# for file and row.",
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}. By the file's name if left out; the last four are access logs.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="The source of events that name none.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Access logs: the field that says whose call it was, or a 'text'. Else who was authenticated.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS", help="Access logs: further fields to keep in data, with commas between."
        ),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Count the events of files, each exactly once: NDJSON, CSV with --map, Parquet, access logs.

    Files may be plain, gzip or zstd. Every line is counted, a repeat, or set aside with its place and the
    reason. Prints the account.
    """
    if file_format is not None and file_format not in FORMATS:
        raise InvalidInput(
            "unknown_file_format", f"--format must be one of {', '.join(FORMATS)}", path="--format"
        )
    how = {
        "mapping": mapping,
        "file_format": file_format,
        "source": source,
        "subject": subject,
        "keep": tuple(keep.split(",")) if keep else (),
    }
    reports: list[IngestReport] = []
    failures: list[tuple[str, FarthingError]] = []
    keep_freed_memory()
    with opened(data, tenant) as house:
        for name in files:
            try:
                reports.append(_ingest(house, name, how))
            except (Unavailable, Corrupt):
                raise
            except FarthingError as error:  # One unreadable file does not keep the others out.
                failures.append((name, error))
    _print(reports, failures, as_json)
    return exit_code(failures[0][1]) if failures else EXIT_OK


def _ingest(house: App, name: str, how: dict[str, Any]) -> IngestReport:
    with progress_bar("stdin" if name == "-" else Path(name).name, "bytes") as bar:

        def moved(at: IngestProgress) -> None:
            bar(at.bytes_read, at.bytes_total, f"{at.events_sealed:,} of {at.events_read:,} events sealed")

        return ingest_file(
            house.books,
            house.sealing_store,
            house.tenant_id,
            None if name == "-" else Path(name),
            **how,
            lateness=house.settings.lateness,
            clock=house.clock,
            progress=moved,
        )


def _print(reports: list[IngestReport], failures: list[tuple[str, FarthingError]], as_json: bool) -> None:
    if as_json:
        failed = [{"file": name, "error": problem(error)} for name, error in failures]
        print_json({**_total(reports), "files": [asdict(report) for report in reports], "failed": failed})
        return
    columns = ["Accepted", "Counted", "Duplicate", "Quarantined", "Events/s"]
    if reports:
        print_table(
            [Column("File"), *(Column(title, "right") for title in columns)],
            [
                [
                    report.file,
                    number(report.accepted),
                    number(report.counted),
                    number(report.duplicate),
                    number(report.quarantined),
                    number(report.events_per_second),
                ]
                for report in reports
            ],
        )
    for report in reports:
        if report.resumed_at:
            print(
                f"{printable(report.file)} was read before as far as {report.resumed_at:,}; this is the rest."
            )
    reasons = _by_reason(reports)
    if reasons:
        print(f"\nSet aside: {plural(sum(reasons.values()), 'event')}")
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
            print(f"  {count:>10,}  {reason}")
        print("Look at them with: farthing quarantine list")
    for _, error in failures:
        show_error(error, as_json)


def _total(reports: list[IngestReport]) -> dict[str, object]:
    """The account of all files together."""
    return {
        "accepted": sum(report.accepted for report in reports),
        "counted": sum(report.counted for report in reports),
        "duplicate": sum(report.duplicate for report in reports),
        "quarantined": sum(report.quarantined for report in reports),
        "by_reason": _by_reason(reports),
    }


def _by_reason(reports: list[IngestReport]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for report in reports:
        for reason, count in report.by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return reasons
