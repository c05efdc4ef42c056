"""Authorised calls of a customer that holds units of the meter they use, and money, on the world of authorisations.

Tokens cost 0.01 up to 1,000 a month and 0.005 above; of `rising` 0.01 and 0.02.
"""

from typing import Any

from billing_world import PER_TOKEN
from hold_world import HoldWorld

from farthing.invoicing.accruing import accrue
from farthing.wallets.service import create_wallet

FALLING = PER_TOKEN | {
    "price": {
        "model": "graduated",
        "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}],
    }
}
RISING = PER_TOKEN | {
    "price": {
        "model": "graduated",
        "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.02"}],
    }
}


class UnitHolds(HoldWorld):
    def unit_wallet(self, key: str = "acme-tokens", customer: str = "acme", unit: str = "tokens") -> None:
        create_wallet(self.books, self.tenant_id, {"key": key, "customer": customer, "unit": unit}, self.now)

    def units(
        self,
        key: str,
        amount: str,
        unit_price: str | None = "0.002",
        wallet: str = "acme-tokens",
        **more: Any,
    ) -> None:
        kind, priced = ("promotional", {}) if unit_price is None else ("paid", {"unit_price": unit_price})
        self.grant(key, amount, wallet, kind, effective_at="2026-01-01T00:00:00Z", **priced, **more)

    def accrue(self) -> None:
        accrue(self.books, self.store, self.tenant_id, self.now)
