"""Use cases of the bank: take a statement in, say who money is from, write a file of direct debits."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from hashlib import blake2b
from typing import Any

from farthing.customers.store import select_customers
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.kernel.instant import unix_microseconds
from farthing.kernel.reading import shown
from farthing.ledger.model import Transfer
from farthing.payments import store as payment_rows
from farthing.payments.bank import store as rows
from farthing.payments.bank.camt053 import Entry, Statement, read_statements
from farthing.payments.bank.creditor import Creditor
from farthing.payments.bank.matching import (
    Effect,
    Matched,
    debit_named,
    end_to_end,
    fee_of_return,
    match_entries,
)
from farthing.payments.bank.pain008 import Debit, debit_file
from farthing.payments.bank.references import invoices_named
from farthing.payments.collecting import store as collecting_rows
from farthing.payments.disputing import Taken, open_disputes
from farthing.payments.gateway import Outcome, Result
from farthing.payments.model import BANK, SEPA, DisputeKind, Payment, Purpose, State
from farthing.payments.paying_out.service import arrive
from farthing.payments.schedule import DunningPolicy, policy_of
from farthing.payments.service import get_payment
from farthing.payments.settling import Told, book, receive, settle
from farthing.payments.settling_store import expect_many, lock_settling
from farthing.payments.topping_up_store import insert_due_top_ups

MANY_ENTRIES = 100
"""From so many on, an import joins sets with sets."""
DEBITS_MAX = 10_000
"""Direct debits in one file."""

# ---- Statements in


@dataclass(slots=True)
class Imported:
    """What an import did. known: entries that were imported before, and did nothing now.

    payouts: how many of those that matched nothing, or left the account, are payouts of gateways.
    """

    statements: int = 0
    entries: int = 0
    known: int = 0
    payouts: int = 0
    effects: Counter[str] = field(default_factory=Counter)


def import_statement(books: Books, tenant_id: int, content: bytes, now: datetime) -> Imported:
    """Take a camt.053 file in: all of it or none. What was imported before, from whatever file, does nothing.

    Raises InvalidInput `invalid_statement`, `unsupported_statement_version`; LimitExceeded `statement_too_large`.
    """
    statements = read_statements(content)
    done = Imported()
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        if sum(len(statement.entries) for statement in statements) >= MANY_ENTRIES:
            expect_many(conn)
        policy = policy_of(payment_rows.select_policy(conn, tenant_id))
        transfers: list[Transfer] = []
        for statement in statements:
            _take(conn, tenant_id, statement, policy, now, done, transfers)
        done.payouts = arrive(conn, tenant_id, now, transfers)
        book(conn, tenant_id, transfers, now)
    return done


def _take(
    conn: BooksConnection,
    tenant_id: int,
    statement: Statement,
    policy: DunningPolicy,
    now: datetime,
    done: Imported,
    transfers: list[Transfer],
) -> None:
    identities = [entry.identity for entry in statement.entries]
    known = rows.select_known_entries(conn, tenant_id, statement.account, identities)
    fresh = [entry for entry in statement.entries if entry.identity not in known]
    done.statements += 1
    done.known += len(statement.entries) - len(fresh)
    if not fresh:
        return
    done.entries += len(fresh)
    statement_id = rows.insert_statement(
        conn, tenant_id, statement.account, statement.reference, len(fresh), now
    )
    matched = _matched(conn, tenant_id, fresh)
    paid = _receive(conn, tenant_id, matched, now, transfers)
    _settle_debits(conn, tenant_id, matched, policy, now, transfers)
    rows.insert_entries(
        conn, tenant_id, statement_id, [_row(one, paid.get(one.entry.identity)) for one in matched]
    )
    done.effects += Counter(one.effect.value for one in matched)


def _matched(conn: BooksConnection, tenant_id: int, entries: Sequence[Entry]) -> list[Matched]:
    names = {name for entry in entries if (name := debit_named(entry.end_to_end))}
    numbers = {number for entry in entries if entry.amount > 0 for number in invoices_named(entry.remittance)}
    return match_entries(
        entries,
        rows.select_debits_named(conn, tenant_id, sorted(names)) if names else {},
        rows.select_blocks(conn, tenant_id, {entry.batch for entry in entries if entry.batch}),
        payment_rows.select_balances(conn, tenant_id, numbers),
    )


def _receive(
    conn: BooksConnection,
    tenant_id: int,
    matched: Sequence[Matched],
    now: datetime,
    transfers: list[Transfer],
) -> dict[str, int]:
    """Payments for the transfers that name invoices; answers with their ids by the entry."""
    paying = {entry_key(one.entry): one for one in matched if one.effect is Effect.PAID}
    if not paying:
        return {}
    made = payment_rows.insert_payments(
        conn,
        tenant_id,
        [
            _payment(key, one.entry, one.customer_id, one.invoices[0] if one.invoices else None, now)
            for key, one in paying.items()
        ],
    )
    ids = {row["key"]: row["payment_id"] for row in made}
    payments = payment_rows.select_payments_of(conn, tenant_id, ids.values())
    most = max(len(one.invoices) for one in paying.values())
    rounds = [
        [(ids[key], one.invoices[turn]) for key, one in paying.items() if turn < len(one.invoices)]
        for turn in range(most)
    ]
    receive(conn, tenant_id, payments, now, transfers, rounds)
    return {one.entry.identity: ids[key] for key, one in paying.items()}


def entry_key(entry: Entry) -> str:
    """The key of the payment that an entry is."""
    named = f"{entry.account}\n{entry.identity}"
    return f"bank:{blake2b(named.encode(), digest_size=12).hexdigest()}"


def _payment(
    key: str, entry: Entry, customer_id: int | None, invoice_id: int | None, now: datetime
) -> dict[str, Any]:
    return {
        "key": key,
        "customer_id": customer_id,
        "gateway": BANK,
        "purpose": Purpose.ACCOUNT if invoice_id is None else Purpose.INVOICE,
        "invoice_id": invoice_id,
        "currency": entry.currency,
        "amount": entry.amount,
        "reference": entry.remittance[:200],
        "state": State.SUCCEEDED,
        "cause": "statement",
        "paid_at": min(entry.booked_at, now),
        "requested_at": now,
    }


def _settle_debits(
    conn: BooksConnection,
    tenant_id: int,
    matched: Sequence[Matched],
    policy: DunningPolicy,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """What became of direct debits: those that were paid first, for one may be paid and come back in one statement."""
    told = [
        Told(payment_id, attempt, Outcome(Result.SUCCEEDED, at=min(one.entry.booked_at, now)))
        for one in matched
        if one.effect is Effect.DEBIT_PAID
        for payment_id, attempt in one.debits
    ]
    settle(conn, tenant_id, told, policy, "statement", now, transfers)
    back = [one for one in matched if one.effect in (Effect.RETURNED, Effect.DECLINED)]
    if not back:
        return
    standing = rows.select_debits_named(conn, tenant_id, [name for one in back for name in one.debits])
    returned, declined = [], []
    for one in back:
        (name,) = one.debits
        payment = standing[name]
        code = one.entry.returned or "returned"
        if payment["state"] == State.SUCCEEDED:
            returned.append(
                Taken(
                    f"return:{entry_key(one.entry).removeprefix('bank:')}",
                    name[0],
                    DisputeKind.RETURN,
                    code,
                    payment["amount"],
                    fee_of_return(one.entry, payment["amount"]),
                    min(one.entry.booked_at, now),
                )
            )
        else:
            declined.append(Told(*name, Outcome(Result.DECLINED, code=code)))
    open_disputes(conn, tenant_id, returned, now, transfers)
    settle(conn, tenant_id, declined, policy, "statement", now, transfers)


def _row(one: Matched, payment_id: int | None) -> dict[str, Any]:
    entry = one.entry
    return {
        "account": entry.account,
        "identity": entry.identity,
        "amount": entry.amount,
        "currency": entry.currency,
        "booked_at": entry.booked_at,
        "payer": entry.payer,
        "remittance": entry.remittance,
        "end_to_end": entry.end_to_end,
        "returned": entry.returned,
        "effect": one.effect.value,
        "payment_id": payment_id if payment_id is not None else (one.debits[0][0] if one.debits else None),
    }


def list_unmatched(books: Books, tenant_id: int, after: int, limit: int) -> list[dict[str, Any]]:
    """Money that came in and is nobody's yet, in order, behind the id `after`."""
    with books.read_only(tenant_id) as conn:
        return [dict(row) for row in rows.select_unmatched_after(conn, tenant_id, after, limit)]


def assign_entry(books: Books, tenant_id: int, entry_id: int, customer: str, now: datetime) -> Payment:
    """Say whose money an unmatched entry is: it pays what is oldest of theirs, and the rest stands to their credit.

    Raises NotFound `bank_entry_not_found` (also where it was assigned before), `customer_not_found`.
    """
    key = f"fix:{entry_id}"
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        found = rows.select_unmatched(conn, tenant_id, entry_id)
        if found is None:
            raise NotFound("bank_entry_not_found", f"there is no unmatched entry {entry_id}", path="entry")
        owner = select_customers(conn, tenant_id, [customer]).get(customer)
        if owner is None:
            raise NotFound("customer_not_found", f"there is no customer {shown(customer)}", path="customer")
        entry = Entry(
            found["account"], found["identity"], found["amount"], found["currency"], found["booked_at"],
            found["payer"], found["remittance"], "", "", None,
        )  # fmt: skip
        made = payment_rows.insert_payments(
            conn, tenant_id, [_payment(key, entry, owner.customer_id, None, now)]
        )
        transfers: list[Transfer] = []
        payments = payment_rows.select_payments_of(conn, tenant_id, [row["payment_id"] for row in made])
        receive(conn, tenant_id, payments, now, transfers)
        book(conn, tenant_id, transfers, now)
    return get_payment(books, tenant_id, key).payment


# ---- Direct debits out


@dataclass(frozen=True, slots=True)
class DebitFile:
    """A file for the bank, and what stands in it."""

    message_id: str
    collect_on: date
    debits: int
    content: bytes


def export_debits(
    books: Books, tenant_id: int, creditor: Creditor | None, collect_on: date, now: datetime
) -> DebitFile:
    """Put what is due by that day, of customers with a SEPA mandate, into a new file. From then on it is on its way.

    Raises InvalidInput `no_creditor`, `collect_on_too_early`; Conflict `nothing_to_collect`.
    """
    if creditor is None:
        raise InvalidInput("no_creditor", "FARTHING_GATEWAYS has no `sepa` for this tenant", path="sepa")
    if collect_on <= now.date():
        raise InvalidInput(
            "collect_on_too_early", "banks take debits from the next day on", path="collect_on"
        )
    until = datetime.combine(collect_on, time(23, 59, 59), now.tzinfo)
    message_id = _new_message_id(now)
    with books.transaction(tenant_id) as conn:
        lock_settling(conn, tenant_id)
        expect_many(conn)
        insert_due_top_ups(conn, tenant_id, [SEPA], DEBITS_MAX, now)
        collecting_rows.insert_due(conn, tenant_id, [SEPA], DEBITS_MAX, until, now)
        claimed = collecting_rows.claim_requested(conn, tenant_id, [SEPA], DEBITS_MAX, now)
        told = [
            Told(row["payment_id"], row["attempt"], Outcome(Result.DECLINED, code="method_removed"))
            for row in claimed
            if row["removed"]
        ]
        names = [(row["payment_id"], row["attempt"]) for row in claimed if not row["removed"]]
        if names:
            batch_id = rows.insert_batch(conn, tenant_id, message_id, collect_on, creditor, now)
            rows.insert_batch_payments(conn, tenant_id, batch_id, names)
        transfers: list[Transfer] = []
        told += [Told(payment, attempt, Outcome(Result.PROCESSING)) for payment, attempt in names]
        settle(conn, tenant_id, told, DunningPolicy(), f"file {message_id}", now, transfers)
    if not names:  # What was learnt of removed mandates stays all the same.
        raise Conflict("nothing_to_collect", f"nothing is due by {collect_on} that a mandate covers")
    return write_debits(books, tenant_id, message_id)


def write_debits(books: Books, tenant_id: int, message_id: str) -> DebitFile:
    """A file of direct debits that was made before: the same bytes. Raises NotFound `debit_file_not_found`."""
    with books.read_only(tenant_id) as conn:
        batch = rows.select_batch(conn, tenant_id, message_id)
        if batch is None:
            raise NotFound("debit_file_not_found", f"there is no file {shown(message_id)}")
        found = rows.select_batch_debits(conn, tenant_id, batch["batch_id"])
    debits = [
        Debit(
            end_to_end(row["payment_id"], row["attempt"]),
            row["amount"],
            row["mandate"]["mandate_id"],
            row["mandate"]["signed_on"],
            row["mandate"]["holder"],
            row["mandate"]["iban"],
            row["mandate"]["bic"],
            row["reference"],
            row["sequence"],
        )
        for row in found
    ]
    content = debit_file(
        message_id, Creditor(**batch["creditor"]), batch["collect_on"], batch["made_at"], debits
    )
    return DebitFile(message_id, batch["collect_on"], len(debits), content)


def _new_message_id(now: datetime) -> str:
    """At most 35 of the characters that every bank takes, also with the name of a block behind it."""
    name = time_ordered_id("", unix_microseconds(now) // 1000, os.urandom(ENTROPY_BYTES))
    return f"DD{name.removeprefix('_').upper()}"
