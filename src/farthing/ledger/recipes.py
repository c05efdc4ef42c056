"""How every business fact is booked. Pure: a fact in, one balanced transfer out.

This is the one place that says so; of payouts it is `clearing_recipes.py`. A fact is booked once, by its key; amounts
are exact and above zero unless a field says otherwise. In the examples `Dr` is a debit and `Cr` a credit.

    fact                  debit                               credit
    invoice issued        receivable, unbilled_receivable     revenue, deferred_revenue, tax_payable
    invoice voided        what issuing credited               what issuing debited
    credit note issued    revenue, deferred_revenue, tax      receivable
    payment received      cash or provider_clearing           receivable
    payment fee           payment_fees                        cash or provider_clearing
    refund paid           receivable                          cash or provider_clearing
    chargeback            receivable, payment_fees            cash or provider_clearing
    payout arrived        cash                                provider_clearing
    clearing opened       provider_clearing                   cash
    write-off             bad_debt, tax_payable               receivable
    grant funded, paid    receivable                          prepaid
    grant funded, promo   promotions                          promotional_credit
    grant returned        receivable                          prepaid, promotional_credit
    wallet draw           prepaid, promotional_credit         revenue
    wallet draw, back     revenue                             prepaid, promotional_credit
    grant expired, paid   prepaid                             breakage
    grant expired, promo  promotional_credit                  promotions
    grant voided, paid    prepaid                             receivable, breakage
    revenue recognised    deferred_revenue                    revenue
    tax remitted          tax_payable                         cash
    opening balance       receivable                          prepaid, opening_balance

A hold books nothing. It reserves funds that stay the customer's until they are drawn, there are as many as there
are calls, and most live for seconds; wallets keep them, and the draw that settles one is booked here.

Money that comes in is always a payment on the receivable, whatever it was for; a paid grant then moves it from
there to prepaid. So money has one way in, and a payment for nothing yet stands to the customer's credit. What a
gateway takes stands in provider_clearing until a payout brings it to the bank: so cash is what the bank says.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.chart import OF_A_CUSTOMER, Code
from farthing.ledger.facts import (
    Chargeback,
    CreditNoteIssued,
    GrantExpired,
    GrantFunded,
    GrantVoided,
    InvoiceIssued,
    InvoiceVoided,
    OpeningBalance,
    PaymentFee,
    PaymentReceived,
    RefundPaid,
    RevenueRecognised,
    TaxRemitted,
    WalletDrawn,
    WrittenOff,
)
from farthing.ledger.model import Account, Entry, Side, Transfer, TransferKind

INVOICE_KEY_PREFIX = "invoice:"
WALLETS_AT_ONCE = 49
"""Customers in one transfer of draws: two entries each at most, and one of revenue."""

# ---- Invoices


def invoice_issued(fact: InvoiceIssued) -> Transfer:
    """What is earned is revenue at once, what is paid for in advance is owed as service.

    INV-000001 over 100.00 of usage, a fee of 20.00 for next month and 22.80 of tax:

        Dr receivable         142.80
        Cr revenue            100.00
        Cr deferred_revenue    20.00
        Cr tax_payable         22.80

    INV-000002 over 3.10 of usage, which is carried forward, and INV-000003 that brings it, over 4.00 more:

        Dr unbilled_receivable  3.10        Dr receivable           7.10
        Cr revenue              3.10        Cr unbilled_receivable  3.10
                                            Cr revenue              4.00
    """
    return Transfer(
        f"{INVOICE_KEY_PREFIX}{fact.number}",
        TransferKind.INVOICE_ISSUED,
        fact.issued_at,
        _invoice_entries(fact, Side.DEBIT),
        fact.number,
    )


def invoice_voided(fact: InvoiceVoided) -> Transfer:
    """Every entry of issuing, on the other side.

    INV-000001 from above:

        Dr revenue            100.00
        Dr deferred_revenue    20.00
        Dr tax_payable         22.80
        Cr receivable         142.80
    """
    number = fact.issued.number
    return Transfer(
        f"invoice_void:{number}",
        TransferKind.INVOICE_VOIDED,
        fact.voided_at,
        _invoice_entries(fact.issued, Side.CREDIT),
        number,
        corrects=f"{INVOICE_KEY_PREFIX}{number}",
    )


def credit_note_issued(fact: CreditNoteIssued) -> Transfer:
    """The customer owes less, or has it to its credit where the invoice was paid.

    CN-000001 gives back 10.00 of usage and 1.90 of tax of INV-000001:

        Dr revenue       10.00
        Dr tax_payable    1.90
        Cr receivable    11.90
    """
    return Transfer(
        f"credit_note:{fact.number}",
        TransferKind.CREDIT_NOTE_ISSUED,
        fact.issued_at,
        _invoice_entries(fact, Side.CREDIT),
        fact.number,
        corrects=f"{INVOICE_KEY_PREFIX}{fact.invoice}",
    )


def _invoice_entries(fact: InvoiceIssued | CreditNoteIssued, receivable: Side) -> tuple[Entry, ...]:
    """Receivable and unbilled on the given side, the parts on the other; a part below zero changes sides."""
    unbilled = fact.unbilled if isinstance(fact, InvoiceIssued) else ZERO
    with exact():
        total = fact.earned + fact.deferred + fact.tax - unbilled
    other = _opposite(receivable)
    customer = _of(fact.customer_id, fact.currency)
    parts = (
        (customer(Code.RECEIVABLE), receivable, total),
        (customer(Code.UNBILLED_RECEIVABLE), receivable, unbilled),
        (customer(Code.REVENUE), other, fact.earned),
        (customer(Code.DEFERRED_REVENUE), other, fact.deferred),
        (customer(Code.TAX_PAYABLE), other, fact.tax),
    )
    return tuple(
        Entry(account, side if amount > 0 else _opposite(side), amount.copy_abs())
        for account, side, amount in parts
        if amount
    )


def written_off(fact: WrittenOff) -> Transfer:
    """The debt becomes a loss, but for the tax on it.

    100.00 and 19.00 of tax of INV-000001 are given up:

        Dr bad_debt      100.00
        Dr tax_payable    19.00
        Cr receivable    119.00
    """
    account = _of(fact.customer_id, fact.currency)
    with exact():
        total = fact.net + fact.tax
    return Transfer(
        f"write_off:{fact.write_off}",
        TransferKind.WRITE_OFF,
        fact.written_off_at,
        (
            _debit(account(Code.BAD_DEBT), fact.net),
            *_unless_zero(_debit(account(Code.TAX_PAYABLE), fact.tax)),
            _credit(account(Code.RECEIVABLE), total),
        ),
        fact.invoice,
    )


def revenue_recognised(fact: RevenueRecognised) -> Transfer:
    """What was owed as service is earned; of a line below zero, what was to be given back is given.

    The fee of 20.00 on INV-000001, when its month is over:

        Dr deferred_revenue    20.00
        Cr revenue             20.00
    """
    account = _of(fact.customer_id, fact.currency)
    deferred = Side.DEBIT if fact.amount > 0 else Side.CREDIT
    amount = fact.amount.copy_abs()
    return Transfer(
        f"recognition:{fact.invoice}:{fact.line}",
        TransferKind.REVENUE_RECOGNISED,
        fact.rendered_at,
        (
            Entry(account(Code.DEFERRED_REVENUE), deferred, amount),
            Entry(account(Code.REVENUE), _opposite(deferred), amount),
        ),
        fact.invoice,
    )


# ---- Money that moves


def payment_received(fact: PaymentReceived) -> Transfer:
    """The customer owes that much less; what it did not owe stands to its credit.

    142.80 for INV-000001:

        Dr cash          142.80        provider_clearing, if `at_gateway`
        Cr receivable    142.80
    """
    account = _of(fact.customer_id, fact.currency)
    return Transfer(
        f"payment:{fact.payment}",
        TransferKind.PAYMENT_RECEIVED,
        fact.received_at,
        (_debit(account(_money(fact)), fact.amount), _credit(account(Code.RECEIVABLE), fact.amount)),
        fact.reference,
    )


def payment_fee(fact: PaymentFee) -> Transfer:
    """The customer has paid all the same: the fee is the seller's.

    2.9 % and 0.30 of 142.80 are 4.4412, and the gateway keeps 4.44:

        Dr payment_fees    4.44
        Cr cash            4.44
    """
    account = _of(None, fact.currency)
    return Transfer(
        f"payment_fee:{fact.payment}",
        TransferKind.PAYMENT_FEE,
        fact.charged_at,
        (_debit(account(Code.PAYMENT_FEES), fact.amount), _credit(account(_money(fact)), fact.amount)),
        fact.payment,
    )


def refund_paid(fact: RefundPaid) -> Transfer:
    """The credit is used up. Why it was given is booked by a credit note or by the void of a grant, not here.

    The 11.90 of CN-000001 are paid back:

        Dr receivable    11.90
        Cr cash          11.90
    """
    account = _of(fact.customer_id, fact.currency)
    return Transfer(
        f"refund:{fact.refund}",
        TransferKind.REFUND_PAID,
        fact.paid_at,
        (_debit(account(Code.RECEIVABLE), fact.amount), _credit(account(_money(fact)), fact.amount)),
        fact.refund,
    )


def charged_back(fact: Chargeback) -> Transfer:
    """The customer owes again what it had paid. If the bank gives it back, that is another payment.

    142.80 are taken back, for a fee of 15.00:

        Dr receivable      142.80
        Dr payment_fees     15.00
        Cr cash            157.80
    """
    account = _of(fact.customer_id, fact.currency)
    with exact():
        total = fact.amount + fact.fee
    return Transfer(
        f"chargeback:{fact.chargeback}",
        TransferKind.CHARGEBACK,
        fact.taken_at,
        (
            _debit(account(Code.RECEIVABLE), fact.amount),
            *_unless_zero(_debit(account(Code.PAYMENT_FEES), fact.fee)),
            _credit(account(_money(fact)), total),
        ),
        fact.payment,
        corrects=f"payment:{fact.payment}",
    )


def tax_remitted(fact: TaxRemitted) -> Transfer:
    """What was collected is handed on; neither income nor expense.

    The 22.80 of January:

        Dr tax_payable    22.80
        Cr cash           22.80
    """
    account = _of(None, fact.currency)
    return Transfer(
        f"tax_remittance:{fact.remittance}",
        TransferKind.TAX_REMITTED,
        fact.paid_at,
        (_debit(account(Code.TAX_PAYABLE), fact.amount), _credit(account(Code.CASH), fact.amount)),
        fact.remittance,
    )


# ---- Wallets


def grant_funded(fact: GrantFunded) -> Transfer:
    """Paid funds are a debt of service; what is given away costs the seller when it is given.

    50.00 that were paid for, and 5.00 on top:

        Dr receivable    50.00        Dr promotions           5.00
        Cr prepaid       50.00        Cr promotional_credit   5.00

    What a credit note returns to a wallet is taken from the receivable, where the note put it, whoever had paid for the
    grant:

        Dr receivable           5.00
        Cr promotional_credit   5.00
    """
    account = _of(fact.customer_id, fact.currency)
    funds = Code.PREPAID if fact.paid else Code.PROMOTIONAL_CREDIT
    source = Code.RECEIVABLE if fact.paid or fact.returned else Code.PROMOTIONS
    return Transfer(
        f"grant:{fact.grant}",
        TransferKind.GRANT_FUNDED,
        fact.funded_at,
        (_debit(account(source), fact.amount), _credit(account(funds), fact.amount)),
        fact.grant,
    )


def wallet_drawn(fact: WalletDrawn) -> Transfer:
    """Service was rendered: the debt of service becomes revenue. What goes back is booked the other way.

    A call of 0.0000325, of which 0.00001 are the last of a promotion:

        Dr prepaid                0.0000225
        Dr promotional_credit     0.00001
        Cr revenue                0.0000325
    """
    account = _of(fact.customer_id, fact.currency)
    with exact():
        total = fact.paid + fact.promotional
    sides = (
        (account(Code.PREPAID), Side.DEBIT, fact.paid),
        (account(Code.PROMOTIONAL_CREDIT), Side.DEBIT, fact.promotional),
        (account(Code.REVENUE), Side.CREDIT, total),
    )
    return Transfer(
        draw_key(fact.draw),
        TransferKind.WALLET_DRAW,
        fact.drawn_at,
        tuple(
            Entry(one, side if amount > 0 else _opposite(side), amount.copy_abs())
            for one, side, amount in sides
            if amount
        ),
    )


def drawn_together(draw: str, facts: Sequence[WalletDrawn]) -> Transfer:
    """Many customers' draws of one moment and currency as one transfer: each has its own entries, revenue has one.

    So that a sealed batch of twenty thousand customers is a few hundred transfers. At most `WALLETS_AT_ONCE`.

        Dr prepaid of acme      0.0000225
        Dr prepaid of bolt      0.0000125
        Cr revenue              0.000035
    """
    first = facts[0]
    entries: list[Entry] = []
    revenue = ZERO
    with exact():
        for fact in facts:
            for code, amount in ((Code.PREPAID, fact.paid), (Code.PROMOTIONAL_CREDIT, fact.promotional)):
                if amount:
                    revenue += amount
                    side = Side.DEBIT if amount > 0 else Side.CREDIT
                    entries.append(
                        Entry(Account(code, first.currency, fact.customer_id), side, amount.copy_abs())
                    )
    if revenue:
        side = Side.CREDIT if revenue > 0 else Side.DEBIT
        entries.append(Entry(Account(Code.REVENUE, first.currency), side, revenue.copy_abs()))
    return Transfer(draw_key(draw), TransferKind.WALLET_DRAW, first.drawn_at, tuple(entries))


def draw_key(draw: str) -> str:
    """The key of the transfer that books a draw."""
    return f"draw:{draw}"


def grant_expired(fact: GrantExpired) -> Transfer:
    """Paid funds become breakage; what was given away turns out to have cost that much less.

    12.50 of the paid grant and 1.00 of the other were left:

        Dr prepaid     12.50        Dr promotional_credit    1.00
        Cr breakage    12.50        Cr promotions            1.00
    """
    account = _of(fact.customer_id, fact.currency)
    funds, gain = (Code.PREPAID, Code.BREAKAGE) if fact.paid else (Code.PROMOTIONAL_CREDIT, Code.PROMOTIONS)
    return Transfer(
        f"grant_expiry:{fact.grant}",
        TransferKind.GRANT_EXPIRED,
        fact.expired_at,
        (_debit(account(funds), fact.amount), _credit(account(gain), fact.amount)),
        fact.grant,
    )


def grant_voided(fact: GrantVoided) -> Transfer:
    """The customer has to its credit what it paid for and did not draw, down to the minor unit; the rest is breakage.

    3.1234565 of a paid grant were left (of one given away, it is booked as if they had expired):

        Dr prepaid       3.1234565
        Cr receivable    3.12
        Cr breakage      0.0034565
    """
    account = _of(fact.customer_id, fact.currency)
    with exact():
        total = fact.credited + fact.rest
    return Transfer(
        f"grant_void:{fact.grant}",
        TransferKind.GRANT_VOIDED,
        fact.voided_at,
        (
            _debit(account(Code.PREPAID), total),
            *_unless_zero(_credit(account(Code.RECEIVABLE), fact.credited)),
            *_unless_zero(_credit(account(Code.BREAKAGE), fact.rest)),
        ),
        fact.grant,
    )


# ---- Before Farthing


def opening_balance(fact: OpeningBalance) -> Transfer:
    """The difference is what the seller's equity was made of.

    A customer owed 80.00 and had 30.00 in its wallet:

        Dr receivable         80.00
        Cr prepaid            30.00
        Cr opening_balance    50.00
    """
    account = _of(fact.customer_id, fact.currency)
    with exact():
        equity = fact.owed - fact.prepaid
    return Transfer(
        f"opening:{fact.customer_id}:{fact.currency}",
        TransferKind.OPENING_BALANCE,
        fact.at,
        (
            *_unless_zero(_debit(account(Code.RECEIVABLE), fact.owed)),
            *_unless_zero(_credit(account(Code.PREPAID), fact.prepaid)),
            *_unless_zero(
                Entry(
                    account(Code.OPENING_BALANCE),
                    Side.CREDIT if equity > 0 else Side.DEBIT,
                    equity.copy_abs(),
                )
            ),
        ),
    )


# ---- What recipes are made of


def _of(customer_id: int | None, currency: str) -> Callable[[Code], Account]:
    """The accounts of a customer and the seller's own, in one currency: `account(Code.REVENUE)`."""

    def account(code: Code) -> Account:
        return Account(code, currency, customer_id if code in OF_A_CUSTOMER else None)

    return account


def _money(fact: PaymentReceived | PaymentFee | RefundPaid | Chargeback) -> Code:
    """Where the money is: at a gateway, or at the bank."""
    return Code.PROVIDER_CLEARING if fact.at_gateway else Code.CASH


def _debit(account: Account, amount: Decimal) -> Entry:
    return Entry(account, Side.DEBIT, amount)


def _credit(account: Account, amount: Decimal) -> Entry:
    return Entry(account, Side.CREDIT, amount)


def _unless_zero(entry: Entry) -> tuple[Entry, ...]:
    return (entry,) if entry.amount else ()


def _opposite(side: Side) -> Side:
    return Side.CREDIT if side is Side.DEBIT else Side.DEBIT
