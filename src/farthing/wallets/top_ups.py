"""Use cases of top-ups: one is requested, by somebody or by the wallet itself, and settled by whoever collects.

    requested                -> funded: a paid grant           or failed: nothing is granted
    requested -> collecting  -> funded                         or failed: a payment is under way

Settling is for the transaction that knows what became of the money, and happens once: said again, it changes
nothing; said otherwise, it is refused. `paid_top_ups.py` is for payments.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.model import Outcome
from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import Faults, Fields, parse_choice, parse_text, shown
from farthing.wallets import store as wallet_rows
from farthing.wallets import top_up_store as rows
from farthing.wallets.balances import TOP_UP_REQUESTED
from farthing.wallets.content import (
    INVALID_GRANT,
    PRIORITY_DEFAULT,
    parse_collected_by,
    parse_payable,
    parse_subject_key,
)
from farthing.wallets.model import EVERYTHING, CollectedBy, GrantContent
from farthing.wallets.service import LIST_LIMIT_MAX, put_grant

INVALID_TOP_UP = "invalid_top_up"
TOPPED_UP = "wallet.topped_up"
TOP_UP_FAILED = "wallet.top_up_failed"


def request_top_up(
    books: Books, tenant_id: int, wallet: str, raw: object, now: datetime
) -> tuple[dict[str, Any], Outcome]:
    """Ask for money: `{"key": "order-17", "amount": "50"}`. Asked again under the same key, it is the same one.

    With `"collected_by": "payment"` the engine charges the method that the customer left, at once and once.

    Raises InvalidInput; NotFound `wallet_not_found`; Conflict `top_up_exists` (with other content), `wallet_of_units`.
    """
    with books.transaction(tenant_id) as conn:
        into = wallet_rows.select_wallet(conn, tenant_id, wallet)
        if into is None:
            raise NotFound("wallet_not_found", f"there is no wallet {shown(wallet)}")
        if into.currency is None:
            raise Conflict("wallet_of_units", f"{shown(wallet)} holds units: grant them", path="wallet")
        key, amount, collected_by = _read(raw, into.currency)
        wanted = [(key, into.wallet_id, amount, collected_by.value)]
        made = rows.insert_top_ups(conn, tenant_id, wanted, now, automatic=False)
        row = _top_up(conn, tenant_id, key)
        said = (row["wallet_id"], row["amount"], row["automatic"], row["collected_by"])
        if not made and said != (into.wallet_id, amount, False, collected_by):
            raise Conflict("top_up_exists", f"{shown(key)} stands for another top-up", path="key")
        if made:
            body = {
                "customer": into.customer,
                "wallet": into.key,
                "amount": trimmed(amount),
                "currency": into.currency,
                "automatic": False,
                "collected_by": collected_by.value,
            }
            announce(conn, tenant_id, [Fact(TOP_UP_REQUESTED, key, body, now)])
    return top_up_document(row), Outcome.CREATED if made else Outcome.UNCHANGED


def _read(raw: object, currency: str) -> tuple[str, Decimal, CollectedBy]:
    faults = Faults(INVALID_TOP_UP)
    fields = Fields(raw, "", faults)
    key = fields.required("key", parse_subject_key)
    amount = fields.required("amount", lambda value, at: parse_payable(value, at, currency, INVALID_GRANT))
    collected_by = fields.optional(
        "collected_by", lambda value, at: parse_collected_by(value, at, INVALID_TOP_UP), CollectedBy.HAND
    )
    fields.refuse_unknown()
    faults.refuse()
    return key, amount, collected_by


def fund_top_up(
    conn: BooksConnection, tenant_id: int, key: str, now: datetime, *, reference: str = ""
) -> dict[str, Any]:
    """The money is there: the wallet gets its grant, in the caller's transaction.

    The payment itself is booked by whoever took it, on the receivable that the grant is owed on; after this, since
    accounts are locked last.

    Raises NotFound `top_up_not_found`; Conflict `top_up_settled` where it had failed, `top_up_under_way` where a
    payment collects it.
    """
    row = _top_up(conn, tenant_id, key, hold=True)
    if row["status"] == "funded":
        return top_up_document(row)
    _refuse_settled(row)
    wallet = wallet_rows.select_wallet(conn, tenant_id, row["wallet"], hold=True)
    assert wallet is not None
    content = GrantContent(
        f"top_up:{key}", True, row["amount"], PRIORITY_DEFAULT, EVERYTHING, None, None, reference
    )
    grant, _ = put_grant(conn, tenant_id, wallet, content, now)
    rows.settle_top_ups(conn, tenant_id, {row["top_up_id"]: grant.grant_id}, now)
    body = top_up_body(row) | {"grant": grant.key}
    announce(conn, tenant_id, [Fact(TOPPED_UP, row["wallet"], body, now)])
    return top_up_document(_top_up(conn, tenant_id, key))


def fail_top_up(
    conn: BooksConnection, tenant_id: int, key: str, failure: str, now: datetime
) -> dict[str, Any]:
    """The money will not come, in the caller's transaction. failure: why, for people.

    Raises NotFound `top_up_not_found`; Conflict `top_up_settled` where it was funded, `top_up_under_way` where a
    payment collects it.
    """
    row = _top_up(conn, tenant_id, key, hold=True)
    if row["status"] == "failed":
        return top_up_document(row)
    _refuse_settled(row)
    rows.settle_top_ups(conn, tenant_id, {row["top_up_id"]: failure}, now)
    body = top_up_body(row) | {"failure": failure}
    announce(conn, tenant_id, [Fact(TOP_UP_FAILED, row["wallet"], body, now)])
    return top_up_document(_top_up(conn, tenant_id, key))


def settle_top_up(
    books: Books, tenant_id: int, wallet: str, key: str, raw: object, now: datetime
) -> dict[str, Any]:
    """What came of money that was collected elsewhere: `{"status": "funded", "reference": "transfer 4711"}`.

    A payment that comes with it is booked by whoever has it.

    Raises InvalidInput; NotFound `top_up_not_found`; Conflict `top_up_settled`, `top_up_under_way`.
    """
    faults = Faults(INVALID_TOP_UP)
    fields = Fields(raw, "", faults)
    status = fields.required("status", _parse_settled)
    reference = fields.optional("reference", parse_text, "")
    fields.refuse_unknown()
    faults.refuse()
    with books.transaction(tenant_id) as conn:
        if _top_up(conn, tenant_id, key)["wallet"] != wallet:
            said = f"there is no top-up {shown(key)} of the wallet {shown(wallet)}"
            raise NotFound("top_up_not_found", said)
        if status == "funded":
            return fund_top_up(conn, tenant_id, key, now, reference=reference)
        return fail_top_up(conn, tenant_id, key, reference or "not collected", now)


def _parse_settled(raw: object, path: str) -> str:
    return parse_choice(raw, path, ("funded", "failed"), code=INVALID_TOP_UP)


def get_top_up(books: Books, tenant_id: int, key: str) -> dict[str, Any]:
    """Raises NotFound `top_up_not_found`."""
    with books.read_only(tenant_id) as conn:
        return top_up_document(_top_up(conn, tenant_id, key))


def list_top_ups(
    books: Books,
    tenant_id: int,
    after: int,
    limit: int,
    wallet: str | None = None,
    status: str | None = None,
) -> list[dict[str, Any]]:
    """Top-ups in the order of their requests, the first behind the number `after`; of one wallet, if it is named.

    Raises NotFound `wallet_not_found`.
    """
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        if wallet is not None and wallet_rows.select_wallet(conn, tenant_id, wallet) is None:
            raise NotFound("wallet_not_found", f"there is no wallet {shown(wallet)}")
        found = rows.select_top_ups_after(conn, tenant_id, after, limit, wallet, status)
    return [top_up_document(row) for row in found]


def top_up_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A top-up as it is shown."""
    settled_at = row["settled_at"]
    return {
        "number": row["top_up_id"],
        "key": row["key"],
        "wallet": row["wallet"],
        "customer": row["customer"],
        "amount": trimmed(row["amount"]),
        "currency": row["currency"],
        "automatic": row["automatic"],
        "collected_by": row["collected_by"],
        "status": row["status"],
        "requested_at": format_instant(row["requested_at"]),
        "settled_at": None if settled_at is None else format_instant(settled_at),
        "grant": row["grant"],
        "failure": row["failure"],
    }


def top_up_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the facts of a top-up say of it."""
    return {
        "customer": row["customer"],
        "top_up": row["key"],
        "amount": trimmed(row["amount"]),
        "currency": row["currency"],
        "automatic": row["automatic"],
    }


def _refuse_settled(row: Mapping[str, Any]) -> None:
    if row["status"] == "collecting":
        said = f"a payment for the top-up {shown(row['key'])} is under way, and will settle it"
        raise Conflict("top_up_under_way", said)
    if row["status"] != "requested":
        raise Conflict("top_up_settled", f"the top-up {shown(row['key'])} is {row['status']} already")


def _top_up(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> Mapping[str, Any]:
    row = rows.select_top_up(conn, tenant_id, key, hold=hold)
    if row is None:
        raise NotFound("top_up_not_found", f"there is no top-up {shown(key)}")
    return row
