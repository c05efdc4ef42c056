"""Bills that are too small to be worth an invoice, and collective invoices: what one bill leaves to another."""
