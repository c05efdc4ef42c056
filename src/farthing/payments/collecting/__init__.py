"""Collecting: invoices that are due are charged to the methods that customers left, and dunned where that fails.

Owns: which invoices are charged when, the calls to gateways, finding out what became of calls that nobody answered,
refunds on their way, dunning.
Does not own: what an outcome means for invoices and the ledger (`payments/settling.py`).
Laws: the row is committed before the call; an unknown outcome is asked for, or the same call is repeated under the same
key; two workers never send the same attempt.
"""
