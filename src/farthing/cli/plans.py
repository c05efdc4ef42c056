"""`farthing plans`: plan versions, and moving subscriptions from one to another."""

import sys
from decimal import Decimal
from typing import Annotated, Any

import typer

from farthing.catalog.plan import plan_json
from farthing.catalog.service import get_plan, list_plans
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, money, plural, print_facts, print_json, print_table, printable
from farthing.cli.progress import progress_bar
from farthing.events.engine import seal_what_waits
from farthing.invoicing.ahead.plan_migration import migrate_plan, migration_json
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import exact, plain

LIMIT_MAX = 100
SHOWN_MAX = 20
SEAL_WAIT_SECONDS = 300.0

app = new_app(help="Plans: list, show, and move subscriptions to another version.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's key.")]


@app.command("list", epilog="\b\nExample:\n  $ farthing plans list")
def list_all(
    after: Annotated[str | None, typer.Option(metavar="PLAN", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List plans, each in its latest version."""
    with opened(data, tenant, make=False) as house:
        found = list_plans(house.books, house.tenant_id, after, limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        plans = [plan_json(one.plan) | {"version": one.version} for one in page]
        print_json({"plans": plans, "more": more})
        return
    if not page:
        print("There are no plans.")
        return
    columns = [Column("Plan"), Column("Name"), Column("Version", "right"), Column("Currency", whole=True)]
    rows = [
        [
            one.plan.key,
            one.plan.name,
            str(one.version),
            one.plan.currency,
            _interval(one.plan),
            str(len(one.plan.rate_cards)),
        ]
        for one in page
    ]
    print_table([*columns, Column("Every", whole=True), Column("Rate cards", "right")], rows)
    if more:
        print(f"There are more: --after {printable(page[-1].plan.key)}")


@app.command(epilog="\b\nExample:\n  $ farthing plans show team --version 2 --json")
def show(
    key: Key,
    version: Annotated[int | None, typer.Option(min=1, help="The latest if left out.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show a version of a plan: its rate cards and their prices."""
    with opened(data, tenant, make=False) as house:
        found = get_plan(house.books, house.tenant_id, key, version)
    if as_json:
        print_json(
            plan_json(found.plan)
            | {"version": found.version, "published_at": format_instant(found.published_at)}
        )
        return
    plan = found.plan
    print_facts(
        {
            "Plan": f"{plan.key} version {found.version}",
            "Name": plan.name,
            "Currency": plan.currency,
            "Every": _interval(plan),
            "Proration": f"by {plan.proration.value}",
            "Published": format_instant(found.published_at),
        }
    )
    print()
    columns = [Column("Rate card"), Column("Name"), Column("Meter"), Column("Timing", whole=True)]
    rows = [
        [card["key"], card["name"], card.get("meter", ""), card["timing"], card["price"]["model"]]
        for card in _cards(plan_json(plan))
    ]
    print_table([*columns, Column("Price", whole=True)], rows)


_MIGRATE_EXAMPLE = """\b
Examples:
  $ farthing plans migrate team --to 3 --mode next_period        shows what it would do, and asks
  $ farthing plans migrate team --to 3 --from 1 --mode now --yes

\b
Modes: now; next_period; start_of_period (all of the one that runs is then by the new version).
With --json nothing is done without --yes or --confirm. Exit code 1: it was only shown."""


@app.command(epilog=_MIGRATE_EXAMPLE)
def migrate(
    key: Key,
    to: Annotated[int, typer.Option("--to", metavar="VERSION", min=1, help="The version that they move to.")],
    mode: Annotated[str, typer.Option(metavar="MODE", help="now, next_period or start_of_period.")],
    since: Annotated[
        list[int] | None,
        typer.Option("--from", metavar="VERSION", min=1, help="Only those on this one; may be repeated."),
    ] = None,
    confirm: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Do what an earlier --json showed, if it still holds.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Move the subscriptions of a plan to another of its versions.

    Shows first what each one's next invoices would be, before and after, by the code that issues them.
    """
    body: dict[str, object] = {"to_version": to, "mode": mode}
    body |= {"from_versions": since} if since else {}
    with opened(data, tenant, make=False) as house:
        with progress_bar("drafting"):
            seal_what_waits(house.books, house.store, house.settings.lateness, house.clock, SEAL_WAIT_SECONDS)
            asked = body if confirm is None else body | {"confirm": confirm}
            found = migrate_plan(house.books, house.store, house.tenant_id, key, asked, house.clock())
        document: dict[str, Any] = migration_json(found)
        if not as_json:
            _print(document)
        wanted = not found.done and bool(found.moves) and yes
        if not (as_json or yes or found.done) and found.moves and sys.stdin.isatty() and sys.stdout.isatty():
            wanted = typer.confirm("Move them?", default=False)
        if wanted:
            with progress_bar("moving"):
                asked = body | {"confirm": found.confirm}
                found = migrate_plan(house.books, house.store, house.tenant_id, key, asked, house.clock())
                document = migration_json(found)
    if as_json:
        print_json(document)
    elif found.done:
        print(f"Moved: {plural(len(found.moves), 'subscription')}.")
    elif found.moves:
        print("Nothing was moved.")
    return EXIT_OK if found.done or not found.moves else EXIT_NO


def _print(document: dict[str, Any]) -> None:
    if not document["count"] and not document["refused_count"]:
        print("No subscription moves.")
        return
    currency = document["currency"]
    moves = document["subscriptions"][:SHOWN_MAX]
    if moves:
        columns = [Column("Subscription"), Column("From", "right"), Column("Since", whole=True)]
        columns += [Column("Before", "right"), Column("After", "right"), Column("Difference", "right")]
        rows = [
            [
                move["subscription"],
                str(move["from_version"]),
                move["effective_at"].removesuffix("T00:00:00Z"),
                *_amounts(move, currency),
            ]
            for move in moves
        ]
        rows.append([plural(document["count"], "subscription"), "", "", *_amounts(document, currency)])
        print_table(columns, rows)
        if document["count"] > len(moves):
            print(f"The largest differences; {document['count'] - len(moves):,} more are not shown.")
    for refused in document["refused"][:SHOWN_MAX]:
        print(f"Stays: {printable(refused['subscription'])}: {printable(refused['message'])}")
    print()


def _amounts(said: dict[str, Any], currency: str) -> list[str]:
    before, after = Decimal(said["before"]), Decimal(said["after"])
    with exact():
        difference = after - before
    return [money(plain(amount), currency) for amount in (before, after, difference)]


def _interval(plan: Any) -> str:
    unit = plan.interval.value.replace("_", "-")
    return unit if plan.interval_count == 1 else f"{plan.interval_count} {unit}s"


def _cards(definition: dict[str, Any]) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = definition["rate_cards"]
    return cards
