"""SQL of the checks of authorisations."""

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection


def count_holds(conn: BooksConnection, tenant_id: int) -> int:
    """How many authorisations there are."""
    row = conn.execute("SELECT count(*) AS holds FROM holds WHERE tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None
    return int(row["holds"])


def select_grants_unlike_fold(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Grants of which something else is held or settled than authorisations say, or that are overspent."""
    return conn.execute(
        """
        WITH parts AS (
            SELECT (p.part ->> 3)::bigint AS grant_id, (p.part ->> 4)::numeric AS held, 0::numeric AS settled
              FROM holds h CROSS JOIN LATERAL jsonb_array_elements(h.held_parts) AS p (part)
             WHERE h.tenant_id = %(tenant_id)s AND h.status = 'held'
             UNION ALL
            SELECT (p.part ->> 3)::bigint, 0, (p.part ->> 4)::numeric
              FROM holds h CROSS JOIN LATERAL jsonb_array_elements(h.settled_parts) AS p (part)
             WHERE h.tenant_id = %(tenant_id)s AND h.status = 'settled'),
        fold AS (SELECT grant_id, sum(held) AS held, sum(settled) AS settled FROM parts GROUP BY grant_id)
        SELECT g.key, g.amount, g.drawn, g.expired, g.held, g.settled, coalesce(f.held, 0) AS held_fold,
               coalesce(f.settled, 0) AS settled_fold
          FROM grants g LEFT JOIN fold f USING (grant_id)
         WHERE g.tenant_id = %(tenant_id)s
           AND (g.held <> coalesce(f.held, 0) OR g.settled <> coalesce(f.settled, 0)
                OR g.drawn + g.held + g.settled + g.expired > g.amount)
         ORDER BY g.grant_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()


def select_limits_unlike_fold(conn: BooksConnection, tenant_id: int, limit: int) -> list[DictRow]:
    """Periods of spending limits against which something else counts than authorisations say."""
    return conn.execute(
        """
        WITH fold AS (
            SELECT (l.one ->> 0)::bigint AS limit_id, (l.one ->> 1)::timestamptz AS period_start,
                   sum(CASE WHEN h.status = 'held' THEN h.amount ELSE 0 END) AS held,
                   sum(coalesce(h.cost, 0)) AS spent
              FROM holds h CROSS JOIN LATERAL jsonb_array_elements(h.limits) AS l (one)
             WHERE h.tenant_id = %(tenant_id)s GROUP BY 1, 2)
        SELECT l.level, l.name, c.key AS customer, s.period_start, s.held, s.spent,
               coalesce(f.held, 0) AS held_fold, coalesce(f.spent, 0) AS spent_fold
          FROM spending s
          JOIN spending_limits l ON l.tenant_id = s.tenant_id AND l.limit_id = s.limit_id
          JOIN customers c ON c.tenant_id = l.tenant_id AND c.customer_id = l.customer_id
          LEFT JOIN fold f ON f.limit_id = s.limit_id AND f.period_start = s.period_start
         WHERE s.tenant_id = %(tenant_id)s AND (s.held <> coalesce(f.held, 0) OR s.spent <> coalesce(f.spent, 0))
         ORDER BY s.limit_id, s.period_start LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "limit": limit},
    ).fetchall()
