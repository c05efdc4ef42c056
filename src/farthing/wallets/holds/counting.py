"""Sealing takes up what was settled: the seam between authorisations and draws.

A settled authorisation waits until its event is sealed. In the transaction that counts the event its settled funds
go to the draw of that usage, which uses them first and lets go of what it does not need. Where the same event had
been counted before (it was sent by itself, too), it was drawn then: all of what was settled is let go.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import md5

import numpy as np

from farthing.db.pool import BooksConnection
from farthing.events.seal import SealedBatch
from farthing.kernel.quantity import ZERO, exact
from farthing.wallets.holds import store as rows
from farthing.wallets.holds.store import Waiting
from farthing.wallets.model import ChargeKey, SettledHold, UsageCharge


def settled_charges(conn: BooksConnection, batch: SealedBatch, now: datetime) -> list[UsageCharge]:
    """What settled authorisations have set aside for events of this batch: charges of nothing, which hold it.

    They are counted from here on, so each is told once. For the sealer's transaction.
    """
    if not len(batch.identities.keys):
        return []
    waiting = rows.select_waiting(conn, batch.tenant_id)
    sealed = _sealed(waiting, batch)
    if not sealed:
        return []
    counted = rows.mark_counted(conn, batch.tenant_id, [one.key for one in sealed], now)
    by_charge: dict[tuple[ChargeKey, int, str], list[SettledHold]] = {}
    for one in sealed:
        if one.key in counted:
            for part in one.settled_parts:
                key = ChargeKey(part.subscription_id, part.period_start, part.rate_card)
                place = (key, one.customer_id, one.currency)
                by_charge.setdefault(place, []).append(SettledHold(part.grant_id, part.amount))
    return [
        UsageCharge(key, customer_id, currency, (), ZERO, now, tuple(_by_grant(holds)))
        for (key, customer_id, currency), holds in by_charge.items()
    ]


def _by_grant(holds: Sequence[SettledHold]) -> list[SettledHold]:
    """One for each grant, in the order in which they were settled."""
    sums: dict[int, Decimal] = {}
    with exact():
        for hold in holds:
            sums[hold.grant_id] = sums.get(hold.grant_id, ZERO) + hold.amount
    return [SettledHold(grant_id, amount) for grant_id, amount in sums.items()]


def _sealed(waiting: Sequence[Waiting], batch: SealedBatch) -> list[Waiting]:
    """Those whose event is in the batch, whatever sealing made of it: it stands in quarantine, or it is counted."""
    if not waiting:
        return []
    hashes = [_identity(one.event_source, one.event_id) for one in waiting]
    keys = np.array([key for key, _ in hashes], dtype=np.uint64)
    checks = np.array([check for _, check in hashes], dtype=np.uint64)
    order = np.argsort(batch.identities.keys, kind="stable")
    ordered = batch.identities.keys[order]
    first, behind = np.searchsorted(ordered, keys, "left"), np.searchsorted(ordered, keys, "right")
    return [
        one
        for place, one in enumerate(waiting)
        if np.any(batch.identities.checks[order[first[place] : behind[place]]] == checks[place])
    ]


def _identity(source: str, event_id: str) -> tuple[int, int]:
    """The hash of an event's identity as the id index has it (`events/store/identity_sql.py`): key and check bits."""
    text = f"{len(source)}:{source}{event_id}".encode()
    number = int.from_bytes(md5(text, usedforsecurity=False).digest(), "little")
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF
