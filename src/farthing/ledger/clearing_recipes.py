"""How payouts of gateways are booked: what `recipes.py` says of everything else. Pure."""

from datetime import datetime
from decimal import Decimal

from farthing.ledger.chart import Code
from farthing.ledger.facts import ClearingOpened, PayoutArrived
from farthing.ledger.model import Account, Entry, Side, Transfer, TransferKind


def payout_arrived(fact: PayoutArrived) -> Transfer:
    """What a gateway held is at the bank. Where more was taken back than came in, the bank pays the gateway.

    A payment of 142.80 less its fee of 4.44:

        Dr cash                 138.36
        Cr provider_clearing    138.36
    """
    return _moved(
        f"payout:{fact.payout}",
        TransferKind.PAYOUT_ARRIVED,
        fact.arrived_at,
        Account(Code.CASH, fact.currency),
        Account(Code.PROVIDER_CLEARING, fact.currency),
        fact.amount,
        fact.payout,
    )


def clearing_opened(fact: ClearingOpened) -> Transfer:
    """What was booked as cash before gateways had an account of their own, once.

    Dr provider_clearing    138.36
    Cr cash                 138.36
    """
    return _moved(
        f"clearing_opened:{fact.currency}",
        TransferKind.CLEARING_OPENED,
        fact.opened_at,
        Account(Code.PROVIDER_CLEARING, fact.currency),
        Account(Code.CASH, fact.currency),
        fact.amount,
        "",
    )


def _moved(
    key: str,
    kind: TransferKind,
    at: datetime,
    to: Account,
    source: Account,
    amount: Decimal,
    reference: str,
) -> Transfer:
    """From one account to another; an amount below zero goes the other way."""
    if amount < 0:
        to, source = source, to
    size = amount.copy_abs()
    return Transfer(key, kind, at, (Entry(to, Side.DEBIT, size), Entry(source, Side.CREDIT, size)), reference)
