"""Use cases of events: what became of them all, and what was set aside."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.db import Books
from farthing.events.log.search import unsealed_blocks
from farthing.events.store import books as event_rows
from farthing.events.store import corrections as correction_rows
from farthing.events.store import quarantine as quarantine_rows
from farthing.kernel.errors import NotFound


@dataclass(frozen=True, slots=True)
class Account:
    """accepted = counted + duplicate + quarantined + waiting.

    voided: those of the counted ones that a correction says no longer count in usage.
    quarantined = open + retried + dropped. An event that was retried is accepted once more: what became
    of it then is part of the sum like that of any other.
    """

    accepted: int
    counted: int
    duplicate: int
    quarantined: int
    waiting: int
    voided: int
    quarantined_by_reason: Mapping[str, int]
    quarantined_by_state: Mapping[str, int]


def account(books: Books, log_dir: Path, tenant_id: int) -> Account:
    """Where every accepted event of a tenant stands.

    The books are read at one moment and the log after it, from where the books say it was sealed,
    so that no event is missed and none is counted twice.
    """
    with books.read_only(tenant_id) as conn:
        sealed = event_rows.tally(conn, tenant_id)
        sealed_to = event_rows.cursors(conn)
        by_reason = event_rows.quarantine_reasons(conn, tenant_id)
        resolved = quarantine_rows.resolutions(conn, tenant_id)
        voided = correction_rows.voided_count(conn, tenant_id)
    waiting = sum(
        block.header.events
        for _, block in unsealed_blocks(log_dir, sealed_to)
        if block.header.tenant == tenant_id
    )
    return Account(
        accepted=sealed["accepted"] + waiting,
        counted=sealed["counted"],
        duplicate=sealed["duplicate"],
        quarantined=sealed["quarantined"],
        waiting=waiting,
        voided=voided,
        quarantined_by_reason=by_reason,
        quarantined_by_state={
            "open": sealed["quarantined"] - sum(resolved.values()),
            "retried": resolved.get("retried", 0),
            "dropped": resolved.get("dropped", 0),
        },
    )


def quarantined(
    books: Books, tenant_id: int, *, reason: str | None, resolved: bool | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Quarantined events, oldest first, behind the id `after`: open ones, resolved ones, or (None) all."""
    with books.read_only(tenant_id) as conn:
        return quarantine_rows.quarantine_page(
            conn, tenant_id, reason=reason, resolved=resolved, after=after, limit=limit
        )


def quarantined_event(books: Books, tenant_id: int, quarantine_id: int) -> dict[str, Any]:
    """One of them. Raises NotFound `quarantined_event_not_found`."""
    for row in quarantined(books, tenant_id, reason=None, resolved=None, after=quarantine_id - 1, limit=1):
        if row["quarantine_id"] == quarantine_id:
            return row
    raise NotFound("quarantined_event_not_found", f"there is no quarantined event {quarantine_id}")
