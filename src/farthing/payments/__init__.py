"""Payments: how invoices are paid, and what became of every payment.

Owns: customers' payment methods, payments and their attempts, which payment paid which invoice, refunds, disputes,
what gateways tell by themselves, bank statements and files of direct debits, dunning, write-offs, and the
reconciliation of all that with what gateways say.
Does not own: invoices, which never change by being paid; what is booked (ledger, told in the same transaction);
whether a suspended customer may go on (whoever reads the facts in the outbox).
Laws: a payment is written before its gateway is called, and an outcome that is not known is found out by asking,
or by repeating the same call under the same key, never by a new charge; a payment captures once, an invoice is
being paid by one payment at a time; states move along the edges of `model.EDGES` only, money that came in is a
fact whatever was thought before; allocated + refunded + charged back <= the payment, paid + credited + written off
<= the invoice; what gateways and banks tell counts once. The database holds all of these.

Read `model.py`, `gateway.py`, `collecting/service.py`, `settling.py`.
"""
