"""Tax: which tax a supply bears, and how much of it there is.

Owns: the table of rates with the days from which they hold, loaded by the user; the tax ids and exemptions of
customers; the decision (seller, customer, category, day, table) -> treatment with its legal note; how tax is
computed on amounts and rounded; the port behind which another engine may decide.
Does not own: what is invoiced and how tax stands on a document (invoicing), the category of a rate card and
whether a plan's prices include tax (catalog), what is owed to an authority (ledger: `tax_payable`).
Laws: nothing is taxed until a table is loaded; a rate and a customer's facts are appended, never changed, and
what an invoice bore stays on the invoice; the decision is pure; the tax of lines sums to the tax of the invoice.
"""
