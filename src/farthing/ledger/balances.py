"""The trial balance: everything on the debit side equals everything on the credit side. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.chart import KIND_OF, Code
from farthing.ledger.model import TrialBalance, TrialBalanceRow


def trial_balance_of(balances: Iterable[tuple[str, str, Decimal]]) -> TrialBalance:
    """From the balances (code, currency, debits less credits), in the order of currencies and of the chart.

    receivable USD 142.80                receivable     142.80
    revenue    USD -120.00       ->      tax_payable                22.80
    tax_payable USD -22.80               revenue                   120.00
                                         USD            142.80     142.80
    """
    order = {code: place for place, code in enumerate(Code)}
    known = sorted(
        ((currency, Code(code), balance) for code, currency, balance in balances),
        key=lambda found: (found[0], order[found[1]]),
    )
    rows = []
    totals: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    with exact():
        for currency, code, balance in known:
            debit, credit = (balance, ZERO) if balance > 0 else (ZERO, -balance)
            rows.append(TrialBalanceRow(code, KIND_OF[code], currency, debit, credit))
            debits, credits_ = totals[currency]
            totals[currency] = (debits + debit, credits_ + credit)
    return TrialBalance(tuple(rows), dict(totals))
