"""Use cases of tax: load a table of rates, look at it, say what is known of a customer."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from farthing.catalog.model import Outcome
from farthing.customers import store as customer_rows
from farthing.customers.model import Customer
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import NotFound
from farthing.kernel.reading import shown
from farthing.tax import store as rows
from farthing.tax.content import parse_facts, parse_rates
from farthing.tax.model import NO_FACTS, Place, Question, TaxFacts, TaxRate, TaxTerms, Treatment
from farthing.tax.table import TaxTable
from farthing.tax.treatment import treatment_of

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


def import_rates(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[int, int]:
    """Load a table: how many rows are new or changed, and how many stood as they are.

    All of it or nothing; loading it again changes nothing. Issued invoices stay as they are.

    Raises InvalidInput `invalid_tax_table`.
    """
    rates = parse_rates(raw)
    with books.transaction(tenant_id) as conn:
        rows.lock_table(conn, tenant_id)
        standing = {_named(rate): rate for rate in rows.select_rates(conn, tenant_id)}
        new = [rate for rate in rates if standing.get(_named(rate)) != rate]
        if new:
            rows.insert_rates(conn, tenant_id, new, now)
    return len(new), len(rates) - len(new)


def list_rates(
    books: Books,
    tenant_id: int,
    after: int,
    limit: int,
    *,
    country: str | None = None,
    day: date | None = None,
) -> list[tuple[int, TaxRate]]:
    """The rows of the table with their places, from 1 on, in order of place, category and day; behind `after`.

    country, day: only the rows of that country, only those that hold on that day.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        rates = rows.select_rates(conn, tenant_id)
    if country is not None:
        rates = [rate for rate in rates if rate.country == country]
    if day is not None:
        rates = _held_on(rates, day)
    return list(enumerate(rates, start=1))[after : after + limit]


def put_facts(
    books: Books, tenant_id: int, customer: str, raw: object, now: datetime
) -> tuple[TaxFacts, Outcome]:
    """Say what is known of a customer for tax, on invoices from now on; what was known before is kept.

    Raises InvalidInput `invalid_tax_id`, `invalid_tax_facts`, ...; NotFound `customer_not_found`.
    """
    facts = parse_facts(raw)
    with books.transaction(tenant_id) as conn:
        found = _customer(conn, tenant_id, customer)
        rows.lock_table(conn, tenant_id)
        known = rows.select_facts(conn, tenant_id, [found.customer_id]).get(found.customer_id)
        if known == facts:
            return facts, Outcome.UNCHANGED
        rows.insert_facts(conn, tenant_id, found.customer_id, facts, now)
    return facts, Outcome.CREATED if known is None else Outcome.CHANGED


def get_facts(books: Books, tenant_id: int, customer: str) -> TaxFacts:
    """What is known of a customer for tax. Raises NotFound `customer_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = _customer(conn, tenant_id, customer)
        return rows.select_facts(conn, tenant_id, [found.customer_id]).get(found.customer_id, NO_FACTS)


def treatment_now(
    books: Books, tenant_id: int, customer: str, category: str, day: date, seller: Mapping[str, Any]
) -> Treatment:
    """What a supply of a category to a customer bears on a day. Raises NotFound `customer_not_found`.

    seller: as it stands on invoices; its address says where it is established.
    """
    with books.read_only(tenant_id) as conn:
        found = _customer(conn, tenant_id, customer)
        terms = tax_terms(conn, tenant_id, [found.customer_id])
    question = Question(
        place_of(seller.get("address", {})),
        Place(found.address.country, found.address.region),
        terms.of(found.customer_id),
        category,
        day,
    )
    return treatment_of(question, TaxTable(terms.rates))


def tax_terms(conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]) -> TaxTerms:
    """The table, and what is known of these customers, as they stand in this transaction."""
    rates = tuple(rows.select_rates(conn, tenant_id))
    return TaxTerms(rates, rows.select_facts(conn, tenant_id, customer_ids))


def place_of(address: Mapping[str, str]) -> Place:
    """Where the party of an address is established."""
    return Place(address.get("country"), address.get("region"))


def _named(rate: TaxRate) -> tuple[str, str | None, str, date]:
    return rate.country, rate.region, rate.category, rate.valid_from


def _held_on(rates: list[TaxRate], day: date) -> list[TaxRate]:
    held = {(rate.country, rate.region, rate.category): rate for rate in rates if rate.valid_from <= day}
    return [rate for rate in held.values() if rate.valid_until is None or day < rate.valid_until]


def _customer(conn: BooksConnection, tenant_id: int, key: str) -> Customer:
    found = customer_rows.select_customers(conn, tenant_id, [key]).get(key)
    if found is None:
        raise NotFound("customer_not_found", f"there is no customer {shown(key)}")
    return found
