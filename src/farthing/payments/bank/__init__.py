"""The bank: files of SEPA direct debits out, statements in.

Owns: pain.008 and camt.053 as text, whose entries are matched to payments and invoices; IBANs.
Laws: an entry of an account counts once, on whatever statement it comes; a file of direct debits is the same bytes
whenever it is written again; a statement of a version that is not known is refused by its name.
"""
