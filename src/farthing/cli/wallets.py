"""`farthing wallets`."""

from typing import Annotated, Any

import typer

from farthing.catalog.model import Outcome
from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, opened
from farthing.cli.output import Column, number, print_facts, print_json, print_table, printable
from farthing.wallets.model import Grant
from farthing.wallets.service import (
    create_grant,
    create_wallet,
    get_wallet,
    list_grants,
    list_recurring,
    list_wallets,
    void_grant,
    wallet_history,
)
from farthing.wallets.top_ups import list_top_ups, request_top_up, settle_top_up
from farthing.wallets.upkeep import recur_grants
from farthing.wallets.wire import grant_document, granted_document, recurring_document, wallet_document

LIMIT_MAX = 100

app = new_app(help="Wallets: what customers paid in advance or were given.", no_args_is_help=True)

Wallet = Annotated[str, typer.Argument(metavar="WALLET", help="The key of the wallet.")]
Limit = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")]

_CREATE = """\b
Example:
  $ echo '{key: acme-usd, customer: acme, currency: USD, low_balance: "5"}' \\
      | farthing wallets create -
  $ echo '{key: acme-requests, customer: acme, unit: requests}' | farthing wallets create -

\b
Fields: optional name, priority (0 first), low_balance, and
top_up: {below, amount, cooldown_seconds, monthly_maximum, collected_by}."""

_GRANT = """\b
Example:
  $ echo '{key: order-17, kind: paid, amount: "100"}' | farthing wallets grant acme-usd -
  $ echo '{key: free, kind: promotional, amount: "10", every: {interval: month}}' \\
      | farthing wallets grant acme-usd -

\b
Fields: kind paid or promotional; of paid units unit_price; optional effective_at, expires_at,
priority, meters, rate_cards, reference; every: {interval, interval_count, end, expires,
rollover_percent, rollover_maximum}."""


@app.command(epilog=_CREATE)
def create(
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Create a wallet. It is empty: money comes in grants."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        wallet, outcome = create_wallet(house.books, house.tenant_id, document, house.clock())
        made = get_wallet(house.books, house.tenant_id, wallet.key, house.clock())
    if as_json:
        print_json(wallet_document(made) | {"outcome": str(outcome)})
        return
    said = "is there" if outcome is Outcome.CREATED else "was there already"
    print(f"The wallet {printable(wallet.key)} of {printable(wallet.customer)} {said}.")


@app.command("list", epilog="\b\nExample:\n  $ farthing wallets list --customer acme")
def list_some(
    customer: Annotated[str | None, typer.Option(metavar="KEY", help="Only this customer's.")] = None,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this one.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List wallets in the order of their keys, with what can be drawn now."""
    with opened(data, tenant, make=False) as house:
        now = house.clock()
        found = list_wallets(house.books, house.tenant_id, after, limit + 1, now, customer)
    page, more = [wallet_document(one) for one in found[:limit]], len(found) > limit
    if as_json:
        print_json({"wallets": page, "more": more})
        return
    if not page:
        print("No wallets.")
        return
    print_table(
        [
            Column("Wallet"),
            Column("Customer"),
            Column("Available", "right"),
            Column("Held", "right"),
            Column("Scheduled", "right"),
            Column("", whole=True),
            Column("State", whole=True),
        ],
        [
            [
                one["key"],
                one["customer"],
                number(one["balance"]["available"]),
                number(one["balance"]["held"]),
                number(one["balance"]["scheduled"]),
                one["currency"] or one["unit"],
                one["balance_state"],
            ]
            for one in page
        ],
    )
    if more:
        print(f"There are more: --after {printable(page[-1]['key'])}")


@app.command(epilog="\b\nExample:\n  $ farthing wallets show acme-usd")
def show(wallet: Wallet, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show a wallet, its balance and its grants, the latest hundred of them."""
    with opened(data, tenant, make=False) as house:
        found = wallet_document(get_wallet(house.books, house.tenant_id, wallet, house.clock()))
        grants = list_grants(house.books, house.tenant_id, wallet, 0, LIMIT_MAX, latest=True)
        promises = list_recurring(house.books, house.tenant_id, wallet, 0, LIMIT_MAX)
    if as_json:
        recurring = [recurring_document(one) for one in promises]
        print_json(found | {"grants": [grant_document(one) for one in grants], "recurring": recurring})
        return
    currency = found["currency"] or found["unit"]
    balance = found["balance"]
    facts = {
        "Wallet": found["key"],
        "Customer": found["customer"],
        "Available": f"{number(balance['available'])} {currency} ({found['balance_state']})",
        "Paid for": f"{number(balance['available_paid'])} {currency}",
        "Held": f"{number(balance['held'])} {currency}",
        "Scheduled": f"{number(balance['scheduled'])} {currency}",
        "Priority": str(found["priority"]),
    }
    if found["low_balance"] is not None:
        facts["Low at"] = f"{number(found['low_balance'])} {currency}"
    if found["top_up"] is not None:
        top_up = found["top_up"]
        facts["Top-up"] = f"{number(top_up['amount'])} {currency} below {number(top_up['below'])}"
    for promise in promises:
        said = recurring_document(promise)
        every = f"{said['every']['interval_count']} {said['every']['interval']}"
        facts["Recurring"] = f"{said['key']}: {number(said['amount'])} {currency} every {every}"
    print_facts(facts)
    if grants:
        print()
        _print_grants(grants)


def _print_grants(grants: list[Grant]) -> None:
    print_table(
        [
            Column("Grant"),
            Column("Kind", whole=True),
            Column("Expires"),
            Column("Amount", "right"),
            Column("Drawn", "right"),
            Column("Ended", "right"),
            Column("Left", "right"),
        ],
        [
            [
                one["key"],
                one["kind"],
                (one["expires_at"] or "-")[:10],
                number(one["amount"]),
                number(one["drawn"]),
                number(one["expired"]),
                number(one["left"]),
            ]
            for one in map(grant_document, grants)
        ],
    )


@app.command(epilog=_GRANT)
def grant(
    wallet: Wallet,
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Put a grant into a wallet, or with `every` promise one in each period. Again, it changes nothing."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        granted, outcome = create_grant(house.books, house.tenant_id, wallet, document, house.clock())
        if not isinstance(granted, Grant):
            recur_grants(house.books, house.tenant_id, house.clock())
    said = granted_document(granted)
    if as_json:
        print_json(said | {"outcome": str(outcome)})
        return
    standing = "has" if outcome is Outcome.CREATED else "had already"
    print(f"{printable(wallet)} {standing} the {said['kind']} grant {printable(said['key'])}: ", end="")
    print(f"{number(said['amount'])}{_how_often(said)}.")


def _how_often(said: dict[str, Any]) -> str:
    if "every" not in said:
        return ""
    every = said["every"]
    count = every["interval_count"]
    return f" every {every['interval']}" if count == 1 else f" every {count} {every['interval']}s"


@app.command(epilog="\b\nExample:\n  $ farthing wallets void order-17 --note 'order was cancelled'")
def void(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="The key of the grant.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for people.")] = "",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Call off what of a grant is neither drawn nor held."""
    with opened(data, tenant, make=False) as house:
        voided, left = void_grant(house.books, house.tenant_id, grant, note, house.clock())
    if as_json:
        print_json(grant_document(voided) | {"voided": left})
        return
    print(f"{number(left)} of {printable(grant)} were called off.")


@app.command(epilog="\b\nExample:\n  $ farthing wallets history acme-usd")
def history(
    wallet: Wallet,
    limit: Limit = 50,
    before: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Begin before this movement (its place in --json).")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List what moved in a wallet and why, the latest first."""
    with opened(data, tenant, make=False) as house:
        found = wallet_history(house.books, house.tenant_id, wallet, before, limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"movements": page, "more": more})
        return
    if not page:
        print("Nothing has moved yet.")
        return
    print_table(
        [
            Column("When", whole=True),
            Column("What", whole=True),
            Column("Grant"),
            Column("Amount", "right"),
            Column("For"),
        ],
        [
            [f"{one['at'][:19]}Z", one["movement"], one["grant"], number(one["amount"]), _because(one)]
            for one in page
        ],
    )
    if more:
        print(f"There are more: --before '{printable(page[-1]['place'])}'")


def _because(one: dict[str, Any]) -> str:
    if "subscription" not in one:
        return str(one["because"])
    return f"{one['subscription']} {one['rate_card']} of {one['period_start'][:10]}, {one['because'].split(' ')[0]}"


# ---- Top-ups


@app.command(
    "top-up", epilog="\b\nExample:\n  $ farthing wallets top-up acme-usd order-17 50.00 --by-payment"
)
def top_up(
    wallet: Wallet,
    key: Annotated[str, typer.Argument(metavar="TOP-UP", help="A key of your choice, once.")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Like 50.00.")],
    by_payment: Annotated[
        bool, typer.Option("--by-payment", help="Charge the method that the customer left.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Ask for money. The wallet has it once it is there: by a payment, or settled by hand."""
    raw = {"key": key, "amount": amount, "collected_by": "payment" if by_payment else "hand"}
    with opened(data, tenant, make=False) as house:
        made, outcome = request_top_up(house.books, house.tenant_id, wallet, raw, house.clock())
    if as_json:
        print_json(made | {"outcome": str(outcome)})
        return
    _say(made)


@app.command(
    "settle-top-up", epilog="\b\nExample:\n  $ farthing wallets settle-top-up acme-usd order-17 funded"
)
def settle(
    wallet: Wallet,
    key: Annotated[str, typer.Argument(metavar="TOP-UP", help="The key of the top-up.")],
    status: Annotated[str, typer.Argument(metavar="STATUS", help="funded or failed.")],
    reference: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the money, or why there is none.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what came of money that was collected elsewhere. Again, it changes nothing."""
    raw = {"status": status} | ({} if reference is None else {"reference": reference})
    with opened(data, tenant, make=False) as house:
        settled = settle_top_up(house.books, house.tenant_id, wallet, key, raw, house.clock())
    if as_json:
        print_json(settled)
        return
    _say(settled)


def _say(one: dict[str, Any]) -> None:
    print(f"{number(one['amount'])} {one['currency']} for {printable(one['wallet'])}: {one['status']}.")


@app.command("top-ups", epilog="\b\nExample:\n  $ farthing wallets top-ups acme-usd")
def top_ups(
    wallet: Annotated[
        str | None, typer.Argument(metavar="[WALLET]", help="Only of this one.", show_default=False)
    ] = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Begin behind this one.")] = 0,
    limit: Limit = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List top-ups in the order in which they were asked for, with what came of them."""
    with opened(data, tenant, make=False) as house:
        found = list_top_ups(house.books, house.tenant_id, after, limit + 1, wallet)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"top_ups": page, "more": more})
        return
    if not page:
        print("No top-ups.")
        return
    print_table(
        [
            Column("Top-up"),
            Column("Wallet"),
            Column("Amount", "right"),
            Column("", whole=True),
            Column("Collected by", whole=True),
            Column("Asked for", whole=True),
            Column("State", whole=True),
            Column("Because"),
        ],
        [
            [
                one["key"],
                one["wallet"],
                number(one["amount"]),
                one["currency"],
                one["collected_by"],
                one["requested_at"][:10],
                one["status"],
                one["failure"] or "",
            ]
            for one in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1]['number']}")
