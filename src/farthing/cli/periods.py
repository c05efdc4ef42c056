"""`farthing periods`."""

from pathlib import Path
from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.lines import answer_lines
from farthing.cli.options import NoData, NoJson, NoTenant
from farthing.kernel.period_wire import periods_line

app = new_app()

_EXAMPLE = """\b
Example:
  $ echo '{"anchor":"2024-01-31T00:00:00Z","interval":"month","at":"2024-02-15T00:00:00Z"}' \\
      | farthing periods
  {"periods":[{"start":"2024-01-31T00:00:00Z","end":"2024-02-29T00:00:00Z"}]}

Needs no data directory. Each line is answered by one line, also one that is wrong:
{"error":{"code":...,"message":...}}."""


@app.command(epilog=_EXAMPLE)
def periods(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="JSON lines; standard input if left out.")
    ] = None,
    as_json: NoJson = True,
    data: NoData = None,
    tenant: NoTenant = None,
) -> None:
    """Billing periods of an anchor: JSON lines in, JSON lines out.

    A line is {"anchor": "2024-01-31T00:00:00Z" or "calendar", "interval": "month", "interval_count": 1,
    "timezone": "UTC", "at": "2024-02-15T00:00:00Z", "count": 1}: the period that contains `at`, and the
    ones after it.
    """
    answer_lines(file, periods_line)
