"""The chart of accounts.

Accounts of a customer exist once for each customer and currency, the seller's own once for each currency; an
account is made when something is first posted to it.

    assets       receivable*          what customers owe on issued invoices; below zero: what they have to their credit
                 unbilled_receivable*   rendered, and carried forward: too little yet for an invoice
                 cash                 money at the bank, and what was taken in by hand
                 provider_clearing    money at payment gateways that has not come to the bank yet
    liabilities  prepaid*             money paid in advance: funds of wallets that are not drawn yet
                 promotional_credit*  funds given away that are not drawn yet
                 deferred_revenue*    invoiced for service that is still to come
                 tax_payable          tax on invoices, owed to the authorities
    income       revenue              service rendered
                 breakage             money paid in advance that expired undrawn
    expenses     promotions           what promotional funds cost when they are given
                 payment_fees         what gateways and banks keep
                 bad_debt             invoices that will not be paid
    equity       opening_balance      what was owed either way before Farthing kept the books

    * an account of a customer

A debit adds to assets and expenses, a credit to liabilities, income and equity. A balance is its debits less
its credits; `in_own_sense` turns the sign so that an account that holds what it usually holds is above zero.
"""

from decimal import Decimal
from enum import StrEnum


class Kind(StrEnum):
    """The five kinds of accounts."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"
    EQUITY = "equity"


class Code(StrEnum):
    """Every account of the chart, in the order of a trial balance."""

    RECEIVABLE = "receivable"
    UNBILLED_RECEIVABLE = "unbilled_receivable"
    CASH = "cash"
    PROVIDER_CLEARING = "provider_clearing"
    PREPAID = "prepaid"
    PROMOTIONAL_CREDIT = "promotional_credit"
    DEFERRED_REVENUE = "deferred_revenue"
    TAX_PAYABLE = "tax_payable"
    REVENUE = "revenue"
    BREAKAGE = "breakage"
    PROMOTIONS = "promotions"
    PAYMENT_FEES = "payment_fees"
    BAD_DEBT = "bad_debt"
    OPENING_BALANCE = "opening_balance"


KIND_OF: dict[Code, Kind] = {
    Code.RECEIVABLE: Kind.ASSET,
    Code.UNBILLED_RECEIVABLE: Kind.ASSET,
    Code.CASH: Kind.ASSET,
    Code.PROVIDER_CLEARING: Kind.ASSET,
    Code.PREPAID: Kind.LIABILITY,
    Code.PROMOTIONAL_CREDIT: Kind.LIABILITY,
    Code.DEFERRED_REVENUE: Kind.LIABILITY,
    Code.TAX_PAYABLE: Kind.LIABILITY,
    Code.REVENUE: Kind.INCOME,
    Code.BREAKAGE: Kind.INCOME,
    Code.PROMOTIONS: Kind.EXPENSE,
    Code.PAYMENT_FEES: Kind.EXPENSE,
    Code.BAD_DEBT: Kind.EXPENSE,
    Code.OPENING_BALANCE: Kind.EQUITY,
}

OF_A_CUSTOMER = frozenset(
    {
        Code.RECEIVABLE,
        Code.UNBILLED_RECEIVABLE,
        Code.PREPAID,
        Code.PROMOTIONAL_CREDIT,
        Code.DEFERRED_REVENUE,
    }
)
"""The accounts that every customer has for itself; the others are the seller's own."""

DEBIT_KINDS = frozenset({Kind.ASSET, Kind.EXPENSE})
"""The kinds that a debit adds to."""


def in_own_sense(kind: Kind, balance: Decimal) -> Decimal:
    """A balance as people read it: revenue of 10 is a balance of -10, and 10 in its own sense."""
    if kind in DEBIT_KINDS or not balance:
        return balance
    return balance.copy_negate()
