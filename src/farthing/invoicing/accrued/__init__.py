"""Accrued spend: what has come together in the periods that are open, and when it is charged.

Owns: what a subscription's open period comes to so far, and how much of it no invoice has billed; thresholds,
fixed and computed; when a charge is due; the duty that keeps all this up to date and issues interim invoices.
Does not own: what is on an interim invoice (`invoicing/interim/charging.py`), the terms (`catalog/collection.py`,
`customers/terms/collecting.py`), how an invoice is paid (payments).
Laws: what is billed is told from issued invoices alone, never from the rows kept here, which are only what was
last seen and can be thrown away; nothing is charged before it has accrued, and nothing twice, whoever runs
the duty, however often, and wherever it is killed.
"""
