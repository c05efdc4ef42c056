"""`farthing coupons`."""

from typing import Annotated, Any

import typer

from farthing.catalog.coupon import Coupon, coupon_json
from farthing.catalog.model import Outcome
from farthing.catalog.service import list_coupons, put_coupon
from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, Timezone, opened, parse_moment
from farthing.cli.output import Column, number, plural, print_json, print_table, printable
from farthing.customers.terms.content import redemption_json
from farthing.customers.terms.service import redeem_coupon
from farthing.invoicing.service import list_redemptions
from farthing.kernel.instant import format_instant

LIMIT_MAX = 100

app = new_app(help="Coupons, and the subscriptions that redeem them.", no_args_is_help=True)

Subscription = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The key of the subscription.")]

_CREATE = """\b
Example:
  $ echo '{key: launch, name: Launch offer, percent: "20", duration: repeating, periods: 3}' \\
      | farthing coupons create -

\b
Fields: percent, or amount and currency; duration once, repeating (with periods) or forever;
optional rate_cards, redeem_by, max_redemptions. `farthing apply` takes a list of them."""


@app.command(epilog=_CREATE)
def create(
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Create a coupon. It never changes afterwards."""
    document = read_document(file)
    with opened(data, tenant) as house:
        coupon, outcome = put_coupon(house.books, house.tenant_id, document, house.clock())
    if as_json:
        print_json(coupon_json(coupon) | {"outcome": str(outcome)})
    else:
        said = "is there" if outcome is Outcome.CREATED else "was there already"
        print(f"The coupon {printable(coupon.key)} {said}: {_offer(coupon)}.")


@app.command("list", epilog="\b\nExample:\n  $ farthing coupons list")
def list_some(
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List coupons in the order of their keys, with how often each was redeemed."""
    with opened(data, tenant, make=False) as house:
        found = list_coupons(house.books, house.tenant_id, after, limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        coupons = [coupon_json(coupon) | {"redeemed": redeemed} for coupon, redeemed in page]
        print_json({"coupons": coupons, "more": more})
        return
    if not page:
        print("No coupons.")
        return
    print_table(
        [
            Column("Coupon"),
            Column("Name"),
            Column("Takes off"),
            Column("Until", whole=True),
            Column("Redeemed", "right"),
            Column("At most", "right"),
        ],
        [
            [
                coupon.key,
                coupon.name,
                _offer(coupon),
                format_instant(coupon.redeem_by) if coupon.redeem_by else "-",
                number(redeemed),
                number(coupon.max_redemptions) if coupon.max_redemptions else "-",
            ]
            for coupon, redeemed in page
        ],
    )
    if more:
        print(f"There are more: --after {printable(page[-1][0].key)}")


@app.command(epilog="\b\nExample:\n  $ farthing coupons redeem launch acme-payg --start 2026-02-01")
def redeem(
    coupon: Annotated[str, typer.Argument(metavar="COUPON", help="The key of the coupon.")],
    subscription: Subscription,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Invoices due from then on are reduced; now, if left out."),
    ] = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Redeem a coupon for a subscription. Again, it changes nothing."""
    wanted = {"coupon": coupon}
    if start is not None:
        wanted["start"] = format_instant(parse_moment(start, timezone, "--start"))
    with opened(data, tenant, make=False) as house:
        redemption, outcome = redeem_coupon(house.books, house.tenant_id, subscription, wanted, house.clock())
    if as_json:
        print_json(redemption_json(redemption) | {"outcome": str(outcome)})
        return
    said = "redeems" if outcome is Outcome.CREATED else "redeemed already"
    print(f"{printable(subscription)} {said} {printable(coupon)}: {_offer(redemption.coupon)},")
    print(f"on invoices that fall due from {format_instant(redemption.start)} on.")


@app.command(epilog="\b\nExample:\n  $ farthing coupons redeemed acme-payg")
def redeemed(
    subscription: Subscription, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """List the coupons of a subscription in the order in which they apply, and what they took off."""
    with opened(data, tenant, make=False) as house:
        found = list_redemptions(house.books, house.tenant_id, subscription)
    if as_json:
        print_json({"coupons": found})
        return
    if not found:
        print("No coupons.")
        return
    print_table(
        [
            Column("Coupon"),
            Column("From", whole=True),
            Column("Taken off", "right"),
            Column("Invoices", "right"),
            Column("Left", "right"),
        ],
        [_redemption_row(one) for one in found],
    )


def _redemption_row(one: dict[str, Any]) -> list[str]:
    left = "-" if one["invoices_left"] is None else number(one["invoices_left"])
    return [one["coupon"], one["start"], number(one["taken_off"]), number(one["invoices_reduced"]), left]


def _offer(coupon: Coupon) -> str:
    """`20 % for 3 periods`"""
    off = (
        f"{number(coupon.percent)} %"
        if coupon.percent is not None
        else f"{number(coupon.amount or 0)} {coupon.currency}"
    )
    if coupon.periods is None:
        return f"{off} for ever"
    return f"{off} once" if coupon.periods == 1 else f"{off} for {plural(coupon.periods, 'period')}"
