"""The options that every command takes, and what they open."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from farthing.app import App, Settings, open_app, read_settings, wall_clock
from farthing.cli.output import printable
from farthing.kernel.errors import Fault, InvalidInput

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of a table.", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data directory.  [FARTHING_DATA]", show_default=False),
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="KEY", help="The tenant.  [FARTHING_TENANT]", show_default=False),
]
DocumentFile = Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - for standard input.")]
# `rate` and `periods` always print JSON and need no data; a script may give every command the same options.
NoJson = Annotated[bool, typer.Option("--json", hidden=True)]
NoData = Annotated[Path | None, typer.Option("--data", hidden=True)]
NoTenant = Annotated[str | None, typer.Option("--tenant", hidden=True)]

Timezone = Annotated[
    str, typer.Option("--timezone", metavar="ZONE", help="The IANA time zone that bare dates are in.")
]


def settings_from(data: Path | None, tenant: str | None, **flags: str | None) -> Settings:
    """The settings in force, with these flags."""
    given = {"data_dir": None if data is None else str(data), "tenant": tenant, **flags}
    return read_settings(os.environ, given)


@contextmanager
def opened(data: Path | None, tenant: str | None, *, make: bool = True) -> Iterator[App]:
    """The installation that the options name, with a word on a terminal about what takes a while."""
    with open_app(settings_from(data, tenant), wall_clock, make=make, on_wait=say) as app:
        yield app


def say(what: str) -> None:
    """A word on a terminal about what takes a while."""
    if sys.stderr.isatty():
        print(f"\x1b[2m{printable(what)} ...\x1b[0m", file=sys.stderr)


def parse_moment(text: str, timezone: str, path: str) -> datetime:
    """An RFC 3339 time, or a date: its midnight in the zone."""
    from farthing.kernel.instant import parse_date, parse_instant, parse_timezone
    from farthing.kernel.period import local_midnight

    zone = parse_timezone(timezone, "--timezone")
    if "T" in text or "t" in text or " " in text:
        return parse_instant(text, path)
    try:
        return local_midnight(parse_date(text, path), zone)
    except InvalidInput:
        complaint = f"{text[:40]!r} is neither a date like 2024-01-31 nor a time like 2024-01-31T18:30:00Z"
        raise InvalidInput.of("invalid_instant", [Fault(path, complaint)]) from None
