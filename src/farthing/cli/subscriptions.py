"""`farthing subscriptions`: what customers are on, and every change of it."""

import json
from typing import Annotated, Any

import typer

from farthing.app import App
from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, moment, money, number, print_facts, print_json, print_table, printable
from farthing.customers.content import one_off_json, subscription_document
from farthing.customers.facts import fact_json
from farthing.customers.life import (
    change_subscription,
    charge_once,
    list_changes,
    list_one_offs,
    withdraw_change,
)
from farthing.customers.model import Fact, OneOffCharge, Subscription
from farthing.customers.service import get_customer, get_subscription, list_subscriptions
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import format_instant, parse_instant

LIMIT_MAX = 100
VALUE_SHOWN_MAX = 60

app = new_app(help="Subscriptions: what customers are on, and every change of it.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The subscription's key.")]
At = Annotated[
    str,
    typer.Option(metavar="TIME", help="From when on: a date, a time, now, or period_end."),
]
Name = Annotated[
    str | None,
    typer.Option("--key", metavar="NAME", help="Yours for the change: under one it is made once."),
]


@app.command("list", epilog="\b\nExample:\n  $ farthing subscriptions list --customer acme")
def list_all(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List subscriptions in order of their keys."""
    with opened(data, tenant, make=False) as house:
        found = list_subscriptions(house.books, house.tenant_id, after, limit + 1, customer)
        now = house.clock()
    page, more = [subscription_document(one, now) for one in found[:limit]], len(found) > limit
    if as_json:
        print_json({"subscriptions": page, "more": more})
        return
    if not page:
        print("There are no subscriptions.")
        return
    columns = [Column("Subscription"), Column("Customer"), Column("Plan"), Column("Version", "right")]
    columns += [Column("Status", whole=True), Column("Since", whole=True), Column("Until", whole=True)]
    print_table(columns, [_row(one) for one in page])
    if more:
        print(f"There are more: --after {printable(str(page[-1]['key']))}")


@app.command(epilog="\b\nExample:\n  $ farthing subscriptions show acme-pro")
def show(key: Key, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show a subscription: its timeline, its changes, its one-off charges."""
    with opened(data, tenant, make=False) as house:
        subscription = get_subscription(house.books, house.tenant_id, key)
        currency = get_customer(house.books, house.tenant_id, subscription.customer).currency
        changes = list_changes(house.books, house.tenant_id, key, 0, LIMIT_MAX)
        charges = list_one_offs(house.books, house.tenant_id, key, None, LIMIT_MAX)
        document = subscription_document(subscription, house.clock())
    if as_json:
        said = {
            "changes": [fact_json(*change) for change in changes],
            "charges": [one_off_json(*charge) for charge in charges],
        }
        print_json(document | said)
        return
    _print(document)
    if changes:
        print("\nChanges:")
        columns = [Column("Id", "right"), Column("From", whole=True), Column("Change", whole=True)]
        print_table([*columns, Column("What")], [_change_row(*change) for change in changes])
    if charges:
        print("\nOne-off charges:")
        columns = [Column("Charge"), Column("On", whole=True), Column("What"), Column("Amount", "right")]
        print_table(
            [*columns, Column("Invoice", whole=True)], [_charge_row(*one, currency) for one in charges]
        )


_CHANGE_EXAMPLE = """\b
Examples:
  $ farthing subscriptions change acme-pro --plan team --at period_end
  $ farthing subscriptions change acme-pro --quantity seats=12
  $ farthing subscriptions change acme-pro --withdraw 17
  $ farthing subscriptions change acme-pro change.yaml

\b
The file, YAML or JSON, holds any change that the HTTP API takes:
  kind: override              # plan quantity override add_on remove_add_on pause resume cancel
  overrides:                  # reactivate trial
    input: {model: per_unit, unit_price: "0.001"}
  at: 2024-02-01T00:00:00Z"""


@app.command(epilog=_CHANGE_EXAMPLE)
def change(
    key: Key,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="The change; - for standard input.", show_default=False),
    ] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="Move it to this plan.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Of the plan; its latest if left out.")] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", metavar="CARD=N", help="How many of a fixed fee; may be repeated."),
    ] = None,
    withdraw: Annotated[
        int | None, typer.Option(metavar="ID", min=1, help="Call the change of this id off.")
    ] = None,
    at: At = "now",
    invoice_now: Annotated[
        bool, typer.Option("--invoice-now", help="Bill what it does to fees in advance at once.")
    ] = False,
    name: Name = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Change a subscription from a moment on: its plan, quantities, or what a file says.

    What was paid in advance and is not used comes back on the next invoice, beside what is owed instead.
    """
    wanted = [file is not None, plan is not None or bool(quantity), withdraw is not None]
    if wanted.count(True) != 1:
        raise InvalidInput("invalid_choice", "say what: --plan, --quantity, --withdraw, or FILE", path="FILE")
    if withdraw is not None:
        with opened(data, tenant, make=False) as house:
            after, fact, outcome = withdraw_change(house.books, house.tenant_id, key, withdraw, house.clock())
            _print_change(house, after, fact, outcome, as_json)
        return
    if file is not None:
        body = read_document(file)
    else:
        kind = "quantity" if plan is None else "plan"
        terms: dict[str, object] = {"kind": kind, **_at(at, timezone), **_named(name)}
        terms |= {} if plan is None else {"plan": plan}
        terms |= {} if version is None else {"version": version}
        terms |= {"quantities": _quantities(quantity)} if quantity else {}
        terms |= {"invoice": "now"} if invoice_now else {}
        body = terms
    _change(key, body, as_json, data, tenant)


@app.command(epilog="\b\nExample:\n  $ farthing subscriptions pause acme-pro --at 2024-02-01")
def pause(
    key: Key,
    at: At = "now",
    name: Name = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Pause a subscription: fees stop, usage is counted and costs nothing."""
    _change(key, {"kind": "pause", **_at(at, timezone), **_named(name)}, as_json, data, tenant)


@app.command(epilog="\b\nExample:\n  $ farthing subscriptions resume acme-pro")
def resume(
    key: Key,
    at: At = "now",
    name: Name = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Resume a paused subscription, or one that was cancelled."""
    with opened(data, tenant, make=False) as house:
        found = get_subscription(house.books, house.tenant_id, key)
        paused = subscription_document(found, house.clock())["status"] == "paused"
    kind = "resume" if paused or found.end is None else "reactivate"
    _change(key, {"kind": kind, **_at(at, timezone), **_named(name)}, as_json, data, tenant)


@app.command(epilog="\b\nExample:\n  $ farthing subscriptions cancel acme-pro --at period_end")
def cancel(
    key: Key,
    at: At = "now",
    no_refund: Annotated[
        bool, typer.Option("--no-refund", help="Do not credit what was paid for the time after.")
    ] = False,
    name: Name = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """End a subscription. What was paid for the time after is credited."""
    body = {
        "kind": "cancel",
        "refund": "none" if no_refund else "unused",
        **_at(at, timezone),
        **_named(name),
    }
    _change(key, body, as_json, data, tenant)


@app.command(epilog='\b\nExample:\n  $ farthing subscriptions charge acme-pro setup 250 "Setup"')
def charge(
    key: Key,
    name: Annotated[
        str, typer.Argument(metavar="CHARGE", help="Your key for the charge; it is billed once.")
    ],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the customer's currency.")],
    description: Annotated[str, typer.Argument(metavar="TEXT", help="What stands on the invoice.")],
    credit: Annotated[bool, typer.Option("--credit", help="To the customer's favour.")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it falls due; now if left out.")
    ] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Charge an amount once, on the invoice of the period that it falls in."""
    body: dict[str, object] = {"key": name, "description": description, "credit": credit}
    body["amount"] = f"-{amount}" if credit else amount
    if at is not None:
        body["at"] = format_instant(parse_moment(at, timezone, "--at"))
    with opened(data, tenant, make=False) as house:
        made, outcome = charge_once(house.books, house.tenant_id, key, body, house.clock())
        currency = get_customer(
            house.books, house.tenant_id, get_subscription(house.books, house.tenant_id, key).customer
        ).currency
    document = one_off_json(made, None)
    if as_json:
        print_json(document | {"outcome": outcome.value})
        return
    said = "is charged" if outcome is Outcome.CREATED else "was charged already"
    print(f"{money(str(document['amount']), currency)} {said}, for {moment(made.charged_at)}.")


def _change(key: str, body: object, as_json: bool, data: Any, tenant: str | None) -> None:
    with opened(data, tenant, make=False) as house:
        after, fact, outcome = change_subscription(house.books, house.tenant_id, key, body, house.clock())
        _print_change(house, after, fact, outcome, as_json)


def _print_change(house: App, after: Subscription, fact: Fact, outcome: Outcome, as_json: bool) -> None:
    document = subscription_document(after, house.clock())
    if as_json:
        print_json({"outcome": outcome.value, "change": fact_json(fact), "subscription": document})
        return
    if outcome is Outcome.UNCHANGED:
        print("Nothing changes: this was done already.")
    elif fact.withdraws is not None:
        print(f"Change {fact.withdraws} is called off.")
    else:
        print(f"Change {fact.change_id}, from {moment(fact.effective_at)} on.")
    print()
    _print(document)


def _print(document: dict[str, Any]) -> None:
    print_facts(
        {
            "Subscription": str(document["key"]),
            "Customer": str(document["customer"]),
            "Plan": f"{document['plan']} version {document['version']}",
            "Status": str(document["status"]),
            "Anchor": str(document["anchor"]),
        }
    )
    print()
    columns = [
        Column("From", whole=True),
        Column("Until", whole=True),
        Column("Plan"),
        Column("Version", "right"),
    ]
    rows = [
        [_day(one["start"]), _day(one["end"]), one["plan"], str(one["version"]), one["status"], _terms(one)]
        for one in document["timeline"]
    ]
    print_table([*columns, Column("Status", whole=True), Column("Beside it")], rows)


def _terms(stretch: dict[str, Any]) -> str:
    """What a stretch charges beside its plan: `seats 8, own price of input, add-on support`."""
    said = [f"{card} {number(count)}" for card, count in stretch.get("quantities", {}).items()]
    said += [f"own price of {card}" for card in stretch.get("overrides", {})]
    said += [f"add-on {card['key']}" for card in stretch.get("add_ons", [])]
    return ", ".join(said)


def _row(document: dict[str, Any]) -> list[str]:
    names = ("key", "customer", "plan", "version", "status")
    return [*(str(document[name]) for name in names), _day(document["start"]), _day(document["end"])]


def _change_row(fact: Fact, withdrawn_by: int | None) -> list[str]:
    said = fact_json(fact)
    shown = ("change_id", "key", "effective_at", "made_at", "kind", "withdraws")
    what = {name: value for name, value in said.items() if name not in shown}
    text = json.dumps(what, ensure_ascii=False) if what else ""
    if fact.withdraws is not None:
        text = f"calls {fact.withdraws} off"
    elif withdrawn_by is not None:
        text = f"called off by {withdrawn_by}"
    elif len(text) > VALUE_SHOWN_MAX:
        text = text[: VALUE_SHOWN_MAX - 1] + "…"
    return [str(fact.change_id), _day(format_instant(fact.effective_at)), fact.content.kind.value, text]


def _charge_row(charge: OneOffCharge, invoice: str | None, currency: str) -> list[str]:
    document = one_off_json(charge, invoice)
    day = _day(format_instant(charge.charged_at))
    return [charge.key, day, charge.description, money(str(document["amount"]), currency), invoice or ""]


def _day(text: str | None) -> str:
    """A midnight as its date."""
    return "" if text is None else moment(parse_instant(text, "")).removesuffix("T00:00:00Z")


def _at(text: str, timezone: str) -> dict[str, str]:
    if text in ("now", "period_end"):
        return {"at": text}
    return {"at": format_instant(parse_moment(text, timezone, "--at"))}


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"key": name}


def _quantities(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        card, equals, count = pair.partition("=")
        if not equals or not card or card in found:
            complaint = f"{pair[:40]!r} is not a rate card and a number, like seats=12, or stands twice"
            raise InvalidInput.of("invalid_quantity", [Fault("--quantity", complaint)])
        found[card] = count
    return found
