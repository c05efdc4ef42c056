"""The ledger against a model that knows nothing of SQL: whatever is posted, repeated or refused, balances are the fold.

Batches are posted one after the other and several at once; the model applies them in any order, for a fact that
is booked once is booked whichever came first.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from ledger_world import CUSTOMERS, LedgerWorld, furnished

from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.kernel.errors import Conflict
from farthing.kernel.quantity import exact
from farthing.ledger.chart import OF_A_CUSTOMER, Code
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.ledger.model import Account, Entry, Side, Transfer, TransferKind
from farthing.ledger.service import list_entries, trial_balance

AT = datetime(2026, 1, 1, tzinfo=UTC)
CURRENCIES = ("USD", "JPY")

amounts = st.decimals("0.000000000001", "1000000", places=12).filter(bool)
places = st.tuples(st.sampled_from(Code), st.sampled_from(CUSTOMERS))
drafts = st.tuples(
    st.integers(0, 25), st.sampled_from(CURRENCIES), st.lists(st.tuples(places, amounts), min_size=1, max_size=4),
    places, st.booleans(), st.integers(0, 5),
)  # fmt: skip


class LedgerMachine(RuleBasedStateMachine):
    books: Books
    now: datetime

    @initialize()
    def begin(self) -> None:
        number = next(self.numbers)
        tenant_id = create_tenant(self.books, f"machine-{number}", "Machine", self.now)
        self.world: LedgerWorld = furnished(self.books, tenant_id, self.now)
        self.booked: dict[str, Transfer] = {}

    def transfer(self, draft) -> Transfer:
        """One against many, so that it balances."""
        number, currency, many, one, one_debits, days = draft

        def account(place) -> Account:
            code, customer = place
            return self.world.account(code, customer if code in OF_A_CUSTOMER else None, currency)

        sides = (Side.DEBIT, Side.CREDIT) if one_debits else (Side.CREDIT, Side.DEBIT)
        with exact():
            total = sum((amount for _, amount in many), D(0))
        entries = [Entry(account(one), sides[0], total)]
        entries += [Entry(account(place), sides[1], amount) for place, amount in many]
        return Transfer(
            f"fact-{number}", TransferKind.PAYMENT_RECEIVED, AT + timedelta(days=days), tuple(entries)
        )

    def post(self, transfers: Sequence[Transfer]) -> bool:
        try:
            self.world.post(*transfers)
        except Conflict:
            return False
        return True

    @rule(batch=st.lists(drafts, min_size=1, max_size=8))
    def post_a_batch(self, batch) -> None:
        transfers = [self.transfer(draft) for draft in batch]
        known = dict(self.booked)
        contradicts = any(known.setdefault(one.key, one) != one for one in transfers)
        assert self.post(transfers) is not contradicts
        if not contradicts:
            self.booked = known

    @rule(keys=st.lists(st.integers(0, 25), max_size=5))
    def post_again(self, keys) -> None:
        again = [self.booked[key] for number in keys if (key := f"fact-{number}") in self.booked]
        found = self.world.post(*again)
        assert (found.booked, found.repeated) == (0, len(again))

    @rule(batches=st.lists(st.lists(drafts, min_size=1, max_size=4), min_size=2, max_size=4))
    def post_batches_at_once(self, batches) -> None:
        given = [[self.transfer(draft) for draft in batch] for batch in batches]
        with ThreadPoolExecutor(len(given)) as posters:
            accepted = [
                batch for batch, good in zip(given, posters.map(self.post, given), strict=True) if good
            ]
        for batch in accepted:
            for one in batch:
                assert self.booked.setdefault(one.key, one) == one

    @invariant()
    def balances_are_the_fold(self) -> None:
        if not hasattr(self, "world"):
            return
        fold: dict[tuple[str, str | None, str], D] = {}
        names = {number: key for key, number in self.world.customers.items()}
        with exact():
            for transfer in self.booked.values():
                for entry in transfer.entries:
                    account = entry.account
                    place = (account.code.value, names.get(account.customer_id), account.currency)
                    signed = entry.amount if entry.side is Side.DEBIT else -entry.amount
                    fold[place] = fold.get(place, D(0)) + signed
        kept = self.world.balances()
        # A batch that was refused may have left nothing, not even an account.
        assert kept == fold
        assert check_balances(self.books, self.world.tenant_id).findings == ()
        assert check_transfers_balance(self.books, self.world.tenant_id).findings == ()
        found = trial_balance(self.books, self.world.tenant_id)
        assert all(debit == credit for debit, credit in found.totals.values())
        for days in (0, 3):
            at = trial_balance(self.books, self.world.tenant_id, as_of=AT + timedelta(days=days))
            assert all(debit == credit for debit, credit in at.totals.values())
        entries = list_entries(self.books, self.world.tenant_id, (0, 0), 10_000)
        assert len(entries) == sum(len(transfer.entries) for transfer in self.booked.values())


@pytest.fixture
def machine(books: Books, now: datetime, tenant_id: int) -> type[LedgerMachine]:
    numbers = iter(range(tenant_id * 1_000_000, tenant_id * 1_000_000 + 999_999))
    return type("Machine", (LedgerMachine,), {"books": books, "now": now, "numbers": numbers})


def test_whatever_is_posted_balances_are_the_fold(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
