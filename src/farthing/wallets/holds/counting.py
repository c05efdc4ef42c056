"""Sealing takes up what was settled: the seam between authorisations and draws.

A settled authorisation waits until its event is sealed. In the transaction that counts the event its settled funds
go to the draw of that usage, which uses them first and lets go of what it does not need. Settled units are what the
event takes of its meter, so all of them are drawn. Where the same event had been counted before (it was sent by
itself, too), it was drawn then: all of what was settled is let go.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import md5

import numpy as np

from farthing.db.pool import BooksConnection
from farthing.events.ids.deduplicate import Outcome
from farthing.events.sealing.seal import SealedBatch
from farthing.kernel.quantity import ZERO, exact
from farthing.wallets.holds import store as rows
from farthing.wallets.holds.store import Waiting
from farthing.wallets.model import ChargeKey, SettledHold, UsageCharge


def settled_charges(
    conn: BooksConnection, batches: Sequence[SealedBatch], now: datetime
) -> list[UsageCharge]:
    """What settled authorisations have set aside for events of a tenant's batches, as charges that hold it, one for
    each usage that is charged; of those whose event had been counted before, or cannot be, as charges of nothing.

    They are counted from here on, so each is told once. For the sealer's transaction.
    """
    some = [batch for batch in batches if len(batch.identities.keys)]
    if not some:
        return []
    tenant_id = some[0].tenant_id
    sealed = _sealed(rows.select_waiting(conn, tenant_id), some)
    if not sealed:
        return []
    ended = rows.mark_counted(conn, tenant_id, [one.key for one, _ in sealed], now)
    by_charge: dict[tuple[ChargeKey, int, str, str | None, bool], dict[int, Decimal]] = {}
    with exact():
        for one, counts in sealed:
            for part in one.settled_parts if one.key in ended else ():
                key = ChargeKey(part.subscription_id, part.period_start, part.rate_card)
                of_grants = by_charge.setdefault((key, one.customer_id, one.currency, part.unit, counts), {})
                of_grants[part.grant_id] = of_grants.get(part.grant_id, ZERO) + part.amount
        return [
            UsageCharge(
                key,
                customer_id,
                currency,
                (),
                sum(of_grants.values(), ZERO) if counts else ZERO,
                now,
                tuple(SettledHold(grant_id, amount) for grant_id, amount in of_grants.items()),
                unit,
            )
            for (key, customer_id, currency, unit, counts), of_grants in by_charge.items()
        ]


def _sealed(waiting: Sequence[Waiting], batches: Sequence[SealedBatch]) -> list[tuple[Waiting, bool]]:
    """Those whose event is in a batch, whatever sealing made of it, and whether it counts now."""
    if not waiting:
        return []
    named = {_identity(one.event_source, one.event_id): one for one in waiting}
    keys = np.fromiter((key for key, _ in named), dtype=np.uint64, count=len(named))
    counts: dict[tuple[int, int], bool] = {}
    for batch in batches:
        alike = np.flatnonzero(np.isin(batch.identities.keys, keys))
        sealed = zip(
            batch.identities.keys[alike].tolist(),
            batch.identities.checks[alike].tolist(),
            (batch.outcomes[alike] == Outcome.COUNTED).tolist(),
            strict=True,
        )
        for key, check, counted in sealed:
            counts[key, check] = counted or counts.get((key, check), False)
    return [(one, counts[identity]) for identity, one in named.items() if identity in counts]


def _identity(source: str, event_id: str) -> tuple[int, int]:
    """The hash of an event's identity as the id index has it (`events/store/identity_sql.py`): key and check bits."""
    text = f"{len(source)}:{source}{event_id}".encode()
    number = int.from_bytes(md5(text, usedforsecurity=False).digest(), "little")
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF
