"""A tenant whose customers owe: invoices over fixed fees, a gateway that misbehaves, and what the books say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing_world import World, fee, instant, plan

from farthing.db.outbox import facts_after
from farthing.kernel.quantity import exact
from farthing.ledger.chart import Code
from farthing.ledger.service import list_accounts, trial_balance
from farthing.payments.collecting.service import Collected, collect
from farthing.payments.gateway import Gateway
from farthing.payments.gateways.fake import FakeGateway, Mischief
from farthing.payments.service import balances_of, create_payment, get_payment, put_method
from farthing.payments.webhooks.service import read_message, take_events

ISSUED = instant("2026-02-02T08:00:00Z")
DUE = ISSUED + timedelta(days=30)
SECRET = "whsec_for_tests"


@dataclass
class PaymentsWorld:
    """Time stands at `now` until somebody moves it."""

    world: World
    now: datetime = ISSUED
    fake: FakeGateway = field(init=False)

    def __post_init__(self) -> None:
        self.misbehave()

    @property
    def books(self):
        return self.world.books

    @property
    def tenant_id(self) -> int:
        return self.world.tenant_id

    @property
    def gateways(self) -> Mapping[str, Gateway]:
        return {"fake": self.fake}

    def misbehave_no_more(self) -> None:
        self.fake.mischief = Mischief()

    def misbehave(self, seed: int = 0, **mischief: int) -> None:
        self.fake = FakeGateway(SECRET, lambda: self.now, seed, Mischief(**mischief))

    def owe(self, amounts: Mapping[str, str], currency: str = "USD") -> None:
        """An invoice over so much for each of these customers, issued on 2 February, due 30 days later."""
        plans = {
            amount: plan(fee(amount), key=f"fee-{amount.replace('.', '-')}", currency=currency)
            for amount in dict.fromkeys(amounts.values())
        }
        subscriptions = [{"customer": name, "plan": plans[amount]["key"]} for name, amount in amounts.items()]
        self.world.furnish(list(plans.values()), subscriptions)
        self.world.bill("2026-02-01", now=ISSUED)
        self.now = ISSUED

    def method(self, customer: str, token: str = "tok_ok", key: str | None = None) -> None:
        raw = {"key": key or f"{customer}-card", "customer": customer, "gateway": "fake", "reference": token}
        put_method(self.books, self.tenant_id, raw, self.gateways, self.now)

    def collect(self, at: datetime | None = None, **more: Any) -> Collected:
        self.now = at or self.now
        return collect(self.books, self.tenant_id, self.gateways, self.now, **more)

    def receive(self, key: str, customer: str, amount: str, **more: Any):
        raw = {"key": key, "customer": customer, "amount": amount, "currency": "USD"} | more
        raw.setdefault("paid_at", self.now.isoformat())
        return create_payment(self.books, self.tenant_id, raw, self.now)[0]

    def hear(self, messages=None):
        """Everything that the gateway tells, through the door that checks it."""
        counts: dict[str, int] = {}
        for headers, body in self.fake.webhooks(self.now) if messages is None else messages:
            tenant_id, events = read_message({self.tenant_id: self.gateways}, "fake", headers, body, self.now)
            for effect, count in take_events(self.books, tenant_id, "fake", events, self.now).items():
                counts[effect] = counts.get(effect, 0) + count
        return {effect: count for effect, count in counts.items() if count}

    def payment(self, key: str):
        return get_payment(self.books, self.tenant_id, key).payment

    def open(self, number: str) -> Decimal:
        return balances_of(self.books, self.tenant_id, [number])[number].open

    def balance(self, code: Code, customer: str | None = None) -> Decimal:
        if customer is None:
            rows = trial_balance(self.books, self.tenant_id).rows
            parts = [row.debit - row.credit for row in rows if row.code is code]
        else:
            found = list_accounts(self.books, self.tenant_id, 0, 10_000, customer, code)
            parts = [one.balance for one in found]
        with exact():
            return sum(parts, Decimal(0))

    def facts(self, kind: str) -> list[dict[str, Any]]:
        found = facts_after(self.books, self.tenant_id, 0, 10_000, kind)
        return [{"kind": one.fact.kind, "subject": one.fact.subject, **one.fact.body} for one in found]

    def check(self) -> None:
        """What the customers owe by the ledger is what is open of invoices, less what stands to their credit."""
        with self.books.read_only(self.tenant_id) as conn:
            (said,) = conn.execute(
                """
                SELECT (SELECT coalesce(sum(open), 0) FROM invoice_balances WHERE tenant_id = %(t)s)
                     - (SELECT coalesce(sum(amount - allocated - refunded - charged_back), 0) FROM payments
                         WHERE tenant_id = %(t)s AND state = 'succeeded')
                     - (SELECT coalesce(sum(amount - allocated - taken_back), 0) FROM customer_credits
                         WHERE tenant_id = %(t)s)
                     - (SELECT coalesce(sum(amount), 0) FROM refunds
                         WHERE tenant_id = %(t)s AND state IN ('requested', 'sent')) AS owed
                """,
                {"t": self.tenant_id},
            ).fetchall()
        assert self.balance(Code.RECEIVABLE) == said["owed"]
