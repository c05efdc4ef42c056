"""A tenant whose customers have wallets, on the world of billing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from billing_world import World, open_store

from farthing.db import Books
from farthing.db.outbox import facts_after
from farthing.kernel.quantity import trimmed
from farthing.ledger.service import trial_balance
from farthing.wallets.model import Grant
from farthing.wallets.sealing import WalletDraws
from farthing.wallets.service import create_grant, create_wallet, get_grant, get_wallet, wallet_history

D = Decimal


@dataclass
class WalletWorld(World):
    """The clock is `now`; moving it on is up to the test."""

    def wallet(self, key: str = "acme-usd", customer: str = "acme", **more: Any) -> None:
        raw = {"key": key, "customer": customer, "currency": "USD", **more}
        create_wallet(self.books, self.tenant_id, raw, self.now)

    def grant(self, key: str, amount: str, wallet: str = "acme-usd", kind: str = "paid", **more: Any) -> None:
        raw = {"key": key, "kind": kind, "amount": amount, **more}
        create_grant(self.books, self.tenant_id, wallet, raw, self.now)

    def of(self, grant: str) -> Grant:
        return get_grant(self.books, self.tenant_id, grant)

    def drawn(self, grant: str) -> Decimal:
        return self.of(grant).drawn

    def available(self, wallet: str = "acme-usd") -> Decimal:
        balance = get_wallet(self.books, self.tenant_id, wallet, self.now)[1]
        found: Decimal = balance["available"]
        return found

    def history(self, wallet: str = "acme-usd") -> list[Mapping[str, Any]]:
        return list(wallet_history(self.books, self.tenant_id, wallet, None, 100))

    def trial_balance(self) -> dict[str, str]:
        """Each code of the chart that is not at zero, in its debit less credit."""
        rows = trial_balance(self.books, self.tenant_id).rows
        return {row.code.value: trimmed(row.debit - row.credit) for row in rows if row.debit != row.credit}

    def quiet(self) -> bool:
        """Whether no transaction of a process that was killed is still under way."""
        with self.books.operator_transaction() as conn:
            row = conn.execute(
                "SELECT count(*) AS busy FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database() AND state <> 'idle'"
            ).fetchone()
        assert row is not None
        return not row["busy"]

    def told(self, kind: str = "wallet.*") -> list[tuple[str, str]]:
        """What the outbox holds: kind and subject, in order."""
        facts = facts_after(self.books, self.tenant_id, 0, 1000, kind)
        return [(one.fact.kind, one.fact.subject) for one in facts]


def wallet_world(books: Books, tenant_id: int, now: datetime, directory: Path) -> WalletWorld:
    store = open_store(directory)
    store.beside_sealing = WalletDraws(books, store)
    return WalletWorld(books, store, tenant_id, now)
