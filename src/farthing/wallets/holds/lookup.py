"""Use cases around authorisations: see what stands, and set spending limits."""

from collections.abc import Collection, Mapping
from datetime import datetime

from farthing.catalog.model import Outcome
from farthing.customers.service import get_customer
from farthing.db import Books
from farthing.kernel.errors import NotFound
from farthing.kernel.period import parse_interval
from farthing.kernel.quantity import ZERO, parse_decimal
from farthing.kernel.reading import Faults, Fields, parse_choice, parse_subject, parse_text, shown
from farthing.wallets.holds import limits_store as limit_rows
from farthing.wallets.holds import store as rows
from farthing.wallets.holds.content import whole_json
from farthing.wallets.holds.decide import limit_period
from farthing.wallets.holds.model import (
    Counted,
    Document,
    Hold,
    Level,
    LimitContent,
    SpendingLimit,
    Spent,
    Status,
)
from farthing.wallets.holds.service import OLDEST_PERIOD

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""
INVALID_LIMIT = "invalid_spending_limit"


def get_authorization(books: Books, tenant_id: int, key: str) -> Document:
    """An authorisation with the grants that it is set aside on. Raises NotFound `authorization_not_found`."""
    with books.read_only(tenant_id) as conn:
        hold = rows.select_holds(conn, tenant_id, [key]).get(key)
        if hold is None:
            raise NotFound("authorization_not_found", f"there is no authorisation {shown(key)}")
        ids = {part.grant_id for part in (*hold.held_parts, *hold.settled_parts)}
        return whole_json(hold, rows.select_grant_keys(conn, tenant_id, ids))


def list_authorizations(
    books: Books,
    tenant_id: int,
    after: str | None,
    limit: int,
    customer: str | None = None,
    status: Collection[Status] = tuple(Status),
) -> list[Hold]:
    """Authorisations in the order of their keys, the first after `after`. Raises NotFound `customer_not_found`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    customer_id = None if customer is None else get_customer(books, tenant_id, customer).customer_id
    with books.read_only(tenant_id) as conn:
        return rows.select_holds_after(conn, tenant_id, after, limit, customer_id, status)


def status_filter(shown_status: str | None) -> tuple[Status, ...]:
    """What a status that people ask for covers: settled are those whose event is counted, too."""
    if shown_status is None:
        return tuple(Status)
    status = Status(shown_status)
    return (Status.SETTLED, Status.COUNTED) if status is Status.SETTLED else (status,)


# ---- Spending limits


def parse_limit(raw: object) -> LimitContent:
    """`{"customer": "acme", "level": "project", "name": "chat", "interval": "month", "amount": "100"}`.

    Raises InvalidInput `invalid_spending_limit`, or the code of its parts, with every fault.
    """
    faults = Faults(INVALID_LIMIT)
    fields = Fields(raw, "", faults)
    customer = fields.required("customer", parse_subject)
    level = fields.optional("level", _parse_level, Level.CUSTOMER)
    name = fields.optional("name", parse_text, "")
    interval = fields.required("interval", parse_interval)
    amount = fields.required("amount", lambda raw, path: parse_decimal(raw, path, code=INVALID_LIMIT))
    fields.refuse_unknown()
    if amount is not None and amount < ZERO:
        faults.add("amount", "must not be negative")
    if level is Level.CUSTOMER and name:
        faults.add("name", "stands beside the level project or api_key, and only there")
    if level in (Level.PROJECT, Level.API_KEY) and not name:
        faults.add("name", f"of the {level.value} is missing")
    faults.refuse()
    return LimitContent(customer, level, name, interval, amount)


def _parse_level(raw: object, path: str) -> Level:
    return Level(parse_choice(raw, path, tuple(Level), code=INVALID_LIMIT))


def put_limit(
    books: Books, tenant_id: int, raw: object, now: datetime
) -> tuple[SpendingLimit, Spent, Outcome]:
    """Set a limit; one of the same customer, level, name and interval is replaced.

    One that is set below what counts against it already lets nothing more through until its period ends.

    Raises InvalidInput; NotFound `customer_not_found`.
    """
    content = parse_limit(raw)
    customer = get_customer(books, tenant_id, content.customer)
    with books.transaction(tenant_id) as conn:
        before = limit_rows.select_limits_after(conn, tenant_id, 0, None, customer.customer_id)
        limit_id = limit_rows.put_limit(conn, tenant_id, customer.customer_id, content, now)
        after = limit_rows.select_limits_after(conn, tenant_id, limit_id - 1, 1, customer.customer_id)[0]
        spent = _spent(
            limit_rows.select_spending(conn, tenant_id, [limit_id], now - OLDEST_PERIOD), after, now
        )
    was = next((limit for limit in before if limit.limit_id == limit_id), None)
    if was is None:
        return after, spent, Outcome.CREATED
    return after, spent, Outcome.UNCHANGED if was.amount == after.amount else Outcome.CHANGED


def delete_limit(books: Books, tenant_id: int, limit_id: int, now: datetime) -> tuple[SpendingLimit, Spent]:
    """From now on it bounds nothing. What it was. Raises NotFound `spending_limit_not_found`."""
    with books.transaction(tenant_id) as conn:
        found = limit_rows.select_limits_after(conn, tenant_id, limit_id - 1, 1, None)
        if not found or found[0].limit_id != limit_id:
            raise NotFound("spending_limit_not_found", f"there is no spending limit {limit_id}")
        spending = limit_rows.select_spending(conn, tenant_id, [limit_id], now - OLDEST_PERIOD)
        limit_rows.remove_limit(conn, tenant_id, limit_id, now)
    return found[0], _spent(spending, found[0], now)


def list_limits(
    books: Books, tenant_id: int, after: int, limit: int, now: datetime, customer: str | None = None
) -> list[tuple[SpendingLimit, Spent]]:
    """Limits in the order in which they were set first, each with what counts against it now.

    Raises NotFound `customer_not_found`.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    customer_id = None if customer is None else get_customer(books, tenant_id, customer).customer_id
    with books.read_only(tenant_id) as conn:
        found = limit_rows.select_limits_after(conn, tenant_id, after, limit, customer_id)
        ids = [one.limit_id for one in found]
        spending = limit_rows.select_spending(conn, tenant_id, ids, now - OLDEST_PERIOD)
    return [(one, _spent(spending, one, now)) for one in found]


def _spent(spending: Mapping[Counted, Spent], limit: SpendingLimit, now: datetime) -> Spent:
    return spending.get(Counted(limit.limit_id, limit_period(limit, now).start), Spent(ZERO, ZERO))
