"""What time brings to authorisations: they expire, and settled events that a crash kept from the log reach it.

Both may be killed anywhere and done again. A clock that was set back lets nothing expire that has not, and brings
nothing back that has: what has expired is written.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from farthing.db import Books
from farthing.events.log.files import BlockHeader, LogWriter, encode_block
from farthing.kernel.errors import Unavailable
from farthing.kernel.instant import unix_microseconds
from farthing.kernel.quantity import exact
from farthing.wallets.burn_down import Funds
from farthing.wallets.draw_store import lock_open_grants
from farthing.wallets.holds import limits_store as limit_rows
from farthing.wallets.holds import store as rows
from farthing.wallets.holds.decide import Decided, Ground, let_go
from farthing.wallets.holds.model import Status
from farthing.wallets.holds.service import movements_of

EXPIRED_AT_ONCE = 1_000
APPENDED_AT_ONCE = 1_000
APPEND_AGAIN_SECONDS = 10
"""How long a settled event may wait to be counted before it is put into the log again."""
ORIGIN = "authorization"

OpenLog = Callable[[], AbstractContextManager[LogWriter]]


def expire_holds(books: Books, tenant_id: int, now: datetime) -> int:
    """Let go of what authorisations hold whose time is over. How many there were."""
    expired = 0
    while True:
        with books.transaction(tenant_id) as conn, exact():
            due = rows.select_expired(conn, tenant_id, now, EXPIRED_AT_ONCE)
            grants = lock_open_grants(conn, tenant_id, set(due.values())) if due else {}
            limited = limit_rows.lock_limits(conn, tenant_id, set(due.values())) if due else {}
            holds = rows.select_holds(conn, tenant_id, due) if due else {}
            still = [hold for hold in holds.values() if hold.status is Status.HELD]
            funds = {customer_id: Funds(own) for customer_id, own in grants.items()}
            ground, decided = Ground(now, {}, {}, {}, {}, funds, limited), Decided([])
            for hold in still:
                let_go(hold, ground, decided)
            if still:
                ended = rows.end_holds(conn, tenant_id, [hold.key for hold in still], Status.EXPIRED, now)
                if len(ended) < len(
                    still
                ):  # Somebody was quicker with one that holds nothing: the next time.
                    raise Unavailable("too_busy", "authorisations end at the same moment as they expire")
                if movements := movements_of(decided):
                    rows.move_grants(conn, tenant_id, movements)
                if decided.spending:
                    limit_rows.move_spending(conn, tenant_id, decided.spending)
        expired += len(still)
        if len(due) < EXPIRED_AT_ONCE:
            return expired


def append_again(books: Books, tenant_id: int, now: datetime, open_log: OpenLog) -> int:
    """Put events into the log again that settled authorisations a while ago and are not counted. How many.

    A crash between the commit that settled them and the log leaves them in the books only. An event that is in the
    log already is a duplicate there, and counted once.
    """
    before = now - timedelta(seconds=APPEND_AGAIN_SECONDS)
    with books.transaction(tenant_id) as conn:
        waiting = rows.take_unappended(conn, tenant_id, before, now, APPENDED_AT_ONCE)
    if waiting:
        with open_log() as log:
            appended = [log.append(settled_block(tenant_id, at, [line])) for at, line in waiting]
            for block in appended:
                block.result()
    return len(waiting)


def settled_block(tenant_id: int, at: datetime, lines: Sequence[bytes]) -> bytes:
    """Events that settled authorisations at a moment, as a block of the log: received then, whenever it is written."""
    payload = b"".join(lines)
    header = BlockHeader(
        block=1,
        tenant=tenant_id,
        kind="events",
        received_us=unix_microseconds(at),
        events=len(lines),
        bytes=len(payload),
        origin=ORIGIN,
    )
    return encode_block(header, payload)
