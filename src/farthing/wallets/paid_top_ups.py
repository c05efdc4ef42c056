"""Top-ups that payments collect: money becomes grants, and comes back out of them. In the caller's transaction.

For whoever settles payments. Nothing here locks a wallet or an account, for those are locked last: what is to be booked
is added to `transfers`, and the caller calls `watch_grants` and books at its end.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import Direction, round_count
from farthing.ledger.facts import GrantFunded, GrantVoided
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import grant_funded, grant_voided
from farthing.wallets import store as wallet_rows
from farthing.wallets import top_up_store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.content import PRIORITY_DEFAULT
from farthing.wallets.model import EVERYTHING, Ending, GrantContent
from farthing.wallets.service import ending_name
from farthing.wallets.top_ups import TOP_UP_FAILED, TOPPED_UP, top_up_body

PREFIX, AGAIN_PREFIX = "top_up:", "top_up_again:"


@dataclass(frozen=True, slots=True)
class Returned:
    """Money that had been taken out of a grant, or lost, and belongs into its wallet again.

    name: of the occasion, once for ever. of_grant: one that is in that wallet.
    """

    name: str
    of_grant: int
    amount: Decimal
    reference: str


def fund_paid(
    conn: BooksConnection, tenant_id: int, paid: Mapping[str, str], now: datetime, transfers: list[Transfer]
) -> dict[str, tuple[int, Decimal]]:
    """Payments of top-ups have succeeded: each wallet gets its grant, once; (grant, amount) by top-up.

    paid: by top-up, the key of its payment. Also of one that was thought to have failed.
    """
    wanted = [row for row in rows.lock_top_ups(conn, tenant_id, paid) if row["status"] != "funded"]
    if not wanted:
        return {}
    grants = [_grant(f"{PREFIX}{row['key']}", row, row["amount"], paid[row["key"]], now) for row in wanted]
    made = wallet_rows.insert_grants(conn, tenant_id, grants, now)
    rows.settle_top_ups(
        conn, tenant_id, {row["top_up_id"]: made[f"{PREFIX}{row['key']}"] for row in wanted}, now
    )
    facts = []
    for row in wanted:
        body = top_up_body(row) | {"grant": f"{PREFIX}{row['key']}", "payment": paid[row["key"]]}
        facts.append(Fact(TOPPED_UP, row["wallet"], body, now))
        transfers.append(_funded(f"{PREFIX}{row['key']}", row, row["amount"], now))
    announce(conn, tenant_id, facts)
    return {row["key"]: (made[f"{PREFIX}{row['key']}"], row["amount"]) for row in wanted}


def fail_paid(conn: BooksConnection, tenant_id: int, failed: Mapping[str, str], now: datetime) -> None:
    """Payments of top-ups will not come: nothing is granted. failed: by top-up, why."""
    under_way = [row for row in rows.lock_top_ups(conn, tenant_id, failed) if row["status"] == "collecting"]
    if not under_way:
        return
    rows.settle_top_ups(conn, tenant_id, {row["top_up_id"]: failed[row["key"]] for row in under_way}, now)
    facts = []
    for row in under_way:
        body = top_up_body(row) | {"failure": failed[row["key"]]}
        facts.append(Fact(TOP_UP_FAILED, row["wallet"], body, now))
    announce(conn, tenant_id, facts)


def undrawn_of(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> dict[int, Decimal]:
    """What of grants is neither drawn nor held, in whole minor units; they stand still until the transaction ends."""
    return {row["grant_id"]: _whole(row) for row in rows.lock_left(conn, tenant_id, grant_ids)}


def take_out(
    conn: BooksConnection,
    tenant_id: int,
    wanted: Mapping[int, Decimal],
    note: str,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Take so much out of these grants, which were asked for what is undrawn: it stands to the customer's credit."""
    endings, taken = [], []
    for row in rows.lock_left(conn, tenant_id, wanted):
        amount, place = wanted[row["grant_id"]], row["endings"] + 1
        endings.append((row["grant_id"], place, Ending.VOIDED, amount, note))
        named = ending_name(row["key"], place)
        fact = GrantVoided(named, row["customer_id"], row["currency"], amount, ZERO, now)
        taken.append(grant_voided(fact))
    if endings:
        wallet_rows.insert_endings(conn, tenant_id, endings, now)
        transfers += taken


def fund_again(
    conn: BooksConnection,
    tenant_id: int,
    returned: Sequence[Returned],
    now: datetime,
    transfers: list[Transfer],
) -> dict[str, int]:
    """New grants for what came back to wallets; their ids by name."""
    held = {
        row["grant_id"]: row for row in rows.lock_left(conn, tenant_id, {one.of_grant for one in returned})
    }
    grants = [
        _grant(f"{AGAIN_PREFIX}{one.name}", held[one.of_grant], one.amount, one.reference, now)
        for one in returned
    ]
    made = wallet_rows.insert_grants(conn, tenant_id, grants, now)
    transfers += [
        _funded(f"{AGAIN_PREFIX}{one.name}", held[one.of_grant], one.amount, now) for one in returned
    ]
    return {one.name: made[f"{AGAIN_PREFIX}{one.name}"] for one in returned}


def watch_grants(conn: BooksConnection, tenant_id: int, grants: Collection[str], now: datetime) -> None:
    """Say what became of the balances of the wallets that these grants are in."""
    wallets = rows.select_wallets_of(conn, tenant_id, grants)
    balances = wallet_rows.select_balances(conn, tenant_id, wallets, now)
    watch_balances(conn, tenant_id, {one: row["available"] for one, row in balances.items()}, now)


def _whole(row: Mapping[str, Any]) -> Decimal:
    return max(ZERO, round_count(row["unused"], MINOR_UNITS[row["currency"]], Direction.DOWN))


def _grant(key: str, of: Mapping[str, Any], amount: Decimal, reference: str, now: datetime) -> dict[str, Any]:
    content = GrantContent(key, True, amount, PRIORITY_DEFAULT, EVERYTHING, None, None, reference)
    return wallet_rows.grant_row(content, of["wallet_id"], of["customer_id"], now, b"")


def _funded(key: str, of: Mapping[str, Any], amount: Decimal, now: datetime) -> Transfer:
    with exact():
        return grant_funded(GrantFunded(key, of["customer_id"], of["currency"], amount, True, now))
