"""A tenant that sells from Germany, with a table of rates."""

from typing import Any

from billing_world import World

from farthing.invoicing.service import put_seller
from farthing.tax.service import import_rates, put_facts

SELLER = {
    "name": "Northwind AI GmbH",
    "address": {"city": "Berlin", "country": "DE"},
    "tax_id": "DE136695976",
}
GERMAN = {"country": "DE", "number": "DE136695976"}
FRENCH = {"country": "FR", "number": "FR40303265045"}
RATES = [
    {"country": "DE", "rate": "19", "name": "VAT", "from": "2007-01-01"},
    {"country": "DE", "category": "reduced", "rate": "7", "name": "VAT", "from": "1983-07-01"},
    {"country": "FR", "rate": "20", "name": "VAT", "from": "2014-01-01"},
    {"country": "CA", "rate": "5", "name": "GST"},
    {"country": "CA", "region": "QC", "rate": "9.975", "name": "QST", "adds": True},
]


def collects_tax(world: World, *more: dict[str, Any]) -> None:
    """The seller says where it is, and loads its rates."""
    put_seller(world.books, world.tenant_id, SELLER)
    import_rates(world.books, world.tenant_id, {"rates": [*RATES, *more]}, world.now)


def knows(world: World, customer: str, **facts: Any) -> None:
    """What is known of a customer from now on."""
    put_facts(world.books, world.tenant_id, customer, facts, world.now)
