"""The life of payments against a model that knows nothing of SQL: whatever happens, in any order, the ledger agrees.

The model is a bag of cents. It says what is open of each invoice, what stands to the customers' credit, and what is in
the bank; the books must say the same after every step.
"""

from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from billing_world import World, open_store
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from payments_world import DUE, PaymentsWorld

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.kernel.errors import Conflict
from farthing.ledger.checks import check_balances
from farthing.payments.checks import check_payments
from farthing.payments.money_back.service import create_refund
from farthing.payments.service import list_payments, write_off

CUSTOMERS = {"acme": "100", "bolt": "40.50", "cato": "7.01"}
NUMBERS = {"acme": "INV-000001", "bolt": "INV-000002", "cato": "INV-000003"}

customers = st.sampled_from(sorted(CUSTOMERS))
cents = st.integers(1, 12_000)


class PaymentsMachine(RuleBasedStateMachine):
    books: Books
    directory: Path

    @initialize(seed=st.integers(0, 999))
    def begin(self, seed: int) -> None:
        number = next(self.numbers)
        tenant_id = create_tenant(self.books, f"payments-{number}", "Machine", DUE)
        self.house = PaymentsWorld(
            World(self.books, open_store(self.directory / str(number)), tenant_id, DUE)
        )
        self.house.owe(CUSTOMERS)
        self.house.now = DUE
        self.house.misbehave(
            seed,
            lost_before=150,
            lost_after=150,
            declined=300,
            processing=300,
            late_failure=300,
            told_twice=300,
        )
        self.keys = iter(range(10_000))
        # The model, in cents: money received and given back by customer, what was given up, fees.
        self.received = dict.fromkeys(CUSTOMERS, 0)
        self.given_up = dict.fromkeys(CUSTOMERS, 0)
        self.messages: list = []
        for name in ("acme", "bolt"):
            self.house.method(name)

    def later(self, minutes: int) -> None:
        self.house.now += timedelta(minutes=minutes)

    @rule(name=customers, amount=cents, named=st.booleans())
    def money_comes_in(self, name: str, amount: int, named: bool) -> None:
        more = {"invoice": NUMBERS[name]} if named else {}
        self.house.receive(f"m{next(self.keys)}", name, str(D(amount).scaleb(-2)), **more)
        self.received[name] += amount

    @rule(minutes=st.sampled_from([0, 5, 60, 24 * 60, 4 * 24 * 60]))
    def time_passes_and_what_is_due_is_collected(self, minutes: int) -> None:
        self.later(minutes)
        self.house.collect(patience_seconds=120, calls_at_once=2)

    @rule()
    def what_was_on_its_way_arrives_or_fails(self) -> None:
        self.house.fake.settle_processing()

    @rule()
    def the_gateway_tells_twice_and_in_any_order(self) -> None:
        fresh = self.house.fake.webhooks(self.house.now)
        self.house.hear([*fresh, *fresh])

    @rule(place=st.integers(0, 50), amount=cents)
    def money_goes_back(self, place: int, amount: int) -> None:
        found = [one for one in list_payments(self.books, self.house.tenant_id, 0, 100) if one.paid_at]
        if not found:
            return
        payment = found[place % len(found)]
        raw = {"key": f"r{next(self.keys)}", "payment": payment.key, "amount": str(D(amount).scaleb(-2))}
        left = payment.amount - payment.refunded - payment.charged_back
        refused = ""
        try:
            create_refund(self.books, self.house.tenant_id, raw, self.house.now)
        except Conflict as error:
            refused = error.code
        assert refused == ("refund_above_payment" if D(amount).scaleb(-2) > left else "")

    @rule(place=st.integers(0, 50))
    def a_bank_takes_a_payment_back(self, place: int) -> None:
        captured = sorted(self.house.fake.captures)
        if captured:
            self.house.fake.charge_back(captured[place % len(captured)])

    @rule(name=customers)
    def an_invoice_is_given_up(self, name: str) -> None:
        left = self.house.open(NUMBERS[name])
        try:
            write_off(self.books, self.house.tenant_id, NUMBERS[name], {"reason": "x"}, self.house.now)
        except Conflict:
            return
        if not self.given_up[name]:
            self.given_up[name] = int(left.scaleb(2))

    @invariant()
    def books_and_model_agree(self) -> None:
        if not hasattr(self, "house"):
            return
        house = self.house
        house.check()
        assert check_payments(self.books, house.tenant_id).findings == ()
        assert check_balances(self.books, house.tenant_id).findings == ()
        payments = list_payments(self.books, house.tenant_id, 0, 1000)
        # Nothing is captured twice, and nothing succeeded here that was not captured there.
        assert set(house.fake.captures.values()) <= {1}
        by_gateway = [one for one in payments if one.gateway == "fake" and one.purpose != "won_dispute"]
        assert {one.key for one in by_gateway if one.paid_at} <= set(house.fake.captures)
        for name, number in NUMBERS.items():
            own = [one for one in payments if one.customer == name and one.paid_at]
            manual = sum((one.amount for one in own if one.gateway == "manual"), D(0))
            assert manual == D(self.received[name]).scaleb(-2)
            kept = sum((one.amount - one.refunded - one.charged_back for one in own), D(0))
            credit = sum((one.credit for one in own), D(0))
            open_now = house.open(number)
            total, lost = D(CUSTOMERS[name]), D(self.given_up[name]).scaleb(-2)
            assert open_now >= 0
            assert credit >= 0
            # What the customer owes and what it has, without looking at a single allocation.
            assert open_now - credit == total - lost - kept
            # Nothing stands to its credit while something is open, but for what is on its way.
            on_its_way = any(one.customer == name and one.state in ("sent", "processing") for one in payments)
            assert on_its_way or not (open_now and credit) or any(one.refunded for one in own)


@pytest.fixture
def machine(books: Books, tmp_path: Path, tenant_id: int) -> type[PaymentsMachine]:
    numbers = iter(range(tenant_id * 1_000_000, tenant_id * 1_000_000 + 999_999))
    return type("Machine", (PaymentsMachine,), {"books": books, "directory": tmp_path, "numbers": numbers})


def test_whatever_happens_the_ledger_agrees(machine: type[PaymentsMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=16,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
