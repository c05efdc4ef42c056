"""Wallets: money that customers have paid in advance or were given, drawn down as they use.

Owns: wallets and their grants, the order in which they burn down, draws, expiry, recurrence, rollover, top-ups.
Does not own: what usage costs (rating), how much there is of it (usage), invoices (invoicing), how the money
for a top-up is collected (payments).
Laws: of a grant never more is drawn, held, settled and expired than it is worth, at any time, under
concurrency (the database refuses it); a draw stands in the transaction that makes its usage count, or not at
all; draws are exact, and what a period's draws come to is settled to the minor unit once, by its invoice; what
funds do not cover is owed and stands on the invoice; the ledger says prepaid for what is paid and not drawn.

Read `burn_down.py`, then `draws.py`.
"""
