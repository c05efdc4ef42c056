"""Use cases of payments: methods, money received, charges, refunds, disputes, write-offs, what is open of invoices."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from farthing.catalog.model import Outcome as Written
from farthing.customers.model import Customer
from farthing.customers.store import select_customers
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, InvalidInput, NotFound
from farthing.kernel.quantity import plain
from farthing.kernel.reading import Faults, Fields, parse_text, shown
from farthing.ledger.model import Transfer
from farthing.ledger.service import post
from farthing.payments import settling_store
from farthing.payments import store as rows
from farthing.payments.content import (
    ChargeContent,
    MethodContent,
    ReceivedContent,
    check_minor_units,
    method_of,
    parse_charge,
    parse_method,
    parse_received,
    payment_of,
)
from farthing.payments.gateway import Gateway
from farthing.payments.model import (
    MANUAL,
    SEPA,
    Balance,
    Payment,
    PaymentDetail,
    PaymentMethod,
    Purpose,
    State,
)
from farthing.payments.schedule import DunningPolicy, parse_policy, policy_json, policy_of
from farthing.payments.settling import book, receive
from farthing.payments.topping_up_store import select_fundings
from farthing.payments.writing_off import write_off_open

LIST_LIMIT_MAX = 10_001
"""The longest page, and the one item that tells whether another page follows."""

# ---- Payment methods


def put_method(
    books: Books, tenant_id: int, raw: object, gateways: Mapping[str, Gateway], now: datetime
) -> tuple[PaymentMethod, Written]:
    """Keep how a customer pays by itself, or say that it stands. It is the one that is used from
    now on, unless it says not to.

    Raises InvalidInput; NotFound `customer_not_found`; Conflict `payment_method_conflict`; what the gateway says.
    """
    content = parse_method(raw)
    kind, label, reference = _known_at_gateway(content, gateways)
    with books.transaction(tenant_id) as conn:
        customer = _customer(conn, tenant_id, content.customer)
        standing = rows.select_method(conn, tenant_id, content.key)
        if standing is None:
            if content.is_default:
                rows.clear_default(conn, tenant_id, customer.customer_id)
            values = {
                "key": content.key,
                "customer_id": customer.customer_id,
                "gateway": content.gateway,
                "kind": kind,
                "label": label,
                "reference": reference,
                "mandate": None if content.mandate is None else asdict(content.mandate),
                "is_default": content.is_default,
                "created_at": now,
            }
            rows.insert_method(conn, tenant_id, values)
        found = rows.select_method(conn, tenant_id, content.key)
    assert found is not None
    method = method_of(found)
    if (method.customer, method.gateway, method.reference, method.mandate) != (
        content.customer,
        content.gateway,
        reference,
        content.mandate,
    ):
        raise Conflict(
            "payment_method_conflict",
            f"the payment method {shown(content.key)} is another one already",
            path="key",
        )
    return method, Written.CREATED if standing is None else Written.UNCHANGED


def _known_at_gateway(content: MethodContent, gateways: Mapping[str, Gateway]) -> tuple[str, str, str]:
    """(kind, label, reference) of a method, as its gateway has it."""
    if content.gateway == SEPA:
        assert content.mandate is not None
        label = f"SEPA debit {content.mandate.iban[:2]} ... {content.mandate.iban[-4:]}"
        return "sepa_debit", label, content.mandate.mandate_id
    gateway = gateways.get(content.gateway)
    if gateway is None:
        known = ", ".join(sorted({*gateways, SEPA}))
        complaint = f"{shown(content.gateway)} is not a gateway that is set up here ({known})"
        raise InvalidInput("unknown_gateway", complaint, path="gateway")
    stored = gateway.store_method(content.customer, content.reference)
    return stored.kind, stored.label, stored.reference


def remove_method(books: Books, tenant_id: int, key: str, now: datetime) -> PaymentMethod:
    """Use a payment method no more; what was paid by it stays. Raises NotFound `payment_method_not_found`."""
    with books.transaction(tenant_id) as conn:
        found = rows.select_method(conn, tenant_id, key)
        if found is None:
            raise _no_method(key)
        rows.remove_method(conn, tenant_id, found["payment_method_id"], now)
        removed = rows.select_method(conn, tenant_id, key)
    assert removed is not None
    return method_of(removed)


def get_method(books: Books, tenant_id: int, key: str) -> PaymentMethod:
    """Raises NotFound `payment_method_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_method(conn, tenant_id, key)
    if found is None:
        raise _no_method(key)
    return method_of(found)


def list_methods(
    books: Books, tenant_id: int, after: str | None, limit: int, customer: str | None = None
) -> list[PaymentMethod]:
    """Payment methods in the order of their keys, the first behind `after`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_methods_after(conn, tenant_id, after, _bounded(limit), customer)
    return [method_of(row) for row in found]


# ---- Payments


def create_payment(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Payment, Written]:
    """Write down money that came in, or, with a `method`, ask for a charge. The engine sends it.

    Raises InvalidInput; NotFound `customer_not_found`, `invoice_not_found`, `payment_method_not_found`;
    Conflict `payment_conflict`, `invoice_of_another_customer`, `currency_differs`, `invoice_not_open`,
    `payment_under_way`, `period_closed`.
    """
    if isinstance(raw, dict) and raw.get("method") is not None:
        return _request(books, tenant_id, parse_charge(raw), now)
    return _record(books, tenant_id, parse_received(raw), now)


def _record(books: Books, tenant_id: int, content: ReceivedContent, now: datetime) -> tuple[Payment, Written]:
    if content.paid_at > now:
        raise InvalidInput("invalid_instant", "paid_at lies ahead: money has come in or not", path="paid_at")
    with books.transaction(tenant_id) as conn:
        settling_store.lock_settling(conn, tenant_id)
        customer = _customer(conn, tenant_id, content.customer)
        invoice = None
        if content.invoice is not None:
            invoice = _balance(conn, tenant_id, content.invoice)
            _check_own(invoice, customer, content.currency)
        made = rows.insert_payments(
            conn,
            tenant_id,
            [
                {
                    "key": content.key,
                    "customer_id": customer.customer_id,
                    "gateway": MANUAL,
                    "purpose": Purpose.ACCOUNT if invoice is None else Purpose.INVOICE,
                    "invoice_id": None if invoice is None else invoice["invoice_id"],
                    "currency": content.currency,
                    "amount": content.amount,
                    "reference": content.reference,
                    "state": State.SUCCEEDED,
                    "cause": "recorded",
                    "paid_at": content.paid_at,
                    "requested_at": now,
                }
            ],
        )
        found = rows.select_payment(conn, tenant_id, content.key)
        assert found is not None
        if made:
            transfers: list[Transfer] = []
            receive(conn, tenant_id, [found], now, transfers)
            post(conn, tenant_id, transfers, now)
            found = rows.select_payment(conn, tenant_id, content.key)
            assert found is not None
    payment = payment_of(found)
    said = (
        payment.gateway, payment.customer, payment.amount, payment.currency, payment.paid_at, payment.invoice,
        payment.reference,
    )  # fmt: skip
    if said != (
        MANUAL, content.customer, content.amount, content.currency, content.paid_at, content.invoice,
        content.reference,
    ):  # fmt: skip
        raise _other_payment(content.key)
    return payment, Written.CREATED if made else Written.UNCHANGED


def _request(books: Books, tenant_id: int, content: ChargeContent, now: datetime) -> tuple[Payment, Written]:
    with books.transaction(tenant_id) as conn:
        standing = rows.select_payment(conn, tenant_id, content.key)
        if standing is None:
            values = _charge_asked_for(conn, tenant_id, content, now)
            made = rows.insert_payments(conn, tenant_id, [values])
            standing_now = rows.select_payment(conn, tenant_id, content.key)
            if standing_now is None:
                raise Conflict(
                    "payment_under_way",
                    f"invoice {content.invoice} is being paid by another payment already",
                    path="invoice",
                )
            return payment_of(standing_now), Written.CREATED if made else Written.UNCHANGED
    payment = payment_of(standing)
    if (payment.method, payment.invoice) != (content.method, content.invoice) or (
        content.amount is not None and payment.amount != content.amount
    ):
        raise _other_payment(content.key)
    return payment, Written.UNCHANGED


def _charge_asked_for(
    conn: BooksConnection, tenant_id: int, content: ChargeContent, now: datetime
) -> dict[str, Any]:
    method = rows.select_method(conn, tenant_id, content.method)
    if method is None or method["removed_at"] is not None:
        raise _no_method(content.method)
    invoice = None if content.invoice is None else _balance(conn, tenant_id, content.invoice)
    amount, currency = content.amount, content.currency
    if invoice is not None:
        currency = currency or invoice["currency"]
        customer = _customer(conn, tenant_id, method["customer"])
        _check_own(invoice, customer, currency)
        amount = invoice["open"] if amount is None else amount
        if amount > invoice["open"] or not invoice["open"]:
            raise Conflict(
                "invoice_not_open",
                f"of invoice {content.invoice} {plain(invoice['open'])} {currency} are open",
                path="amount",
            )
    assert amount is not None
    assert currency is not None
    check_minor_units(amount, currency, "amount")
    return {
        "key": content.key,
        "customer_id": method["customer_id"],
        "method_id": method["payment_method_id"],
        "gateway": method["gateway"],
        "purpose": Purpose.ACCOUNT if invoice is None else Purpose.INVOICE,
        "invoice_id": None if invoice is None else invoice["invoice_id"],
        "currency": currency,
        "amount": amount,
        "reference": content.invoice or content.key,
        "state": State.REQUESTED,
        "cause": "asked for",
        "next_attempt_at": now,
        "requested_at": now,
    }


def get_payment(books: Books, tenant_id: int, key: str) -> PaymentDetail:
    """A payment with all that happened to it. Raises NotFound `payment_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_payment(conn, tenant_id, key)
        if found is None:
            raise no_payment(key)
        return PaymentDetail(
            payment_of(found),
            tuple(rows.select_moves(conn, tenant_id, found["payment_id"])),
            tuple(rows.select_attempts(conn, tenant_id, found["payment_id"])),
            tuple(rows.select_allocations(conn, tenant_id, found["payment_id"])),
            tuple(select_fundings(conn, tenant_id, found["payment_id"])),
        )


def list_payments(
    books: Books,
    tenant_id: int,
    after: int,
    limit: int,
    customer: str | None = None,
    invoice: str | None = None,
    state: State | None = None,
) -> list[Payment]:
    """Payments in the order of their making, the first behind the id `after`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_payments_after(
            conn, tenant_id, after, _bounded(limit), customer, invoice, None if state is None else state.value
        )
    return [payment_of(row) for row in found]


# ---- What is open of invoices


def balances_of(books: Books, tenant_id: int, numbers: Collection[str]) -> dict[str, Balance]:
    """What is still to be paid of these invoices, by number."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_balances(conn, tenant_id, numbers)
    return {
        number: Balance(
            row["currency"],
            row["payable"],
            row["paid"],
            row["credited"],
            row["written_off"],
            row["open"],
            row["due_at"],
            row["from_credit"],
        )
        for number, row in found.items()
    }


def write_off(books: Books, tenant_id: int, number: str, raw: object, now: datetime) -> Balance:
    """Give up what is open of an invoice: `{"reason": "insolvent"}`. Again, it changes nothing.

    Raises NotFound `invoice_not_found`; Conflict `invoice_not_open`.
    """
    faults = Faults("invalid_write_off")
    fields = Fields(raw, "", faults)
    reason = fields.required("reason", parse_text)
    fields.refuse_unknown()
    faults.refuse()
    with books.transaction(tenant_id) as conn:
        settling_store.lock_settling(conn, tenant_id)
        found = _balance(conn, tenant_id, number)
        if found["open"] and not found["written_off"]:
            transfers: list[Transfer] = []
            write_off_open(conn, tenant_id, [found], reason, now, transfers)
            book(conn, tenant_id, transfers, now)
        elif not found["written_off"]:
            raise Conflict("invoice_not_open", f"nothing is open of invoice {number}", path="number")
    return balances_of(books, tenant_id, [number])[number]


# ---- Dunning


def get_policy(books: Books, tenant_id: int) -> DunningPolicy:
    """How those who do not pay are treated."""
    with books.read_only(tenant_id) as conn:
        return policy_of(rows.select_policy(conn, tenant_id))


def put_policy(books: Books, tenant_id: int, raw: object, now: datetime) -> DunningPolicy:
    """From now on, also for what is overdue already. Raises InvalidInput `invalid_dunning_policy`."""
    policy = parse_policy(raw)
    with books.transaction(tenant_id) as conn:
        rows.insert_policy(conn, tenant_id, policy_json(policy), now)
    return policy


# ---- What all of them need


def _customer(conn: BooksConnection, tenant_id: int, key: str) -> Customer:
    found = select_customers(conn, tenant_id, [key]).get(key)
    if found is None:
        raise NotFound("customer_not_found", f"there is no customer {shown(key)}", path="customer")
    return found


def _balance(conn: BooksConnection, tenant_id: int, number: str) -> dict[str, Any]:
    found = rows.select_balances(conn, tenant_id, [number]).get(number)
    if found is None:
        raise NotFound("invoice_not_found", f"there is no invoice {shown(number)}", path="invoice")
    return found


def _check_own(invoice: Mapping[str, Any], customer: Customer, currency: str) -> None:
    if invoice["customer_id"] != customer.customer_id:
        raise Conflict(
            "invoice_of_another_customer",
            f"invoice {invoice['number']} is for {shown(invoice['customer'])}",
            path="invoice",
        )
    if invoice["currency"] != currency:
        raise Conflict(
            "currency_differs",
            f"invoice {invoice['number']} is in {invoice['currency']}, not in {currency}",
            path="currency",
        )


def _bounded(limit: int) -> int:
    assert 1 <= limit <= LIST_LIMIT_MAX
    return limit


def _no_method(key: str) -> NotFound:
    return NotFound("payment_method_not_found", f"there is no payment method {shown(key)}", path="method")


def no_payment(key: str) -> NotFound:
    """What is said where there is no such payment."""
    return NotFound("payment_not_found", f"there is no payment {shown(key)}", path="payment")


def _other_payment(key: str) -> Conflict:
    return Conflict("payment_conflict", f"the payment {shown(key)} is another one already", path="key")
