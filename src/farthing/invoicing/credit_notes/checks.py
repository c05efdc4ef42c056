"""The laws of credit notes and voids on what stands: numbers, sums, and that the ledger has them."""

from farthing.db import Books
from farthing.invoicing import booking_store as booking_rows
from farthing.invoicing.booking import issued_facts
from farthing.invoicing.credit_notes import store as rows
from farthing.invoicing.credit_notes.content import credit_note_number
from farthing.invoicing.credit_notes.service import credit_transfers, void_transfers
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import plain
from farthing.ledger.service import booked_differently

ROWS_PER_QUERY = 1_000


def check_credited(books: Books, tenant_id: int) -> Checked:
    """No more was given back than billed, numbers have no gap, and the ledger has every credit note and void."""
    with books.read_only(tenant_id) as conn:
        last, numbers = rows.select_numbers(conn, tenant_id)
        findings = [
            f"{plain(row['credited'])} of {row['number']} over {plain(row['total'])} was given back, "
            f"and {plain(row['kept'])} is kept as its sum"
            for row in rows.select_overcredited(conn, tenant_id, FINDINGS_MAX + 1)
        ]
        findings += [
            f"where {credit_note_number(place)} should stand is {number}"
            for place, number in enumerate(numbers, start=1)
            if number != credit_note_number(place)
        ]
        if last != len(numbers):
            findings.append(f"{last} numbers were taken, and there are {len(numbers)} credit notes")
        after, voids = 0, 0
        while some := rows.select_for_booking_after(conn, tenant_id, after, ROWS_PER_QUERY):
            missing, differing = booked_differently(conn, tenant_id, credit_transfers(some))
            findings += [f"the ledger has no transfer {key}" for key in missing]
            findings += [f"the transfer {key} says something else than the credit note" for key in differing]
            after = some[-1]["credit_note_id"]
        after = 0
        while some := rows.select_voided_after(conn, tenant_id, after, ROWS_PER_QUERY):
            at = {row["number"]: row["voided_at"] for row in some}
            ids = [row["invoice_id"] for row in some]
            facts = issued_facts(booking_rows.select_issued_of(conn, tenant_id, ids))
            transfers = void_transfers([(fact, at[fact.number]) for fact in facts])
            missing, differing = booked_differently(conn, tenant_id, transfers)
            findings += [f"the ledger has no transfer {key}" for key in missing]
            findings += [f"the transfer {key} says something else than the void" for key in differing]
            after, voids = some[-1]["invoice_id"], voids + len(some)
    return checked(len(numbers) + voids, "correction", findings)
