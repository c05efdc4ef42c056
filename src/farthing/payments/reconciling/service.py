"""Use cases of reconciling."""

from datetime import datetime
from typing import Any

from farthing.db import Books
from farthing.kernel.quantity import plain
from farthing.payments.gateway import Gateway, MovementKind
from farthing.payments.reconciling import store as rows
from farthing.payments.reconciling.compare import Ours, Reconciliation, compare


def reconcile(
    books: Books, tenant_id: int, gateway: Gateway, start: datetime, end: datetime
) -> Reconciliation:
    """Compare what moved at a gateway in [start, end), by its books and by ours. Both ways; nothing is changed."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_moved(conn, tenant_id, gateway.name, start, end)
    ours = [
        Ours(MovementKind(row["kind"]), row["provider_id"], row["key"], row["amount"], row["currency"])
        for row in found
    ]
    return compare(gateway.name, gateway.movements(start, end), ours)


def reconciliation_json(found: Reconciliation) -> dict[str, Any]:
    """As the API and the command line show it."""
    return {
        "gateway": found.gateway,
        "matched": found.matched,
        "totals": [
            {"kind": kind.value, "currency": currency, "theirs": plain(theirs), "ours": plain(ours)}
            for (kind, currency), (theirs, ours) in sorted(found.totals.items())
        ],
        "differences": [
            {
                "reason": one.reason,
                "kind": one.kind.value,
                "provider_id": one.provider_id,
                "key": one.key,
                "theirs": None if one.theirs is None else plain(one.theirs),
                "ours": None if one.ours is None else plain(one.ours),
                "currency": one.currency,
            }
            for one in found.differences
        ],
    }
