"""The tax that drafted invoices bear, and how it stands on their documents."""
