"""Terms: what a subscription agreed beyond its plan, the coupons that it redeemed and its commitments.

Owns: how they are read and written, what may be redeemed and committed to, and their facts in the books.
Does not own: what a coupon is (catalog), what either does to an invoice (invoicing), how far a
commitment is used (issued invoice lines say it).
Laws: facts, never changed; a coupon is redeemed once by a subscription and never more often than it
allows, whoever asks at the same moment; no two commitments count the same usage.
"""
