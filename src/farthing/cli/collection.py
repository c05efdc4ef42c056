"""`farthing collection`."""

import json
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.documents import read_document
from farthing.cli.options import AsJson, Data, DocumentFile, Tenant, opened
from farthing.cli.output import print_facts, print_json
from farthing.customers.terms.service import get_collection, set_collection

app = new_app(help="When subscriptions are charged: as they go, or at the end.", no_args_is_help=True)

Subscription = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The key of the subscription.")]

_SET = """\b
Examples:
  $ echo '{mode: pay_as_you_go, threshold: "50", charge_within_days: 7}' \\
      | farthing collection set acme-payg -
  $ cat computed.yaml
  mode: pay_as_you_go
  threshold: {computed: {fee_per_charge: "0.30", cost_percent_per_day: "0.1"}}
  least: "5"
  most: "500"
  $ farthing collection set acme-payg computed.yaml"""


@app.command(epilog="\b\nExample:\n  $ farthing collection show acme-payg")
def show(
    subscription: Subscription, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """Show when a subscription is charged, and whether it says so itself or its plan does."""
    with opened(data, tenant, make=False) as house:
        found = get_collection(house.books, house.tenant_id, subscription, house.clock())
    _print(found, as_json)


@app.command("set", epilog=_SET)
def set_own(
    subscription: Subscription,
    file: DocumentFile,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Give a subscription terms of its own, in place of its plan's. They hold from now on."""
    document = read_document(file)
    with opened(data, tenant, make=False) as house:
        found, _ = set_collection(house.books, house.tenant_id, subscription, document, house.clock())
    _print(found, as_json)


@app.command(epilog="\b\nExample:\n  $ farthing collection unset acme-payg")
def unset(
    subscription: Subscription, as_json: AsJson = False, data: Data = None, tenant: Tenant = None
) -> None:
    """Take a subscription's own terms away: those of its plan hold again."""
    with opened(data, tenant, make=False) as house:
        found, _ = set_collection(house.books, house.tenant_id, subscription, None, house.clock())
    _print(found, as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    terms = found["collection"]
    computed = terms.get("threshold")
    facts = {"Subscription": found["subscription"], "Terms of": f"the {found['source']}"}
    facts["Charged"] = "as it goes" if terms["mode"] == "pay_as_you_go" else "at the end of the period"
    if isinstance(computed, dict):
        facts["Threshold"] = f"computed from {json.dumps(computed['computed'])}"
        facts["Bounds"] = f"{terms['least']} to {terms['most']}"
    elif computed is not None:
        facts["Threshold"] = computed
    if "charge_within_days" in terms:
        facts["Within days"] = str(terms["charge_within_days"])
    print_facts(facts)
