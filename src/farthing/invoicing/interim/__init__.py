"""Interim invoices: what has accrued in a period is charged before the period is over."""
