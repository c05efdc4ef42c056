"""`farthing apply`."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, plural, print_json, print_table, printable
from farthing.cli.progress import progress_bar
from farthing.customers.apply import ApplyPlan, plan_apply
from farthing.customers.apply import apply as apply_document
from farthing.customers.model import Change

KINDS = ("meter", "plan", "coupon", "customer", "subscription")
CHANGES_SHOWN_MAX = 40
VALUE_SHOWN_MAX = 60

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing apply catalog.yaml
  $ farthing apply catalog.yaml --check     (exit code 1: it would change something)

\b
The file, YAML or JSON:
  meters: [{key: calls, event_type: api.call, aggregation: count}]
  plans:
    - key: payg
      name: Pay as you go
      currency: USD
      interval: month
      rate_cards:
        - {key: calls, name: Calls, meter: calls, price: {model: per_unit, unit_price: "0.0004"}}
  customers: [{key: acme, name: Acme Inc., currency: USD, timezone: UTC, aliases: [key-7]}]
  subscriptions:
    - {key: acme-payg, customer: acme, plan: payg, start: 2024-01-01T00:00:00Z, anchor: calendar}

\b
Also: coupons (farthing coupons create --help); of a subscription coupons: [launch] and
commitments: [...] (farthing commitments add --help); of a plan minimum: "50" for each period."""


@app.command(epilog=_EXAMPLE)
def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The catalog file; - for standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Only say what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Bring meters, plans, coupons, customers and subscriptions to what a file says: all, or nothing.

    Shows what changes first. What the file does not name stays; applied again, it changes nothing.
    """
    document = read_document(file)
    with opened(data, tenant) as house:
        with progress_bar("comparing"):
            found = plan_apply(house.books, house.tenant_id, document, house.clock())
        if not as_json:
            _print(found)
        wanted = bool(found.changing()) and not check
        if wanted and not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
            wanted = typer.confirm("Apply this?", default=True)
            if not wanted:
                print("Nothing was applied.")
                return EXIT_NO
        if wanted:
            with progress_bar("applying"):
                found = apply_document(house.books, house.tenant_id, document, house.clock())
    if as_json:
        print_json(_document(found, applied=wanted))
    elif wanted:
        print(f"Applied: {plural(len(found.changing()), 'change')}.")
    return EXIT_NO if check and found.changing() else EXIT_OK


def _print(found: ApplyPlan) -> None:
    changing = found.changing()
    rows = [
        [f"{kind}s".capitalize(), *(number(found.count(kind, outcome)) for outcome in Outcome)]
        for kind in KINDS
        if any(found.count(kind, outcome) for outcome in Outcome)
    ]
    if not rows:
        print("The file names nothing.")
        return
    print_table(
        [Column(""), *(Column(str(outcome).replace("_", " ").capitalize(), "right") for outcome in Outcome)],
        rows,
    )
    if not changing:
        print("\nNothing changes.")
        return
    print()
    for change in changing[:CHANGES_SHOWN_MAX]:
        sign = "+" if change.outcome is Outcome.CREATED else "~"
        print(f"{sign} {change.kind} {printable(change.key)}")
        for line in _differences(change):
            print(f"    {printable(line)}")
    if len(changing) > CHANGES_SHOWN_MAX:
        print(f"  and {len(changing) - CHANGES_SHOWN_MAX:,} more (all of them with --json)")
    print()


def _differences(change: Change) -> Iterator[str]:
    """What changes within a thing, down to the single value."""
    for field in change.fields:
        before, after = dict(_leaves(field.before, field.field)), dict(_leaves(field.after, field.field))
        for path in [*after, *(path for path in before if path not in after)]:
            if before.get(path) != after.get(path):
                yield f"{path}: {_shown(before.get(path))} -> {_shown(after.get(path))}"


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(member, dict | list) for member in value):
        for index, member in enumerate(value):
            yield from _leaves(member, f"{path}[{index}]")
    else:
        yield path, value


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 1] + "…"


def _document(found: ApplyPlan, *, applied: bool) -> dict[str, Any]:
    """The counts of everything, and what changes (what does not is only counted)."""
    return {
        "applied": applied,
        "summary": {
            kind: {str(outcome): found.count(kind, outcome) for outcome in Outcome} for kind in KINDS
        },
        "changes": [
            {
                "kind": change.kind,
                "key": change.key,
                "outcome": str(change.outcome),
                "fields": [
                    {"field": field.field, "before": field.before, "after": field.after}
                    for field in change.fields
                ],
            }
            for change in found.changing()
        ],
    }
