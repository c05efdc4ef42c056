"""Invoicing: what a customer owes for a period, issued once, and explained down to the event.

Owns: which invoices are due, their lines and totals, what coupons, commitments and minimums make of
them, the billing run and the previews of it, estimates, gapless numbers, the document
as JSON and as PDF, the seller that stands on it, the explanation of a line; what has accrued in open
periods and when it is charged (`accrued/`).
Does not own: what a quantity costs (rating), how much was used (usage), periods (customers), how an
invoice is paid (payments), which tax a supply bears (tax).
Laws: one invoice for each (subscription, period, reason), of interim invoices one for each number within
the period, whoever runs and however often; the invoices of a period sum to what one invoice would be; numbers
without a gap, in order of the moment of billing, then customer, then subscription; lines sum to the
subtotal and exact amounts to the exact total; the same log, catalog and clock give the same bytes; an
issued invoice is never changed, and is booked in the ledger in the transaction that issues it;
how far a coupon or commitment is used is told from issued lines alone; a preview and the run at the same
clock say the same, and an estimate is the difference of two previews.

What is too little for an invoice waits for the next one (`carry_forward.py`); what is due may stand as a draft first
(`drafts/`). Usage that arrives for a period after its invoice was issued is a line of the next one (`corrections.py`).
What else is wrong with an issued invoice is put right by a credit note or a void (`credit_notes/`).
"""
