"""Laws 5, 8 and 11 on issued invoices: lines sum to totals, documents say what the rows say, no number is missing."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db import Books
from farthing.invoicing import booking_store as booking_rows
from farthing.invoicing import checks_store as rows
from farthing.invoicing.booking import issued_transfers
from farthing.invoicing.carrying import store as carry_rows
from farthing.invoicing.document import invoice_number
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import ZERO, plain, trimmed
from farthing.ledger.service import booked_differently

INVOICES_PER_QUERY = 1_000

Progress = Callable[[int, int], None]

_AMOUNTS = ("subtotal", "tax", "total", "total_exact")
_TEXTS = ("number", "customer", "subscription", "status", "reason", "currency")
_IDENTITY = ("customer", "subscription")


def check_sums(books: Books, tenant_id: int) -> Checked:
    """Law 5: the lines of each invoice sum to its subtotal, exactly and as rounded, and its taxes to its tax."""
    with books.read_only(tenant_id) as conn:
        _, numbers = rows.select_numbers(conn, tenant_id)
        unbalanced = rows.select_unbalanced(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"the lines of {row['number']} sum to {plain(row['lines_amount'])} (exactly {trimmed(row['lines_exact'])}); "
        f"it says {plain(row['subtotal'])} + {plain(row['tax'])} tax = {plain(row['total'])} "
        f"(exactly {trimmed(row['total_exact'])}); "
        f"taxes are {plain(row['taxes'])}, on lines {plain(row['lines_tax'])}"
        for row in unbalanced
    ]
    return checked(len(numbers), "invoice", findings)


def check_numbers(books: Books, tenant_id: int) -> Checked:
    """Invoice numbers have no gap, in the order of issue, up to the counter."""
    with books.read_only(tenant_id) as conn:
        last, numbers = rows.select_numbers(conn, tenant_id)
    findings = [
        f"where {invoice_number(place)} should stand is {number}"
        for place, number in enumerate(numbers, start=1)
        if number != invoice_number(place)
    ]
    if last != len(numbers):
        findings.append(f"{last} numbers were taken, and there are {len(numbers)} invoices")
    return checked(len(numbers), "number", findings)


def check_booked(books: Books, tenant_id: int, progress: Progress | None = None) -> Checked:
    """Every issued invoice stands in the ledger, once and with its own amounts."""
    findings: list[str] = []
    after, looked_at = 0, 0
    with books.read_only(tenant_id) as conn:
        total = len(rows.select_numbers(conn, tenant_id)[1])
        while some := booking_rows.select_issued_after(conn, tenant_id, after, INVOICES_PER_QUERY):
            missing, differing = booked_differently(conn, tenant_id, issued_transfers(some))
            findings += [f"the ledger has no transfer {key} (--repair books it)" for key in missing]
            findings += [f"the transfer {key} says something else than the invoice" for key in differing]
            after, looked_at = some[-1]["invoice_id"], looked_at + len(some)
            if progress:
                progress(looked_at, total)
    return checked(looked_at, "invoice", findings)


def check_terms(books: Books, tenant_id: int) -> Checked:
    """No commitment is drawn or trued up beyond its amount, no coupon reduces more invoices than it lasts."""
    with books.read_only(tenant_id) as conn:
        terms = rows.count_terms(conn, tenant_id)
        overdrawn = rows.select_overdrawn(conn, tenant_id, FINDINGS_MAX + 1)
        overused = rows.select_overused_coupons(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"of the commitment {row['key']} of {row['subscription']} over {trimmed(row['committed'])} "
        f"{trimmed(row['spent'])} were drawn or lapsed, {trimmed(row['true_up'])} trued up, paid {row['paid']} times"
        for row in overdrawn
    ]
    findings += [
        f"the coupon {row['key']} reduced {row['invoices']} invoices of {row['subscription']}, "
        f"and lasts for {row['periods']}"
        for row in overused
    ]
    return checked(terms, "term", findings)


def check_carried(books: Books, tenant_id: int) -> Checked:
    """What was carried forward and waits for an invoice is what the ledger holds as unbilled."""
    with books.read_only(tenant_id) as conn:
        carried = carry_rows.count_carried(conn, tenant_id)
        differing = carry_rows.select_carried_beside_ledger(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"{trimmed(row['waits'])} {row['currency']} carried forward wait for {row['customer']}, "
        f"and {trimmed(row['booked'])} are booked as unbilled"
        for row in differing
    ]
    return checked(carried, "invoice", findings)


def check_documents(books: Books, tenant_id: int, progress: Progress | None = None) -> Checked:
    """Law 8: each document is as it was issued: it says what the rows beside it say."""
    findings: list[str] = []
    after, looked_at = 0, 0
    with books.read_only(tenant_id) as conn:
        total = len(rows.select_numbers(conn, tenant_id)[1])
        while some := rows.select_issued_after(conn, tenant_id, after, INVOICES_PER_QUERY):
            findings += [
                f"the document of {row['number']} differs in {', '.join(differing)}"
                for row in some
                if (differing := _differing(row))
            ]
            after, looked_at = some[-1]["invoice_id"], looked_at + len(some)
            if progress:
                progress(looked_at, total)
    return checked(looked_at, "document", findings)


def _differing(row: dict[str, Any]) -> list[str]:
    """Where the document of an invoice says something else than its row and its lines do."""
    try:
        document = json.loads(row["document"])
        texts = [name for name in _TEXTS if not (row["as_issued"] and name in _IDENTITY)]
        found = [name for name in texts if document[name] != row[name]]
        found += [name for name in _AMOUNTS if Decimal(document[name]) != row[name]]
        moments = {
            "period_start": document["period"]["start"],
            "period_end": document["period"]["end"],
            "issued_at": document["issued_at"],
            "due_at": document.get("due_at", document["issued_at"]),
        }
        found += [name for name, said in moments.items() if datetime.fromisoformat(said) != row[name]]
        if row["payable"] != max(Decimal(document.get("amount_due", row["total"])), ZERO):
            found.append("amount_due")
        # Lines of commitments and one-off charges are called by keys of the customer's.
        named = 1 if row["as_issued"] else 0
        said = [_line(line)[named:] for line in document["lines"]]
        if said != [_kept_line(line)[named:] for line in row["lines"] or []]:
            found.append("lines")
    except (ValueError, ArithmeticError, KeyError, TypeError):
        return ["its form: it cannot be read"]
    return found


def _line(line: dict[str, Any]) -> tuple[str, Decimal, Decimal, Decimal]:
    adjustment = line.get("adjustment")
    return (
        line["rate_card"] if adjustment is None else f"{line['kind']} {adjustment['key']}",
        Decimal(line["quantity"]),
        Decimal(line["amount_exact"]),
        Decimal(line["amount"]),
    )


def _kept_line(line: list[str]) -> tuple[str, Decimal, Decimal, Decimal]:
    rate_card, quantity, amount_exact, amount = line
    return rate_card, Decimal(quantity), Decimal(amount_exact), Decimal(amount)
