"""Credit notes and voids: what corrects an invoice that is issued and never changes.

Owns: credit notes over all of an invoice, over an amount, over lines or quantities of them; their own gapless numbers,
documents and PDFs; what of an invoice is left to give back; the void of an invoice.
Does not own: paying a refund (payments), what a voided invoice's period is billed again for (the billing run).
Laws: never more is given back than was billed, in all, of each line and of each tax, also where two do it at once
(the database keeps the sums); tax is given back at the invoice's own rates; an invoice is credited or
voided, never both.
"""
