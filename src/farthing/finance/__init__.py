"""Finance: what finance people file, and the closing of a month.

Owns: the reports (each ties to the ledger to the last digit, and says so), and recognising revenue that was
invoiced in advance as its service is rendered.
Does not own: what is booked (`ledger`), and the documents that it comes from (`invoicing`, `payments`).
Laws: a report is made of what stands in the books at one moment, as of any date; one that would not tie says by
how much. Recognising is a fact for each line and date, booked once however often it is run.
"""
