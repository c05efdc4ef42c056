"""The ledger: double entry. Where every amount came from and where it went.

Owns: the chart of accounts, how each business fact is booked (`recipes.py`), transfers and their entries,
balances, the trial balance, the journal for other accounting tools.
Does not own: the facts. An invoice is issued by invoicing, a payment is taken by payments; each says so to the
ledger in the transaction that makes it true. Nor holds: what is only reserved has not moved.
Laws: a transfer debits and credits the same amount of one currency; a fact is booked once; nothing booked is
ever changed, a correction is a transfer of its own; balances are the sum of entries. The database holds all four.

Read `chart.py`, then `recipes.py`.
"""
