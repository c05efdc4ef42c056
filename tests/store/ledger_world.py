"""A tenant with customers whose accounts can be posted to."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from farthing.customers.apply import apply
from farthing.db import Books
from farthing.ledger.chart import Code
from farthing.ledger.model import Account, Entry, Posted, Side, Transfer, TransferKind
from farthing.ledger.service import list_accounts, post

CUSTOMERS = ("acme", "bolt", "cato")


@dataclass
class LedgerWorld:
    books: Books
    tenant_id: int
    now: datetime
    customers: dict[str, int]

    def account(self, code: Code, customer: str | None = None, currency: str = "USD") -> Account:
        return Account(code, currency, None if customer is None else self.customers[customer])

    def moved(
        self,
        key: str,
        amount: str | Decimal,
        debit: Account | None = None,
        credit: Account | None = None,
        at: datetime | None = None,
        **more: str,
    ) -> Transfer:
        """An amount from one account to another; by default acme pays."""
        amount = Decimal(amount)
        return Transfer(
            key,
            TransferKind.PAYMENT_RECEIVED,
            at or self.now,
            (
                Entry(debit or self.account(Code.CASH), Side.DEBIT, amount),
                Entry(credit or self.account(Code.RECEIVABLE, "acme"), Side.CREDIT, amount),
            ),
            **more,
        )

    def post(self, *transfers: Transfer, now: datetime | None = None) -> Posted:
        with self.books.transaction(self.tenant_id) as conn:
            return post(conn, self.tenant_id, transfers, now or self.now)

    def balances(self) -> dict[tuple[str, str | None, str], Decimal]:
        """What is kept beside the entries: debits less credits."""
        found = list_accounts(self.books, self.tenant_id, 0, 10_000)
        return {(one.code.value, one.customer, one.currency): one.balance for one in found}


def furnished(
    books: Books, tenant_id: int, now: datetime, customers: tuple[str, ...] = CUSTOMERS
) -> LedgerWorld:
    document = {"customers": [{"key": key, "name": key.title(), "currency": "USD"} for key in customers]}
    apply(books, tenant_id, document, now)
    with books.read_only(tenant_id) as conn:
        rows = conn.execute("SELECT key, customer_id FROM customers").fetchall()
    return LedgerWorld(books, tenant_id, now, {row["key"]: row["customer_id"] for row in rows})
