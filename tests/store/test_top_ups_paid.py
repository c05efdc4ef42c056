"""Top-ups that payments collect: the wallet has them once the money is there, and loses what is taken back.

Tokens cost 2.50 a million, so 4,000,000 are 10.00. The gateway keeps 2.9 percent of a payment.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from billing_world import PER_TOKEN, instant, plan
from payments_world import SECRET, PaymentsWorld
from wallet_world import WalletWorld, wallet_world

from farthing.db import Books
from farthing.finance.model import ReportName
from farthing.finance.service import make_report
from farthing.kernel.errors import Conflict, InvalidInput
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.payments.checks import check_payments
from farthing.payments.credit_checks import check_credit
from farthing.payments.gateway import Outcome, RefundOrder, Refused
from farthing.payments.gateways.fake import FakeGateway, Mischief
from farthing.payments.model import DisputeState
from farthing.payments.money_back.service import create_refund, decide_dispute, get_refund
from farthing.payments.service import get_payment
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.service import update_wallet, void_grant
from farthing.wallets.top_ups import get_top_up, list_top_ups, request_top_up, settle_top_up
from farthing.wallets.upkeep import keep_up

START = instant("2026-01-10T08:00:00Z")
AUTOMATIC = {"below": "5", "amount": "20", "cooldown_seconds": 3600, "monthly_maximum": "60"}


class House(PaymentsWorld):
    """The world of payments, whose customer acme prepays."""

    world: WalletWorld

    def asks(self, key: str, amount: str, by: str = "payment") -> dict[str, Any]:
        raw = {"key": key, "amount": amount, "collected_by": by}
        return request_top_up(self.books, self.tenant_id, "acme-usd", raw, self.now)[0]

    def goes_on(self, **more: float) -> None:
        self.now += timedelta(**more)
        self.world.now = self.now
        keep_up(self.books, self.tenant_id, self.now)
        self.collect()

    def uses(self, tokens: str) -> None:
        self.world.now = self.now
        self.world.use("acme", "2026-01-10", tokens)

    def statuses(self) -> list[str]:
        return [one["status"] for one in list_top_ups(self.books, self.tenant_id, 0, 100, "acme-usd")]

    def refund(self, key: str, payment: str, amount: str | None = None) -> Any:
        raw = {"key": key, "payment": payment} | ({} if amount is None else {"amount": amount})
        return create_refund(self.books, self.tenant_id, raw, self.now)[0]

    @property
    def available(self) -> Decimal:
        self.world.now = self.now
        return self.world.available()

    def holds(self, **balances: str) -> None:
        """The trial balance is this, and every law holds."""
        assert self.world.trial_balance() == balances
        self.lawful()

    def lawful(self) -> None:
        for check in (
            check_overspent, check_counters, check_prepaid, check_payments, check_credit, check_balances,
            check_transfers_balance,
        ):  # fmt: skip
            assert check(self.books, self.tenant_id).findings == (), check.__name__
        for name in (ReportName.WALLETS, ReportName.INCOME, ReportName.RECEIVABLES):
            report = make_report(self.books, self.tenant_id, name, None, None, self.now + timedelta(days=1))
            assert all(tie.holds for tie in report.ties), name


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path) -> Iterator[House]:
    world = wallet_world(books, tenant_id, START, tmp_path)
    world.furnish([plan(PER_TOKEN)], [{"customer": "acme", "plan": "payg"}])
    world.wallet()
    house = House(world, START)
    yield house
    world.store.close()


def test_a_payment_that_succeeds_becomes_a_grant_once(house: House) -> None:
    house.method("acme")
    assert house.asks("order-1", "50")["status"] == "requested"
    assert house.asks("order-1", "50") == house.asks("order-1", "50")
    house.holds()
    for _ in range(3):
        house.goes_on(minutes=5)
        house.hear()
    top_up = get_top_up(house.books, house.tenant_id, "order-1")
    assert (top_up["status"], top_up["grant"]) == ("funded", "top_up:order-1")
    payment = get_payment(house.books, house.tenant_id, "topup:order-1")
    assert (payment.payment.top_up, payment.payment.credit, payment.payment.purpose) == (
        "order-1",
        0,
        "top_up",
    )
    assert [(one["grant"], one["amount"], one["cause"]) for one in payment.grants] == [
        ("top_up:order-1", 50, "payment")
    ]
    assert house.fake.captures == {"topup:order-1": 1}
    house.holds(provider_clearing="48.55", payment_fees="1.45", prepaid="-50")
    assert [one["kind"] for one in house.facts("wallet.*")] == ["wallet.top_up_requested", "wallet.topped_up"]
    (told,) = house.facts("wallet.topped_up")
    assert (told["payment"], told["grant"], told["amount"]) == ("topup:order-1", "top_up:order-1", "50")
    with pytest.raises(Conflict, match="refund that"):
        void_grant(house.books, house.tenant_id, "top_up:order-1", "", house.now)
    with pytest.raises(InvalidInput, match="must not begin with top_up:"):
        house.world.grant("top_up:order-2", "5")


def test_what_is_declined_is_not_granted_and_not_tried_again(house: House) -> None:
    house.method("acme", "tok_declined")
    house.asks("order-1", "50")
    for _ in range(3):
        house.goes_on(days=1)
    assert house.statuses() == ["failed"]
    assert len(get_payment(house.books, house.tenant_id, "topup:order-1").attempts) == 1
    assert house.facts("wallet.top_up_failed")[0]["failure"] == "insufficient_funds"
    house.holds()


def test_money_that_comes_after_all_is_granted(house: House) -> None:
    """A gateway may say that it failed, and take the money then; a word by hand cannot."""
    house.method("acme", "tok_late_failure")
    house.asks("order-1", "50")
    house.goes_on(minutes=1)
    assert house.statuses() == ["collecting"]
    with pytest.raises(Conflict, match="under way"):
        settle_top_up(house.books, house.tenant_id, "acme-usd", "order-1", {"status": "funded"}, house.now)
    house.fake.settle_processing()
    house.hear()
    assert house.statuses() == ["failed"]
    with pytest.raises(Conflict, match="failed already"):
        settle_top_up(house.books, house.tenant_id, "acme-usd", "order-1", {"status": "funded"}, house.now)
    known = house.fake._payments["topup:order-1"]
    house.fake._take(known)
    for _ in range(2):
        house.hear()
        house.goes_on(minutes=1)
    assert (house.statuses(), house.available) == (["funded"], 50)
    house.holds(provider_clearing="48.55", payment_fees="1.45", prepaid="-50")


def test_by_hand_stays_by_hand(house: House) -> None:
    house.method("acme")
    house.asks("wire-1", "50", by="hand")
    house.goes_on(hours=1)
    assert (house.statuses(), house.fake.captures) == (["requested"], {})
    settle_top_up(house.books, house.tenant_id, "acme-usd", "wire-1", {"status": "funded"}, house.now)
    house.holds(receivable="50", prepaid="-50")


def test_a_wallet_fills_itself_within_its_limits(house: House) -> None:
    update_wallet(house.books, house.tenant_id, "acme-usd", {"top_up": AUTOMATIC}, house.now)
    house.goes_on(minutes=1)
    assert house.statuses() == ["requested"], "there is no method yet"
    house.method("acme", "tok_processing")
    for _ in range(3):
        house.goes_on(hours=2)
    assert house.statuses() == ["collecting"], "one at a time, however long it takes"
    house.fake.settle_processing()
    house.hear()
    assert (house.statuses(), house.available) == (["funded"], 20)
    house.method("acme", "tok_ok", key="acme-new")
    house.uses("7000000")  # 17.50: 2.50 are left
    assert house.statuses() == ["funded", "requested"]
    house.goes_on(minutes=1)
    assert (house.statuses(), house.available) == (["funded", "funded"], Decimal("22.50"))
    house.uses("8000000")  # 20: 2.50
    house.goes_on(minutes=10)
    assert house.statuses() == ["funded", "funded"], "not within the cooldown"
    house.goes_on(hours=1)
    house.uses("8000000")
    house.goes_on(hours=2)
    assert (house.statuses(), house.available) == (["funded"] * 3, Decimal("2.50")), (
        "60 are the most of a month"
    )
    house.holds(provider_clearing="58.26", payment_fees="1.74", prepaid="-2.5", revenue="-57.5")
    assert house.fake.captures == {one["payment"]: 1 for one in house.facts("wallet.topped_up")}, (
        "a capture for each"
    )


def test_a_method_that_failed_is_left_alone(house: House) -> None:
    house.method("acme", "tok_expired")
    update_wallet(house.books, house.tenant_id, "acme-usd", {"top_up": AUTOMATIC}, house.now)
    for _ in range(5):
        house.goes_on(hours=2)
    assert house.statuses() == ["failed", "requested"], "the next waits for another method"
    house.method("acme", "tok_ok", key="acme-new")
    house.goes_on(hours=2)
    assert (house.statuses(), house.available) == (["failed", "funded"], 20)


def test_a_payer_who_does_not_prove_who_it_is_is_asked_again_after_a_day(house: House) -> None:
    """The first is called off, and its wallet told; whoever confirms it then has both."""
    house.method("acme", "tok_action")
    update_wallet(house.books, house.tenant_id, "acme-usd", {"top_up": AUTOMATIC}, house.now)
    house.goes_on(minutes=1)
    house.goes_on(hours=23)
    assert house.statuses() == ["collecting"]
    (asked,) = house.facts("payment.action_required")
    assert (asked["customer"], asked["amount"]) == ("acme", "20")
    assert asked["subject"] == f"topup:{asked['top_up']}"
    house.goes_on(hours=1)
    house.goes_on(minutes=1)
    assert house.statuses() == ["failed", "collecting"]
    (told,) = house.facts("wallet.top_up_failed")
    assert (told["subject"], told["customer"], told["failure"]) == ("acme-usd", "acme", "not_confirmed")
    payment = get_payment(house.books, house.tenant_id, asked["subject"])
    assert payment.payment.state == "cancelled"
    assert [(one["outcome"], one["code"]) for one in payment.attempts] == [("failed", "not_confirmed")]
    house.holds()
    for known in house.fake._payments.values():
        house.fake._take(known)
    house.hear()
    assert (house.statuses(), house.available) == (["funded", "funded"], 40)
    house.holds(provider_clearing="38.84", payment_fees="1.16", prepaid="-40")


def test_a_refund_takes_what_is_undrawn(house: House) -> None:
    house.method("acme")
    house.asks("order-1", "50")
    house.goes_on(minutes=1)
    house.uses("4000001")  # 10.0000025
    with pytest.raises(Conflict, match=r"39\.99 USD are neither drawn nor held"):
        house.refund("r-0", "topup:order-1", "40.00")
    house.lawful()
    house.refund("r-1", "topup:order-1", "15.00")
    assert house.available == Decimal("24.9999975"), "it cannot be drawn while it is on its way"
    house.holds(
        provider_clearing="48.55",
        payment_fees="1.45",
        receivable="-15",
        prepaid="-24.9999975",
        revenue="-10.0000025",
    )
    house.goes_on(minutes=1)
    assert house.refund("r-2", "topup:order-1").amount == Decimal("24.99")
    house.goes_on(minutes=1)
    house.holds(provider_clearing="8.56", payment_fees="1.45", prepaid="-0.0099975", revenue="-10.0000025")
    with pytest.raises(Conflict):
        house.refund("r-3", "topup:order-1")


class Refusing(FakeGateway):
    """A gateway that gives nothing back."""

    def refund(self, order: RefundOrder) -> Outcome:
        raise Refused("card_closed")


def test_a_refund_that_fails_is_in_the_wallet_again(house: House) -> None:
    house.fake = Refusing(SECRET, lambda: house.now, 0, Mischief())
    house.method("acme")
    house.asks("order-1", "50")
    house.goes_on(minutes=1)
    house.refund("r-1", "topup:order-1", "20")
    assert house.available == 30
    house.goes_on(minutes=1)
    assert get_refund(house.books, house.tenant_id, "r-1").state == "failed"
    assert house.available == 50
    assert house.refund("r-2", "topup:order-1").amount == 50, "of both grants"
    house.goes_on(minutes=1)
    house.holds(provider_clearing="48.55", payment_fees="1.45", prepaid="-50")


def test_a_chargeback_takes_what_is_undrawn_and_the_rest_is_owed(house: House) -> None:
    house.method("acme")
    house.asks("order-1", "50")
    house.goes_on(minutes=1)
    house.uses("8000000")  # 20
    name = house.fake.charge_back("topup:order-1")
    for _ in range(2):
        house.hear()
    assert house.available == 0
    house.holds(provider_clearing="-16.45", payment_fees="16.45", receivable="20", revenue="-20")
    (told,) = house.facts("wallet.top_up_taken_back")
    assert (told["taken_back"], told["owed"]) == ("30", "20")
    # What is given back to the grant later is not the customer's to spend again.
    house.uses("-4000000")
    assert house.available == 10
    house.goes_on(minutes=1)
    assert house.available == 0
    house.holds(provider_clearing="-16.45", payment_fees="16.45", receivable="10", revenue="-10")
    # The dispute is won: the money is back, less what was drawn of it.
    house.fake.decide_dispute("topup:order-1", name, won=True)
    for _ in range(2):
        house.hear()
    assert house.available == 40
    house.holds(provider_clearing="33.55", payment_fees="16.45", prepaid="-40", revenue="-10")
    house.goes_on(minutes=1)
    assert house.available == 40
    assert house.refund("r-1", f"won:fake:{name}").amount == 40, "by hand: no gateway knows of it"
    house.holds(provider_clearing="33.55", cash="-40", payment_fees="16.45", revenue="-10")


def test_a_wallet_does_not_charge_a_method_that_was_contested(house: House) -> None:
    house.method("acme")
    update_wallet(house.books, house.tenant_id, "acme-usd", {"top_up": AUTOMATIC}, house.now)
    house.goes_on(minutes=1)
    (first,) = house.fake.captures
    house.fake.charge_back(first)
    house.hear()
    decide_dispute(
        house.books,
        house.tenant_id,
        house.facts("dispute.opened")[0]["subject"],
        DisputeState.LOST,
        house.now,
    )
    for _ in range(3):
        house.goes_on(hours=2)
    assert (house.statuses(), house.available) == (["funded", "requested"], 0)


@pytest.mark.parametrize("seed", range(2))
def test_a_month_with_a_gateway_that_misbehaves(house: House, seed: int) -> None:
    """Calls that are lost before and after, declines, debits that fail late, chargebacks, messages twice and never."""
    house.misbehave(
        seed, lost_before=200, lost_after=200, declined=200, processing=200, late_failure=300, charged_back=150,
        told_twice=300, told_never=200,
    )  # fmt: skip
    house.method("acme")
    for number in range(24):
        house.asks(f"order-{number}", f"{number + 1}.00")
        house.goes_on(hours=8)
        if number % 6 == 0:
            house.uses("2000000")
            house.fake.settle_processing()
        if number % 5 == 4:
            for payment in list(house.fake.captures)[-2:]:
                _refund_some(house, f"r-{number}-{payment}", payment)
        house.hear()
        if number % 8 == 7:
            house.lawful()
    house.fake.settle_processing()
    house.misbehave_no_more()
    for _ in range(6):
        house.goes_on(hours=7)
        house.hear()
    assert set(house.statuses()) == {"funded", "failed"}
    assert house.facts("wallet.top_up_taken_back"), "some were contested"
    assert set(house.fake.captures.values()) == {1}
    assert {one["payment"] for one in house.facts("wallet.topped_up")} == set(house.fake.captures)
    house.lawful()
    assert _fold(house) == house.available


def _refund_some(house: House, key: str, payment: str) -> None:
    """Unless it is drawn, contested or refunded by now."""
    with suppress(Conflict):
        house.refund(key, payment, "1.00")


def _fold(house: House) -> Decimal:
    """What is in the wallet by what every payment said, in plain arithmetic."""
    with house.books.read_only(house.tenant_id) as conn:
        rows: list[Mapping[str, Any]] = conn.execute(
            "SELECT sum(f.amount) AS funded, g.drawn FROM payment_grants f JOIN grants g USING (tenant_id, grant_id)"
            " GROUP BY g.grant_id, g.drawn"
        ).fetchall()
    return sum((row["funded"] - row["drawn"] for row in rows), Decimal(0))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE top_ups SET status = 'failed', grant_id = NULL, failure = 'x' WHERE key = 'order-1'",
        "UPDATE top_ups SET status = 'requested' WHERE key = 'order-2'",
        "UPDATE top_ups SET collected_by = 'hand'",
        "UPDATE payment_grants SET amount = 1",
        (
            "INSERT INTO payment_grants (tenant_id, payment_id, grant_id, amount, cause, moved_at)"
            " SELECT tenant_id, payment_id, grant_id, 1, '', now() FROM payment_grants"
        ),
        (
            "INSERT INTO payment_grants (tenant_id, payment_id, grant_id, amount, cause, moved_at)"
            " SELECT tenant_id, payment_id, grant_id, -51, '', now() FROM payment_grants"
        ),
        (
            "INSERT INTO payments (tenant_id, key, customer_id, gateway, purpose, top_up, currency, amount, reference,"
            " requested_at, state, moved_at, cause) SELECT tenant_id, 'twice', customer_id, gateway, purpose, top_up,"
            " currency, amount, '', now(), 'requested', now(), '' FROM payments LIMIT 1"
        ),
    ],
)
def test_the_database_refuses_what_is_no_top_up(house: House, statement: str) -> None:
    house.method("acme")
    house.asks("order-1", "50")
    house.goes_on(minutes=1)
    house.method("acme", "tok_processing", key="slow")
    house.asks("order-2", "50")
    house.goes_on(minutes=1)
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityError)
    with pytest.raises(refusals), house.books.transaction(house.tenant_id) as conn:
        conn.execute(statement)
    house.lawful()


ROUNDS = 6


@dataclass
class Works:
    """What goes on at the same time, each of it again and again."""

    house: House

    def collect(self, number: int) -> None:
        self.house.collect()

    def seal(self, number: int) -> None:
        self.house.world.use("acme", "2026-01-10", "800000")  # 2.00

    def keep_up(self, number: int) -> None:
        keep_up(self.house.books, self.house.tenant_id, self.house.now)

    def take_back(self, number: int) -> None:
        captured = list(self.house.fake.captures)
        for payment in captured:
            _refund_some(self.house, f"r-{number}-{payment}", payment)
        for payment in captured[:2] if number == ROUNDS - 1 else ():
            self.house.fake.charge_back(payment)
        self.house.hear()


def at_once(works: list[Callable[[int], None]]) -> list[BaseException]:
    """All of them, each in a thread; what went wrong."""
    failures: list[BaseException] = []

    def repeated(work: Callable[[int], None]) -> None:
        try:
            for number in range(ROUNDS):
                work(number)
        except BaseException as error:  # noqa: BLE001  it is shown by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=repeated, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_everything_at_once(house: House) -> None:
    """Two that collect, sealing, upkeep, refunds and chargebacks: nobody waits in a circle, each is granted once."""
    house.method("acme")
    for number in range(ROUNDS):
        house.asks(f"order-{number}", "10")
    works = Works(house)
    assert at_once([works.collect, works.collect, works.seal, works.keep_up, works.take_back]) == []
    for _ in range(2):
        house.goes_on(minutes=5)
        house.hear()
    assert house.fake.captures == {f"topup:order-{number}": 1 for number in range(ROUNDS)}
    assert len(house.facts("wallet.topped_up")) == ROUNDS
    house.lawful()
    assert _fold(house) == house.available
