"""Prepaid customers for benchmarks: their wallets and grants in one transaction, not in two for each of them."""

from decimal import Decimal

from benchmarks.workload import START
from farthing.app import App, wall_clock
from farthing.ledger.checking import TRANSFERS_MAX
from farthing.ledger.facts import GrantFunded
from farthing.ledger.recipes import grant_funded
from farthing.ledger.service import post
from farthing.wallets.model import EVERYTHING, GrantContent
from farthing.wallets.store import grant_row, insert_grants


def fund(app: App, tenant_id: int, amount: Decimal) -> None:
    """A wallet with one paid grant for every customer, all of them at once."""
    now = wall_clock()
    with app.books.transaction(tenant_id) as conn:
        made = conn.execute(
            "INSERT INTO wallets (tenant_id, key, customer_id, name, currency, priority, balance_state, created_at)"
            " SELECT tenant_id, key, customer_id, name, 'USD', 1, 'funded', %s FROM customers"
            " RETURNING wallet_id, customer_id, key",
            [now],
        ).fetchall()
        grants = [
            grant_row(
                GrantContent(f"grant-{row['key']}", True, amount, 1, EVERYTHING, START, None, ""),
                row["wallet_id"],
                row["customer_id"],
                START,
                b"",
            )
            for row in made
        ]
        insert_grants(conn, tenant_id, grants, now)
        transfers = [
            grant_funded(GrantFunded(one["key"], one["customer_id"], "USD", amount, True, now))
            for one in grants
        ]
        for begin in range(0, len(transfers), TRANSFERS_MAX):
            post(conn, tenant_id, transfers[begin : begin + TRANSFERS_MAX], now)
