"""SQL of payouts: movements, payouts, which of them arrived."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow, tuple_row

from farthing.db.pool import BooksConnection
from farthing.payments.gateway import Movement, ProviderPayout
from farthing.payments.paying_out.arriving import Arrival, Candidate

# What our books say of a gateway's money, with the gateway's names for it, as it adds to or takes from what is held;
# and since when it stands on the clearing account: what was booked as cash, since that account was opened.
OURS = """
    opened AS (
        SELECT currency, effective_at FROM transfers
         WHERE tenant_id = %(tenant)s AND key IN (SELECT 'clearing_opened:' || currency FROM accounts
                                                   WHERE tenant_id = %(tenant)s AND code = 'provider_clearing')
    ), said AS (
        SELECT gateway, CASE WHEN purpose = 'won_dispute' THEN 'won' ELSE 'payment' END AS kind,
               CASE WHEN purpose = 'won_dispute' THEN substr(key, 5 + length(gateway) + 1)
                    ELSE coalesce(provider_id, key) END AS name,
               currency, amount, 'payment:' || key AS transfer
          FROM payments
         WHERE tenant_id = %(tenant)s AND state = 'succeeded' AND gateway <> ALL (%(by_hand)s)
        UNION ALL
        SELECT gateway, 'fee', coalesce(provider_id, key), currency, -fee, 'payment_fee:' || key FROM payments
         WHERE tenant_id = %(tenant)s AND state = 'succeeded' AND fee > 0 AND gateway <> ALL (%(by_hand)s)
        UNION ALL
        SELECT p.gateway, 'refund', coalesce(r.provider_id, r.key), p.currency, -r.amount, 'refund:' || r.key
          FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
         WHERE r.tenant_id = %(tenant)s AND r.state = 'succeeded' AND p.gateway <> ALL (%(by_hand)s)
           AND p.purpose <> 'won_dispute'
        UNION ALL
        SELECT p.gateway, o.kind, substr(d.key, length(p.gateway) + 2), p.currency, -o.amount, 'chargeback:' || d.key
          FROM disputes d
          JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
         CROSS JOIN LATERAL (VALUES ('dispute', d.amount), ('dispute_fee', d.fee)) AS o (kind, amount)
         WHERE d.tenant_id = %(tenant)s AND p.gateway <> ALL (%(by_hand)s) AND o.amount > 0
        UNION ALL
        SELECT gateway, kind, movement_id, currency, signed, 'payment_fee:' || gateway || ':' || movement_id
          FROM provider_movements WHERE tenant_id = %(tenant)s AND kind = 'provider_fee'
    ), ours AS (
        SELECT s.gateway, s.kind, s.name, s.currency, s.amount, s.transfer,
               CASE WHEN t.account_ids && (SELECT array_agg(account_id) FROM accounts
                                            WHERE tenant_id = %(tenant)s AND code = 'provider_clearing')
                    THEN t.effective_at ELSE o.effective_at END AS since,
               t.account_ids
          FROM said s
          JOIN transfers t ON t.tenant_id = %(tenant)s AND t.key = s.transfer
          LEFT JOIN opened o ON o.currency = s.currency
    )
"""

_BOOKED_AS_CASH = f"WITH {OURS} SELECT currency, sum(amount) FROM ours WHERE since IS NULL GROUP BY currency"  # noqa: S608

_KEEP_MOVEMENTS = """
    INSERT INTO provider_movements AS m (tenant_id, gateway, kind, movement_id, provider_id, amount, currency,
                                         moved_at, payout, learnt_at)
    SELECT %(tenant)s, %(gateway)s, g.*, %(now)s
      FROM unnest(%(kinds)s::text[], %(ids)s::text[], %(subjects)s::text[], %(amounts)s::numeric[],
                  %(currencies)s::text[], %(moments)s::timestamptz[], %(payouts)s::text[])
           AS g (kind, movement_id, provider_id, amount, currency, moved_at, payout)
     ORDER BY g.kind, g.movement_id
    ON CONFLICT (tenant_id, gateway, kind, movement_id) DO UPDATE SET payout = excluded.payout
     WHERE m.payout IS NULL AND excluded.payout IS NOT NULL
    RETURNING kind, movement_id, amount, currency, moved_at, (xmax = 0) AS is_new
"""

_KEEP_PAYOUTS = """
    INSERT INTO payouts AS p (tenant_id, gateway, name, amount, currency, made_at, reference, learnt_at, state,
                              arrives_on)
    SELECT %(tenant)s, %(gateway)s, g.name, g.amount, g.currency, g.made_at, g.reference, %(now)s, g.state, g.arrives_on
      FROM unnest(%(names)s::text[], %(amounts)s::numeric[], %(currencies)s::text[], %(made)s::timestamptz[],
                  %(references)s::text[], %(states)s::text[], %(arrive)s::date[])
           AS g (name, amount, currency, made_at, reference, state, arrives_on)
     ORDER BY g.made_at, g.name
    ON CONFLICT (tenant_id, gateway, name) DO UPDATE SET state = excluded.state, arrives_on = excluded.arrives_on
     WHERE (p.state, p.arrives_on) IS DISTINCT FROM (excluded.state, excluded.arrives_on)
       AND p.state <> 'failed' AND (excluded.state <> 'in_transit' OR p.state = 'in_transit')
    RETURNING name
"""

# What a gateway kept of a payment and nobody had told us: its answer came without it.
_BOOK_FEES = """
    WITH kept AS (
        SELECT p.payment_id, sum(m.amount) AS fee, max(m.moved_at) AS moved_at
          FROM provider_movements m
          JOIN payments p ON p.tenant_id = m.tenant_id AND p.gateway = m.gateway AND p.provider_id = m.provider_id
         WHERE m.tenant_id = %(tenant)s AND m.gateway = %(gateway)s AND m.kind = 'fee' AND m.currency = p.currency
           AND p.state = 'succeeded' AND p.purpose <> 'won_dispute' AND p.fee = 0
         GROUP BY p.payment_id
    )
    UPDATE payments p SET fee = k.fee FROM kept k
     WHERE p.tenant_id = %(tenant)s AND p.payment_id = k.payment_id
    RETURNING p.key, p.currency, p.fee, k.moved_at
"""

_PAYOUTS = """
    SELECT p.payout_id, p.gateway, p.name, p.amount, p.currency, p.state, p.made_at, p.arrives_on, p.reference,
           p.arrived_at, p.bank_entry_id,
           (SELECT coalesce(sum(m.signed), 0) FROM provider_movements m
             WHERE m.tenant_id = p.tenant_id AND m.gateway = p.gateway AND m.payout = p.name) AS listed
      FROM payouts p
     WHERE p.tenant_id = %(tenant)s
"""

_CANDIDATES = """
    SELECT p.payout_id, p.gateway, p.name, p.reference, p.made_at, p.arrives_on, e.entry_id, e.booked_at,
           concat_ws(' ', e.payer, e.remittance, e.end_to_end) AS text
      FROM payouts p
      JOIN bank_entries e ON e.tenant_id = p.tenant_id AND e.currency = p.currency AND e.amount = p.amount
           AND e.effect IN ('unmatched', 'outgoing')
     WHERE p.tenant_id = %(tenant)s AND p.arrived_at IS NULL AND p.state <> 'failed'
       AND NOT EXISTS (SELECT FROM payouts o WHERE o.tenant_id = e.tenant_id AND o.bank_entry_id = e.entry_id)
       AND NOT EXISTS (SELECT FROM payments f WHERE f.tenant_id = e.tenant_id AND f.key = 'fix:' || e.entry_id)
"""


def select_synced_until(conn: BooksConnection, tenant_id: int, gateway: str) -> datetime | None:
    """Up to when a gateway was asked."""
    row = conn.execute(
        "SELECT synced_until FROM payout_syncs WHERE tenant_id = %s AND gateway = %s ORDER BY sync_id DESC LIMIT 1",
        [tenant_id, gateway],
    ).fetchone()
    return None if row is None else row["synced_until"]


def select_any_sync(conn: BooksConnection, tenant_id: int) -> bool:
    """Whether any gateway was ever asked."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM payout_syncs WHERE tenant_id = %s) AS any", [tenant_id]
    ).fetchone()
    return row is not None and bool(row["any"])


def insert_sync(conn: BooksConnection, tenant_id: int, gateway: str, until: datetime) -> None:
    """A gateway was asked for all before then."""
    conn.execute(
        "INSERT INTO payout_syncs (tenant_id, gateway, synced_until) VALUES (%s, %s, %s)",
        [tenant_id, gateway, until],
    )


def select_first_paid(conn: BooksConnection, tenant_id: int, gateway: str) -> datetime | None:
    """When the first payment of a gateway came in."""
    row = conn.execute(
        "SELECT min(paid_at) AS first FROM payments WHERE tenant_id = %s AND gateway = %s AND state = 'succeeded'",
        [tenant_id, gateway],
    ).fetchone()
    return None if row is None else row["first"]


def select_awaited_since(conn: BooksConnection, tenant_id: int, gateway: str) -> datetime | None:
    """When the oldest payout was made that is neither paid nor failed by the gateway's word."""
    row = conn.execute(
        "SELECT min(made_at) AS first FROM payouts WHERE tenant_id = %s AND gateway = %s AND state = 'in_transit'",
        [tenant_id, gateway],
    ).fetchone()
    return None if row is None else row["first"]


def select_unlisted(conn: BooksConnection, tenant_id: int, gateway: str, names: Sequence[str]) -> set[str]:
    """Those of these payouts whose movements are not known yet, or do not add up to them."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT g.name FROM unnest(%(names)s::text[]) AS g (name)
          LEFT JOIN payouts p ON p.tenant_id = %(tenant)s AND p.gateway = %(gateway)s AND p.name = g.name
         WHERE p.amount IS DISTINCT FROM (SELECT sum(m.signed) FROM provider_movements m
                WHERE m.tenant_id = p.tenant_id AND m.gateway = p.gateway AND m.payout = p.name)
        """,
        {"tenant": tenant_id, "gateway": gateway, "names": list(names)},
    )
    return {name for (name,) in rows}


def keep_movements(
    conn: BooksConnection,
    tenant_id: int,
    gateway: str,
    movements: Sequence[tuple[Movement, str | None]],
    now: datetime,
) -> list[DictRow]:
    """Keep movements, each with the payout that sums it, if one does; answers with those that are news."""
    each = {(one.kind, one.movement_id): (one, payout) for one, payout in movements}
    movements = list(each.values())
    return conn.execute(
        _KEEP_MOVEMENTS,
        {
            "tenant": tenant_id,
            "gateway": gateway,
            "now": now,
            "kinds": [one.kind.value for one, _ in movements],
            "ids": [one.movement_id for one, _ in movements],
            "subjects": [one.provider_id for one, _ in movements],
            "amounts": [one.amount for one, _ in movements],
            "currencies": [one.currency for one, _ in movements],
            "moments": [one.at for one, _ in movements],
            "payouts": [payout for _, payout in movements],
        },
    ).fetchall()


def keep_payouts(
    conn: BooksConnection, tenant_id: int, gateway: str, payouts: Sequence[ProviderPayout], now: datetime
) -> int:
    """Keep payouts, and what became of those that stood; says how many are new or moved."""
    return conn.execute(
        _KEEP_PAYOUTS,
        {
            "tenant": tenant_id,
            "gateway": gateway,
            "now": now,
            "names": [one.name for one in payouts],
            "amounts": [one.amount for one in payouts],
            "currencies": [one.currency for one in payouts],
            "made": [one.made_at for one in payouts],
            "references": [one.reference for one in payouts],
            "states": [one.state.value for one in payouts],
            "arrive": [one.arrives_on for one in payouts],
        },
    ).rowcount


def book_fees(conn: BooksConnection, tenant_id: int, gateway: str) -> list[DictRow]:
    """Keep with each payment what the gateway kept of it, where nobody had told; answers with those."""
    return conn.execute(_BOOK_FEES, {"tenant": tenant_id, "gateway": gateway}).fetchall()


def select_booked_as_cash(
    conn: BooksConnection, tenant_id: int, by_hand: Sequence[str]
) -> dict[str, Decimal]:
    """By currency, what of gateways' money was booked as cash and never moved from there."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        _BOOKED_AS_CASH,
        {"tenant": tenant_id, "by_hand": list(by_hand)},
    )
    return {currency: amount for currency, amount in rows if amount}


def await_payouts(conn: BooksConnection, tenant_id: int) -> bool:
    """Whether any payout has not arrived."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM payouts WHERE tenant_id = %s AND arrived_at IS NULL AND state <> 'failed') AS any",
        [tenant_id],
    ).fetchone()
    return row is not None and bool(row["any"])


def select_candidates(conn: BooksConnection, tenant_id: int) -> list[Candidate]:
    """Payouts that are awaited with the entries over the same amount that are nobody's yet."""
    return [Candidate(**row) for row in conn.execute(_CANDIDATES, {"tenant": tenant_id}).fetchall()]


def mark_arrived(conn: BooksConnection, tenant_id: int, found: Sequence[Arrival]) -> list[DictRow]:
    """These payouts came to the bank by these entries."""
    return conn.execute(
        """
        UPDATE payouts p SET arrived_at = g.booked_at, bank_entry_id = g.entry_id
          FROM unnest(%(payouts)s::bigint[], %(entries)s::bigint[], %(moments)s::timestamptz[])
               AS g (payout_id, entry_id, booked_at)
         WHERE p.tenant_id = %(tenant)s AND p.payout_id = g.payout_id AND p.arrived_at IS NULL
        RETURNING p.gateway, p.name, p.currency, p.amount, p.arrived_at
        """,
        {
            "tenant": tenant_id,
            "payouts": [one.payout_id for one in found],
            "entries": [one.entry_id for one in found],
            "moments": [one.booked_at for one in found],
        },
    ).fetchall()


def mark_arrived_by_hand(
    conn: BooksConnection, tenant_id: int, payout_id: int, arrived_at: datetime
) -> list[DictRow]:
    """Somebody says that it is at the bank."""
    return conn.execute(
        "UPDATE payouts SET arrived_at = %s WHERE tenant_id = %s AND payout_id = %s AND arrived_at IS NULL"
        " RETURNING gateway, name, currency, amount, arrived_at",
        [arrived_at, tenant_id, payout_id],
    ).fetchall()


def select_payout(conn: BooksConnection, tenant_id: int, gateway: str, name: str) -> DictRow | None:
    """One payout, with the sum of the movements that are known to be in it."""
    return conn.execute(
        _PAYOUTS + " AND p.gateway = %(gateway)s AND p.name = %(name)s",
        {"tenant": tenant_id, "gateway": gateway, "name": name},
    ).fetchone()


def select_payouts_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, gateway: str | None, *, awaited: bool
) -> list[DictRow]:
    """Payouts in the order in which they were learnt of, behind the id `after`."""
    return conn.execute(
        _PAYOUTS
        + """
           AND p.payout_id > %(after)s AND (%(gateway)s::text IS NULL OR p.gateway = %(gateway)s)
           AND (NOT %(awaited)s OR (p.arrived_at IS NULL AND p.state <> 'failed'))
         ORDER BY p.payout_id LIMIT %(limit)s
        """,
        {"tenant": tenant_id, "after": after, "limit": limit, "gateway": gateway, "awaited": awaited},
    ).fetchall()


def select_movements_after(
    conn: BooksConnection, tenant_id: int, gateway: str, payout: str, after: tuple[str, str], limit: int
) -> list[DictRow]:
    """The movements of a payout in the order of kind and name, behind (kind, name), each with what it is here."""
    return conn.execute(
        """
        SELECT m.kind, m.movement_id, m.provider_id, m.signed AS amount, m.currency, m.moved_at,
               coalesce(
                   (SELECT p.key FROM payments p WHERE p.tenant_id = m.tenant_id AND p.gateway = m.gateway
                       AND p.provider_id = m.provider_id AND m.kind IN ('payment', 'fee')),
                   (SELECT r.key FROM refunds r
                      JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
                     WHERE r.tenant_id = m.tenant_id AND p.gateway = m.gateway AND r.provider_id = m.movement_id
                       AND m.kind = 'refund' LIMIT 1),
                   (SELECT d.key FROM disputes d WHERE d.tenant_id = m.tenant_id AND d.key = m.gateway || ':' ||
                           CASE WHEN m.kind = 'dispute' THEN m.movement_id ELSE m.provider_id END
                       AND m.kind IN ('dispute', 'dispute_fee', 'payment'))) AS key
          FROM provider_movements m
         WHERE m.tenant_id = %(tenant)s AND m.gateway = %(gateway)s AND m.payout = %(payout)s
           AND (m.kind, m.movement_id) > (%(kind)s, %(id)s)
         ORDER BY m.kind, m.movement_id LIMIT %(limit)s
        """,
        {
            "tenant": tenant_id,
            "gateway": gateway,
            "payout": payout,
            "kind": after[0],
            "id": after[1],
            "limit": limit,
        },
    ).fetchall()
