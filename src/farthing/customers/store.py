"""SQL of customers and subscriptions. Every write takes many rows in one statement."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from farthing.customers.changes import CustomerChange, SubscriptionChange
from farthing.customers.content import address_json, anchor_of, anchor_text
from farthing.customers.facts import payload_of, stored_content
from farthing.customers.model import (
    Address,
    Customer,
    CustomerContent,
    Fact,
    NewFact,
    OneOffCharge,
    Subscription,
)
from farthing.customers.timeline import end_of, lives_of
from farthing.db.pool import BooksConnection

_CUSTOMERS = """
    SELECT c.customer_id, c.key, c.name, c.currency, c.timezone, c.email, c.address,
           ARRAY(SELECT s.subject::text FROM customer_subjects s
                  WHERE s.tenant_id = c.tenant_id AND s.customer_id = c.customer_id AND NOT s.is_key
                  ORDER BY s.subject) AS aliases
      FROM customers c
     WHERE c.tenant_id = %(tenant_id)s
"""
_SUBSCRIPTIONS = """
    SELECT s.subscription_id, s.key, s.customer_id, c.key AS customer, s.plan_version_id, p.key AS plan,
           v.version, s.anchor, s.start_at
      FROM subscriptions s
      JOIN LATERAL (
            SELECT key FROM customers WHERE tenant_id = s.tenant_id
               AND customer_id BETWEEN s.customer_id AND s.customer_id ORDER BY customer_id LIMIT 1) c ON true
      JOIN plan_versions v ON v.tenant_id = s.tenant_id AND v.plan_version_id = s.plan_version_id
      JOIN plans p ON p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id
     WHERE s.tenant_id = %(tenant_id)s
"""
"""Customers are looked up by their whole keys, or each were compared with each of a new tenant: docs/adr/0044."""
_OF_CUSTOMER = """
       AND (%(customer)s::text IS NULL OR s.customer_id = (
            SELECT customer_id FROM customers WHERE tenant_id = %(tenant_id)s AND key = %(customer)s))"""
_FACTS = """
    SELECT x.subscription_id, x.change_id, x.key, x.kind, x.effective_at, x.payload, x.made_at, x.withdraws,
           x.plan_version_id, p.key AS plan, v.version
      FROM subscription_changes x
      LEFT JOIN plan_versions v ON v.tenant_id = x.tenant_id AND v.plan_version_id = x.plan_version_id
      LEFT JOIN plans p ON p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id
     WHERE x.tenant_id = %(tenant_id)s AND x.subscription_id = ANY(%(ids)s)
     ORDER BY x.change_id
"""
_CHANGE_TO_PLAN = """
    SELECT 1 FROM subscription_changes x
      JOIN plan_versions w ON w.tenant_id = x.tenant_id AND w.plan_version_id = x.plan_version_id
      JOIN plans q ON q.tenant_id = w.tenant_id AND q.plan_id = w.plan_id
     WHERE x.tenant_id = s.tenant_id AND x.subscription_id = s.subscription_id AND q.key = %(plan)s
"""


def select_customers(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> dict[str, Customer]:
    """The customers of these keys that exist, by key."""
    rows = conn.execute(
        _CUSTOMERS + " AND c.key = ANY(%(keys)s)", {"tenant_id": tenant_id, "keys": list(keys)}
    ).fetchall()
    return {row["key"]: _customer(row) for row in rows}


def select_customers_by_id(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[int, Customer]:
    """These customers, by id."""
    rows = conn.execute(
        _CUSTOMERS + " AND c.customer_id = ANY(%(ids)s)", {"tenant_id": tenant_id, "ids": list(customer_ids)}
    ).fetchall()
    return {row["customer_id"]: _customer(row) for row in rows}


def select_customers_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int
) -> list[Customer]:
    """Customers in order of key, those after `after`."""
    rows = conn.execute(
        _CUSTOMERS + " AND c.key > %(after)s ORDER BY c.key LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after or "", "limit": limit},
    ).fetchall()
    return [_customer(row) for row in rows]


def select_holders(conn: BooksConnection, tenant_id: int, subjects: Collection[str]) -> dict[str, str]:
    """For each of these subjects that is taken: the key of the customer that it means."""
    rows = conn.execute(
        "SELECT s.subject, c.key FROM customer_subjects s"
        "  JOIN customers c ON c.tenant_id = s.tenant_id AND c.customer_id = s.customer_id"
        " WHERE s.tenant_id = %s AND s.subject = ANY(%s)",
        [tenant_id, list(subjects)],
    ).fetchall()
    return {row["subject"]: row["key"] for row in rows}


def select_subscribed(conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]) -> set[int]:
    """Those of these customers that have or had a subscription."""
    rows = conn.execute(
        "SELECT DISTINCT customer_id FROM subscriptions WHERE tenant_id = %s AND customer_id = ANY(%s)",
        [tenant_id, list(customer_ids)],
    ).fetchall()
    return {row["customer_id"] for row in rows}


def select_currencies(
    conn: BooksConnection, tenant_id: int, keys: Collection[str]
) -> dict[str, tuple[str, str]]:
    """What these customers are billed in, and in which time zone, by key."""
    rows = conn.execute(
        "SELECT key, currency, timezone FROM customers WHERE tenant_id = %s AND key = ANY(%s)",
        [tenant_id, list(keys)],
    ).fetchall()
    return {row["key"]: (row["currency"], row["timezone"]) for row in rows}


def insert_customers(
    conn: BooksConnection, tenant_id: int, contents: Sequence[CustomerContent], now: datetime
) -> dict[str, int]:
    """New customers, each with its key as its first subject. Their ids, by key."""
    rows = conn.execute(
        """
        WITH new AS (
            INSERT INTO customers (tenant_id, key, name, currency, timezone, email, address, created_at, updated_at)
            SELECT %(tenant_id)s, key, name, currency, timezone, email, address, %(now)s, %(now)s
              FROM unnest(%(keys)s::text[], %(names)s::text[], %(currencies)s::text[], %(timezones)s::text[],
                          %(emails)s::text[], %(addresses)s::jsonb[])
                   AS given (key, name, currency, timezone, email, address)
            RETURNING customer_id, key),
        subjects AS (
            INSERT INTO customer_subjects (tenant_id, subject, customer_id, is_key)
            SELECT %(tenant_id)s, key, customer_id, true FROM new)
        SELECT key, customer_id FROM new
        """,
        {"tenant_id": tenant_id, "now": now} | _columns(contents),
    ).fetchall()
    return {row["key"]: row["customer_id"] for row in rows}


def update_customers(
    conn: BooksConnection, tenant_id: int, contents: Sequence[CustomerContent], now: datetime
) -> None:
    """What customers are now; their subjects are written apart."""
    conn.execute(
        """
        UPDATE customers c
           SET name = given.name, currency = given.currency, timezone = given.timezone,
               email = given.email, address = given.address, updated_at = %(now)s
          FROM unnest(%(keys)s::text[], %(names)s::text[], %(currencies)s::text[], %(timezones)s::text[],
                      %(emails)s::text[], %(addresses)s::jsonb[])
               AS given (key, name, currency, timezone, email, address)
         WHERE c.tenant_id = %(tenant_id)s AND c.key = given.key
        """,
        {"tenant_id": tenant_id, "now": now} | _columns(contents),
    )


def delete_aliases(conn: BooksConnection, tenant_id: int, aliases: Collection[str]) -> None:
    """These subjects mean nobody any more."""
    conn.execute(
        "DELETE FROM customer_subjects WHERE tenant_id = %s AND subject = ANY(%s) AND NOT is_key",
        [tenant_id, list(aliases)],
    )


def insert_aliases(conn: BooksConnection, tenant_id: int, aliases: Sequence[tuple[str, int]]) -> None:
    """These subjects mean these customers: pairs of alias and customer id."""
    conn.execute(
        "INSERT INTO customer_subjects (tenant_id, subject, customer_id, is_key)"
        " SELECT %s, subject, customer_id, false FROM unnest(%s::text[], %s::bigint[]) AS given (subject, customer_id)",
        [tenant_id, [alias for alias, _ in aliases], [customer_id for _, customer_id in aliases]],
    )


def write_customers(
    conn: BooksConnection, tenant_id: int, changes: Sequence[CustomerChange], now: datetime
) -> dict[str, int]:
    """Write what was decided. The ids of the customers that are written, by key."""
    created = [change.content for change in changes if change.before is None]
    changed = [change for change in changes if change.outcome == "changed"]
    ids = insert_customers(conn, tenant_id, created, now) if created else {}
    ids |= {change.content.key: change.before.customer_id for change in changed if change.before}
    if changed:
        update_customers(conn, tenant_id, [change.content for change in changed], now)
    gone: list[str] = []
    come: list[tuple[str, int]] = []
    for change in changes:
        before = set(change.before.aliases) if change.before else set()
        gone += before - set(change.aliases)
        come += [(alias, ids[change.content.key]) for alias in change.aliases if alias not in before]
    if gone:
        delete_aliases(conn, tenant_id, gone)
    if come:
        insert_aliases(conn, tenant_id, come)
    return ids


def lock_subscriptions(conn: BooksConnection, tenant_id: int, keys: Collection[str]) -> None:
    """Keep these subscriptions from being invoiced until this transaction is over."""
    conn.execute(
        "SELECT 1 FROM subscriptions WHERE tenant_id = %s AND key = ANY(%s) ORDER BY subscription_id FOR UPDATE",
        [tenant_id, list(keys)],
    )


def select_subscriptions(
    conn: BooksConnection, tenant_id: int, keys: Collection[str]
) -> dict[str, Subscription]:
    """The subscriptions of these keys that exist, by key."""
    rows = conn.execute(
        _SUBSCRIPTIONS + " AND s.key = ANY(%(keys)s)", {"tenant_id": tenant_id, "keys": list(keys)}
    ).fetchall()
    return {found.key: found for found in _subscriptions(conn, tenant_id, rows)}


def select_subscriptions_after(
    conn: BooksConnection, tenant_id: int, after: str | None, limit: int, customer: str | None
) -> list[Subscription]:
    """Subscriptions in order of key, those after `after`, of one customer where one is named."""
    rows = conn.execute(
        _SUBSCRIPTIONS + _OF_CUSTOMER + " AND s.key > %(after)s ORDER BY s.key LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after or "", "customer": customer, "limit": limit},
    ).fetchall()
    return _subscriptions(conn, tenant_id, rows)


def select_subscriptions_begun(
    conn: BooksConnection, tenant_id: int, until: datetime, customer_ids: Collection[int] | None = None
) -> list[Subscription]:
    """Every subscription that begins before `until`, or those of these customers, in order of key."""
    of_customers = "" if customer_ids is None else " AND s.customer_id = ANY(%(ids)s)"
    rows = conn.execute(
        _SUBSCRIPTIONS + " AND s.start_at < %(until)s" + of_customers + " ORDER BY s.key",
        {"tenant_id": tenant_id, "until": until, "ids": list(customer_ids or ())},
    ).fetchall()
    return _subscriptions(conn, tenant_id, rows)


def select_subscriptions_of(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> list[Subscription]:
    """Every subscription of these customers, in order of key."""
    rows = conn.execute(
        _SUBSCRIPTIONS + " AND s.customer_id = ANY(%(ids)s) ORDER BY s.key",
        {"tenant_id": tenant_id, "ids": list(customer_ids)},
    ).fetchall()
    return _subscriptions(conn, tenant_id, rows)


def select_subscriptions_by_id(
    conn: BooksConnection, tenant_id: int, ids: Collection[int]
) -> list[Subscription]:
    """These subscriptions, in order of key."""
    rows = conn.execute(
        _SUBSCRIPTIONS + " AND s.subscription_id = ANY(%(ids)s) ORDER BY s.key",
        {"tenant_id": tenant_id, "ids": list(ids)},
    ).fetchall()
    return _subscriptions(conn, tenant_id, rows)


def select_subscriptions_to(
    conn: BooksConnection, tenant_id: int, plan: str, limit: int
) -> list[Subscription]:
    """Subscriptions that have or had something to do with a plan, in order of key."""
    rows = conn.execute(
        _SUBSCRIPTIONS + " AND (p.key = %(plan)s OR EXISTS (" + _CHANGE_TO_PLAN + "))"
        " ORDER BY s.key LIMIT %(limit)s",
        {"tenant_id": tenant_id, "plan": plan, "limit": limit},
    ).fetchall()
    return _subscriptions(conn, tenant_id, rows)


def select_invoiced_until(
    conn: BooksConnection, tenant_id: int, subscription_ids: Collection[int]
) -> dict[str, datetime]:
    """For each of these subscriptions with an invoice of a period: until when its usage is invoiced, by key.

    An interim invoice is of the part of its period that it has billed. What is paid in advance for later is
    no part of it: a fee can be credited, usage cannot be rated again.
    """
    rows = conn.execute(
        """
        SELECT s.key, max(i.period_end) AS invoiced_until
          FROM subscriptions s
          JOIN standing_invoices i ON i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id
                         AND i.reason IN ('period', 'interim')
         WHERE s.tenant_id = %s AND s.subscription_id = ANY(%s)
         GROUP BY s.key
        """,
        [tenant_id, list(subscription_ids)],
    ).fetchall()
    return {row["key"]: row["invoiced_until"] for row in rows}


def select_last_start(conn: BooksConnection, tenant_id: int, subscription_id: int) -> datetime | None:
    """When the last period began whose fees in advance were invoiced by themselves."""
    row = conn.execute(
        "SELECT max(period_start) AS started FROM standing_invoices"
        " WHERE tenant_id = %s AND subscription_id = %s AND reason = 'start'",
        [tenant_id, subscription_id],
    ).fetchone()
    return None if row is None else row["started"]


def write_subscriptions(
    conn: BooksConnection, tenant_id: int, changes: Sequence[SubscriptionChange], now: datetime
) -> None:
    """Write what was decided: new subscriptions, and facts."""
    created = [change for change in changes if change.before is None]
    if created:
        conn.execute(
            """
            INSERT INTO subscriptions
                   (tenant_id, key, customer_id, plan_version_id, anchor, start_at, created_at)
            SELECT %(tenant_id)s, given.key, c.customer_id, v.plan_version_id, given.anchor, given.start_at, %(now)s
              FROM unnest(%(keys)s::text[], %(customers)s::text[], %(plans)s::text[], %(versions)s::int[],
                          %(anchors)s::text[], %(starts)s::timestamptz[])
                   AS given (key, customer, plan, version, anchor, start_at)
              JOIN customers c ON c.tenant_id = %(tenant_id)s AND c.key = given.customer
              JOIN plans p ON p.tenant_id = %(tenant_id)s AND p.key = given.plan
              JOIN plan_versions v ON v.tenant_id = p.tenant_id AND v.plan_id = p.plan_id
                                  AND v.version = given.version
            """,
            {
                "tenant_id": tenant_id,
                "now": now,
                "keys": [change.content.key for change in created],
                "customers": [change.content.customer for change in created],
                "plans": [change.plan.key for change in created],
                "versions": [change.plan.version for change in created],
                "anchors": [anchor_text(change.content.anchor) for change in created],
                "starts": [change.content.start for change in created],
            },
        )
    facts = [(change.content.key, fact) for change in changes for fact in change.facts]
    if facts:
        insert_facts(conn, tenant_id, facts, now)


def insert_facts(
    conn: BooksConnection, tenant_id: int, facts: Sequence[tuple[str, NewFact]], now: datetime
) -> None:
    """Write changes in this order: pairs of the subscription's key and the fact."""
    conn.execute(
        """
        INSERT INTO subscription_changes
               (tenant_id, subscription_id, key, kind, effective_at, plan_version_id, payload, made_at, withdraws)
        SELECT %(tenant_id)s, s.subscription_id, given.key, given.kind, given.effective_at, v.plan_version_id,
               given.payload, %(now)s, given.withdraws
          FROM unnest(%(subscriptions)s::text[], %(keys)s::text[], %(kinds)s::text[],
                      %(moments)s::timestamptz[], %(plans)s::text[], %(versions)s::int[], %(payloads)s::jsonb[],
                      %(withdrawn)s::bigint[])
               WITH ORDINALITY
               AS given (subscription, key, kind, effective_at, plan, version, payload, withdraws, place)
          JOIN subscriptions s ON s.tenant_id = %(tenant_id)s AND s.key = given.subscription
          LEFT JOIN plans p ON p.tenant_id = %(tenant_id)s AND p.key = given.plan
          LEFT JOIN plan_versions v ON v.tenant_id = p.tenant_id AND v.plan_id = p.plan_id
                                   AND v.version = given.version
         ORDER BY given.place
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "subscriptions": [subscription for subscription, _ in facts],
            "keys": [fact.key for _, fact in facts],
            "kinds": [fact.content.kind.value for _, fact in facts],
            "moments": [fact.effective_at for _, fact in facts],
            "plans": [fact.content.plan for _, fact in facts],
            "versions": [fact.content.version for _, fact in facts],
            "payloads": [Jsonb(payload_of(fact.content)) for _, fact in facts],
            "withdrawn": [fact.withdraws for _, fact in facts],
        },
    )


def select_one_offs(
    conn: BooksConnection, tenant_id: int, *, keys: Collection[str] | None = None, unbilled: bool = False
) -> list[OneOffCharge]:
    """One-off charges in order of key: those of these keys, or all; with `unbilled`, those on no invoice yet."""
    rows = conn.execute(
        """
        SELECT o.key, s.key AS subscription, o.subscription_id, o.description, o.amount, o.charged_at, o.made_at
          FROM one_off_charges o
          JOIN subscriptions s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
         WHERE o.tenant_id = %(tenant_id)s AND (%(keys)s::text[] IS NULL OR o.key = ANY(%(keys)s))
           AND NOT (%(unbilled)s AND EXISTS (
                    SELECT 1 FROM invoice_lines l
                      JOIN standing_invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
                     WHERE l.tenant_id = o.tenant_id AND l.one_off = o.key))
         ORDER BY o.key
        """,
        {"tenant_id": tenant_id, "keys": None if keys is None else list(keys), "unbilled": unbilled},
    ).fetchall()
    return [OneOffCharge(**row) for row in rows]


def select_one_offs_after(
    conn: BooksConnection, tenant_id: int, subscription_id: int, after: str | None, limit: int
) -> list[tuple[OneOffCharge, str | None]]:
    """The one-off charges of a subscription in order of key, those after `after`, each with its invoice."""
    rows = conn.execute(
        """
        SELECT o.key, s.key AS subscription, o.subscription_id, o.description, o.amount, o.charged_at, o.made_at,
               i.number
          FROM one_off_charges o
          JOIN subscriptions s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
          LEFT JOIN (invoice_lines l JOIN standing_invoices i USING (tenant_id, invoice_id))
                 ON l.tenant_id = o.tenant_id AND l.one_off = o.key
         WHERE o.tenant_id = %s AND o.subscription_id = %s AND o.key > %s ORDER BY o.key LIMIT %s
        """,
        [tenant_id, subscription_id, after or "", limit],
    ).fetchall()
    return [(OneOffCharge(**{k: v for k, v in row.items() if k != "number"}), row["number"]) for row in rows]


def insert_one_off(conn: BooksConnection, tenant_id: int, charge: OneOffCharge) -> None:
    """A charge that is billed once."""
    conn.execute(
        "INSERT INTO one_off_charges (tenant_id, key, subscription_id, description, amount, charged_at, made_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            tenant_id,
            charge.key,
            charge.subscription_id,
            charge.description,
            charge.amount,
            charge.charged_at,
            charge.made_at,
        ],
    )


def _columns(contents: Sequence[CustomerContent]) -> dict[str, object]:
    return {
        "keys": [content.key for content in contents],
        "names": [content.name for content in contents],
        "currencies": [content.currency for content in contents],
        "timezones": [content.timezone for content in contents],
        "emails": [content.email for content in contents],
        "addresses": [Jsonb(address_json(content.address)) for content in contents],
    }


def _customer(row: DictRow) -> Customer:
    return Customer(
        customer_id=row["customer_id"],
        key=row["key"],
        name=row["name"],
        currency=row["currency"],
        timezone=row["timezone"],
        email=row["email"],
        address=Address(**row["address"]),
        aliases=tuple(row["aliases"]),
    )


def _subscriptions(conn: BooksConnection, tenant_id: int, rows: Sequence[DictRow]) -> list[Subscription]:
    """The subscriptions of these rows, each with its facts: one query for all of them."""
    facts: dict[int, list[Fact]] = {}
    ids = [row["subscription_id"] for row in rows]
    for row in conn.execute(_FACTS, {"tenant_id": tenant_id, "ids": ids}) if ids else ():
        facts.setdefault(row["subscription_id"], []).append(_fact(row))
    return [_subscription(row, tuple(facts.get(row["subscription_id"], ()))) for row in rows]


def _fact(row: DictRow) -> Fact:
    return Fact(
        change_id=row["change_id"],
        key=row["key"],
        effective_at=row["effective_at"],
        content=stored_content(row["kind"], row["payload"], row["plan"], row["version"]),
        made_at=row["made_at"],
        plan_version_id=row["plan_version_id"],
        withdraws=row["withdraws"],
    )


def _subscription(row: DictRow, facts: tuple[Fact, ...]) -> Subscription:
    found = Subscription(
        subscription_id=row["subscription_id"],
        key=row["key"],
        customer_id=row["customer_id"],
        customer=row["customer"],
        plan_version_id=row["plan_version_id"],
        plan=row["plan"],
        version=row["version"],
        anchor=anchor_of(row["anchor"]),
        start=row["start_at"],
        end=None,
        facts=facts,
    )
    return replace(found, end=end_of(lives_of(found), found.start)) if facts else found
