"""`farthing rate`."""

from pathlib import Path
from typing import Annotated

import typer

from farthing.cli.commands import new_app
from farthing.cli.lines import answer_lines
from farthing.cli.options import NoData, NoJson, NoTenant
from farthing.rating.wire import rate_line

app = new_app()

_EXAMPLE = """\b
Example:
  $ echo '{"price":{"model":"per_unit","unit_price":"0.0000025"},"quantity":"18059974"}' \\
      | farthing rate
  {"amount":"45.149935","charges":[{"quantity":"18059974","unit_price":"0.0000025",...}]}

Needs no data directory. Each line is answered by one line, also one that is wrong:
{"error":{"code":...,"message":...}}."""


@app.command(epilog=_EXAMPLE)
def rate(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="JSON lines; standard input if left out.")
    ] = None,
    as_json: NoJson = True,
    data: NoData = None,
    tenant: NoTenant = None,
) -> None:
    """Rate quantities: JSON lines in, JSON lines out.

    A line is {"price": {...}, "quantity": "1500", "before": "0"} or {"price": {...}, "rows":
    [{"dimensions": {...}, "quantity": "5"}]}. Numbers are read exactly.

    By the price, usage may also be told as "events": [{"amount": "10", "count": 3}] after
    "events_before" (percentage, dynamic), "seconds" or "start" and "end" (timed), "start" and
    "quantity" or "start" and "end" (time_of_use), or "quantities": {"seats": "12"} (capacity, block
    of several meters). "final": false says that the period goes on.
    """
    answer_lines(file, rate_line)
