"""`farthing usage`."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, number, plural, print_json, print_table
from farthing.cli.progress import progress_bar
from farthing.events.sealing.sealer import seal_here
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant, parse_timezone, zone_named
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import Faults
from farthing.usage.model import UsageGroup, UsageQuery, Window
from farthing.usage.service import query_usage

app = new_app()

_EXAMPLE = """\b
Example:
  $ farthing usage input_tokens --from 2023-11-01 --to 2023-12-01 --group-by customer
  $ farthing usage calls --from 2023-11-16 --to 2023-11-17 --window hour --timezone Europe/Berlin"""

_Moment = Annotated[
    str, typer.Option(metavar="TIME", help="A date, or an RFC 3339 time.", show_default=False)
]


@app.command(epilog=_EXAMPLE)
def usage(
    meter: Annotated[str, typer.Argument(metavar="METER", help="The key of the meter.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="First instant in: a date or a time.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="First instant out.")],
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A dimension, customer, subject or source. May be repeated."),
    ] = None,
    window: Annotated[Window | None, typer.Option(help="Split by stretches of local time.")] = None,
    timezone: Timezone = "UTC",
    conditions: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="Only events with this value. May be repeated."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say how much of a meter was used in [--from, --to), exactly: every event counts that was accepted."""
    query = replace(
        _times(meter, start, end, timezone),
        customer=customer,
        group_by=tuple(group_by or ()),
        window=window,
        filter=_filter(conditions or []) or None,
    )
    with opened(data, tenant, make=False) as house, progress_bar(meter):
        seal_here(house.books, house.store, house.settings.lateness, house.clock)
        rows = query_usage(house.books, house.store, house.tenant_id, query, house.clock())
    if as_json:
        print_json(
            {
                "meter": query.meter,
                "from": format_instant(query.start),
                "to": format_instant(query.end),
                "rows": [_document(row) for row in rows],
            }
        )
        return
    _print(query, rows)


def _times(meter: str, start: str, end: str, timezone: str) -> UsageQuery:
    """The query with both times, or a complaint about everything that is wrong with them."""
    faults = Faults("invalid_usage_query")
    found = {}
    parse_timezone(timezone, "--timezone")
    for path, text in (("--from", start), ("--to", end)):
        try:
            found[path] = parse_moment(text, timezone, path)
        except InvalidInput as error:
            faults.absorb(error)
    faults.refuse()
    return UsageQuery(meter, found["--from"], found["--to"], timezone=timezone)


def _filter(conditions: list[str]) -> dict[str, str]:
    faults = Faults("invalid_usage_query")
    wanted: dict[str, str] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            faults.add("--filter", f"must be NAME=VALUE, not {condition[:40]!r}")
        elif wanted.setdefault(name, value) != value:
            faults.add("--filter", f"asks for two values of {name[:40]!r}")
    faults.refuse()
    return wanted


def _document(row: UsageGroup) -> dict[str, Any]:
    return {
        "group": dict(row.group),
        "window_start": format_instant(row.window_start) if row.window_start else None,
        "quantity": trimmed(row.quantity),
        "events": row.events,
    }


def _print(query: UsageQuery, rows: list[UsageGroup]) -> None:
    if not rows:
        print("No usage.")
        return
    zone = zone_named(query.timezone)
    columns = [
        *([Column(f"{query.window} from".capitalize(), whole=True)] if query.window else []),
        *(Column(name) for name in query.group_by),
        Column(query.meter, "right"),
        Column("Events", "right"),
    ]
    shown = [
        [
            *([row.window_start.astimezone(zone).isoformat(sep=" ")] if row.window_start else []),
            *(value if (value := row.group[name]) is not None else "-" for name in query.group_by),
            number(row.quantity),
            number(row.events),
        ]
        for row in rows
    ]
    print_table(columns, shown)
    if len(rows) > 1:
        print(plural(len(rows), "row"))
