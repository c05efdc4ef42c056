"""Money that goes back: refunds that we give, and what payers' banks take.

Owns: the use cases and the rows of refunds, disputes and write-offs.
Laws: what goes back of a payment is never more than the payment, also where several ask at once; an invoice that had
been paid by it is open again by as much.
"""
