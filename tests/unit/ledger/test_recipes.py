"""Every recipe, with the figures of its docstring worked out by hand."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.ledger import clearing_recipes, recipes
from farthing.ledger.chart import KIND_OF, OF_A_CUSTOMER, Code
from farthing.ledger.checking import check_transfers
from farthing.ledger.facts import (
    Chargeback,
    ClearingOpened,
    CreditNoteIssued,
    GrantExpired,
    GrantFunded,
    GrantVoided,
    InvoiceIssued,
    InvoiceVoided,
    OpeningBalance,
    PaymentFee,
    PaymentReceived,
    PayoutArrived,
    RefundPaid,
    RevenueRecognised,
    TaxRemitted,
    WalletDrawn,
    WrittenOff,
)
from farthing.ledger.model import Side, Transfer, TransferKind

AT = datetime(2026, 2, 1, 9, 30, tzinfo=UTC)
ACME = 7
INVOICE = InvoiceIssued("INV-000001", ACME, "USD", D("100.00"), D("20.00"), D("22.80"), AT)

# What is booked, as (debits, credits) by code.
CASES = [
    (
        recipes.invoice_issued(INVOICE),
        "invoice:INV-000001",
        {"receivable": "142.80"},
        {"revenue": "100.00", "deferred_revenue": "20.00", "tax_payable": "22.80"},
    ),
    (
        recipes.invoice_voided(InvoiceVoided(INVOICE, AT)),
        "invoice_void:INV-000001",
        {"revenue": "100.00", "deferred_revenue": "20.00", "tax_payable": "22.80"},
        {"receivable": "142.80"},
    ),
    (
        recipes.credit_note_issued(
            CreditNoteIssued("CN-000001", "INV-000001", ACME, "USD", D("10.00"), D(0), D("1.90"), AT)
        ),
        "credit_note:CN-000001",
        {"revenue": "10.00", "tax_payable": "1.90"},
        {"receivable": "11.90"},
    ),
    (
        recipes.written_off(WrittenOff("w-1", "INV-000001", ACME, "USD", D("100.00"), D("19.00"), AT)),
        "write_off:w-1",
        {"bad_debt": "100.00", "tax_payable": "19.00"},
        {"receivable": "119.00"},
    ),
    (
        recipes.revenue_recognised(RevenueRecognised("INV-000001", "2", ACME, "USD", D("20.00"), AT)),
        "recognition:INV-000001:2",
        {"deferred_revenue": "20.00"},
        {"revenue": "20.00"},
    ),
    (
        recipes.payment_received(PaymentReceived("p-1", ACME, "USD", D("142.80"), AT, "INV-000001")),
        "payment:p-1",
        {"cash": "142.80"},
        {"receivable": "142.80"},
    ),
    (
        recipes.payment_fee(PaymentFee("p-1", "USD", D("4.44"), AT)),
        "payment_fee:p-1",
        {"payment_fees": "4.44"},
        {"cash": "4.44"},
    ),
    (
        recipes.refund_paid(RefundPaid("r-1", ACME, "USD", D("11.90"), AT)),
        "refund:r-1",
        {"receivable": "11.90"},
        {"cash": "11.90"},
    ),
    (
        recipes.charged_back(Chargeback("c-1", "p-1", ACME, "USD", D("142.80"), D("15.00"), AT)),
        "chargeback:c-1",
        {"receivable": "142.80", "payment_fees": "15.00"},
        {"cash": "157.80"},
    ),
    (
        recipes.payment_received(
            PaymentReceived("p-3", ACME, "USD", D("142.80"), AT, "INV-000001", at_gateway=True)
        ),
        "payment:p-3",
        {"provider_clearing": "142.80"},
        {"receivable": "142.80"},
    ),
    (
        recipes.payment_fee(PaymentFee("p-3", "USD", D("4.44"), AT, at_gateway=True)),
        "payment_fee:p-3",
        {"payment_fees": "4.44"},
        {"provider_clearing": "4.44"},
    ),
    (
        recipes.refund_paid(RefundPaid("r-3", ACME, "USD", D("11.90"), AT, at_gateway=True)),
        "refund:r-3",
        {"receivable": "11.90"},
        {"provider_clearing": "11.90"},
    ),
    (
        recipes.charged_back(
            Chargeback("c-3", "p-3", ACME, "USD", D("142.80"), D("15.00"), AT, at_gateway=True)
        ),
        "chargeback:c-3",
        {"receivable": "142.80", "payment_fees": "15.00"},
        {"provider_clearing": "157.80"},
    ),
    (
        clearing_recipes.payout_arrived(PayoutArrived("fake:po-1", "USD", D("138.36"), AT)),
        "payout:fake:po-1",
        {"cash": "138.36"},
        {"provider_clearing": "138.36"},
    ),
    (
        clearing_recipes.payout_arrived(PayoutArrived("fake:po-2", "USD", D("-165.00"), AT)),
        "payout:fake:po-2",
        {"provider_clearing": "165.00"},
        {"cash": "165.00"},
    ),
    (
        clearing_recipes.clearing_opened(ClearingOpened("USD", D("138.36"), AT)),
        "clearing_opened:USD",
        {"provider_clearing": "138.36"},
        {"cash": "138.36"},
    ),
    (
        recipes.tax_remitted(TaxRemitted("DE:2026-01", "USD", D("22.80"), AT)),
        "tax_remittance:DE:2026-01",
        {"tax_payable": "22.80"},
        {"cash": "22.80"},
    ),
    (
        recipes.grant_funded(GrantFunded("g-1", ACME, "USD", D("50.00"), paid=True, funded_at=AT)),
        "grant:g-1",
        {"receivable": "50.00"},
        {"prepaid": "50.00"},
    ),
    (
        recipes.grant_funded(GrantFunded("g-2", ACME, "USD", D("5.00"), paid=False, funded_at=AT)),
        "grant:g-2",
        {"promotions": "5.00"},
        {"promotional_credit": "5.00"},
    ),
    (
        recipes.wallet_drawn(WalletDrawn("d-1", ACME, "USD", D("0.0000225"), D("0.00001"), AT)),
        "draw:d-1",
        {"prepaid": "0.0000225", "promotional_credit": "0.00001"},
        {"revenue": "0.0000325"},
    ),
    (
        recipes.wallet_drawn(WalletDrawn("d-2", ACME, "USD", D("-0.004"), D("0.01"), AT)),
        "draw:d-2",
        {"promotional_credit": "0.01"},
        {"prepaid": "0.004", "revenue": "0.006"},
    ),
    (
        recipes.grant_voided(GrantVoided("g-1", ACME, "USD", D("3.12"), D("0.0034565"), AT)),
        "grant_void:g-1",
        {"prepaid": "3.1234565"},
        {"receivable": "3.12", "breakage": "0.0034565"},
    ),
    (
        recipes.grant_expired(GrantExpired("g-1", ACME, "USD", D("12.50"), paid=True, expired_at=AT)),
        "grant_expiry:g-1",
        {"prepaid": "12.50"},
        {"breakage": "12.50"},
    ),
    (
        recipes.grant_expired(GrantExpired("g-2", ACME, "USD", D("1.00"), paid=False, expired_at=AT)),
        "grant_expiry:g-2",
        {"promotional_credit": "1.00"},
        {"promotions": "1.00"},
    ),
    (
        recipes.opening_balance(OpeningBalance(ACME, "USD", D("80.00"), D("30.00"), AT)),
        "opening:7:USD",
        {"receivable": "80.00"},
        {"prepaid": "30.00", "opening_balance": "50.00"},
    ),
]


def side(transfer: Transfer, wanted: Side) -> dict[str, str]:
    return {entry.account.code.value: str(entry.amount) for entry in transfer.entries if entry.side is wanted}


@pytest.mark.parametrize(("transfer", "key", "debits", "credits_"), CASES, ids=[case[1] for case in CASES])
def test_a_fact_is_booked_as_its_recipe_says(
    transfer: Transfer, key: str, debits: dict[str, str], credits_: dict[str, str]
) -> None:
    assert transfer.key == key
    assert side(transfer, Side.DEBIT) == debits
    assert side(transfer, Side.CREDIT) == credits_
    assert transfer.effective_at == AT
    assert {entry.account.currency for entry in transfer.entries} == {"USD"}
    for entry in transfer.entries:
        assert entry.account.customer_id == (ACME if entry.account.code in OF_A_CUSTOMER else None)
    check_transfers([transfer])


def test_every_kind_of_transfer_has_a_recipe_and_every_account_a_use() -> None:
    assert {transfer.kind for transfer, *_ in CASES} == set(TransferKind)
    assert {entry.account.code for transfer, *_ in CASES for entry in transfer.entries} == set(Code)
    assert set(KIND_OF) == set(Code)


def test_corrections_point_to_what_they_correct() -> None:
    corrects = {transfer.key: transfer.corrects for transfer, *_ in CASES if transfer.corrects}
    assert corrects == {
        "invoice_void:INV-000001": "invoice:INV-000001",
        "credit_note:CN-000001": "invoice:INV-000001",
        "chargeback:c-1": "payment:p-1",
        "chargeback:c-3": "payment:p-3",
    }


def test_a_line_that_is_a_credit_changes_sides() -> None:
    transfer = recipes.invoice_issued(InvoiceIssued("INV-2", ACME, "USD", D(-5), D(12), D(0), AT))
    assert side(transfer, Side.DEBIT) == {"receivable": "7", "revenue": "5"}
    assert side(transfer, Side.CREDIT) == {"deferred_revenue": "12"}


def test_an_invoice_below_zero_is_owed_to_the_customer() -> None:
    transfer = recipes.invoice_issued(InvoiceIssued("INV-2", ACME, "USD", D(-5), D(0), D("-0.95"), AT))
    assert side(transfer, Side.CREDIT) == {"receivable": "5.95"}
    assert side(transfer, Side.DEBIT) == {"revenue": "5", "tax_payable": "0.95"}


def test_an_invoice_over_nothing_books_nothing() -> None:
    assert InvoiceIssued("INV-2", ACME, "USD", D("0.00"), D(0), D("0.00"), AT).books_nothing
    assert not InvoiceIssued("INV-2", ACME, "USD", D(5), D(-5), D("0.00"), AT).books_nothing


@pytest.mark.parametrize("amount", ["-5.00", "0"])
@pytest.mark.parametrize(
    "recipe",
    [
        lambda amount: recipes.payment_received(PaymentReceived("p", ACME, "USD", amount, AT)),
        lambda amount: recipes.grant_funded(GrantFunded("g", ACME, "USD", amount, True, AT)),
        lambda amount: recipes.refund_paid(RefundPaid("r", ACME, "USD", amount, AT)),
    ],
)
def test_a_fact_with_an_amount_that_is_not_above_zero_is_refused(recipe, amount: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_transfers([recipe(D(amount))])
    assert caught.value.code in ("invalid_amount", "invalid_transfers", "unbalanced_transfer")


def test_a_draw_that_goes_back_whole_is_booked_the_other_way() -> None:
    transfer = recipes.wallet_drawn(WalletDrawn("d", ACME, "USD", D("-5.00"), D(0), AT))
    assert side(transfer, Side.DEBIT) == {"revenue": "5.00"}
    assert side(transfer, Side.CREDIT) == {"prepaid": "5.00"}


def test_a_year_of_a_customer_ends_in_the_trial_balance_written_by_hand() -> None:
    """Invoice 142.80, paid; fee 4.44; credit note 11.90, refunded; top-up of 50, 37.50 drawn, the rest expired."""
    story = [
        recipes.invoice_issued(INVOICE),
        recipes.payment_received(PaymentReceived("p-1", ACME, "USD", D("142.80"), AT)),
        recipes.payment_fee(PaymentFee("p-1", "USD", D("4.44"), AT)),
        recipes.credit_note_issued(
            CreditNoteIssued("CN-1", "INV-000001", ACME, "USD", D("10.00"), D(0), D("1.90"), AT)
        ),
        recipes.refund_paid(RefundPaid("r-1", ACME, "USD", D("11.90"), AT)),
        recipes.payment_received(PaymentReceived("p-2", ACME, "USD", D(50), AT)),
        recipes.grant_funded(GrantFunded("g-1", ACME, "USD", D(50), True, AT)),
        recipes.wallet_drawn(WalletDrawn("d-1", ACME, "USD", D("37.5"), D(0), AT)),
        recipes.grant_expired(GrantExpired("g-1", ACME, "USD", D("12.5"), True, AT)),
        recipes.revenue_recognised(RevenueRecognised("INV-000001", "2", ACME, "USD", D(20), AT)),
        recipes.tax_remitted(TaxRemitted("2026-01", "USD", D("20.90"), AT)),
    ]
    balances: dict[str, D] = {}
    for transfer in story:
        for entry in transfer.entries:
            signed = entry.amount if entry.side is Side.DEBIT else -entry.amount
            code = entry.account.code.value
            balances[code] = balances.get(code, D(0)) + signed
    assert {code: balance for code, balance in balances.items() if balance} == {
        # 142.80 - 4.44 - 11.90 + 50 - 20.90
        "cash": D("155.56"),
        "payment_fees": D("4.44"),
        # 100 - 10 + 37.50 + 20
        "revenue": D("-147.50"),
        "breakage": D("-12.50"),
    }
