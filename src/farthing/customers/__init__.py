"""Customers: who is billed, what for, and from when to when.

Owns: customers and the subjects that mean them (their key and aliases), subscriptions and every change
of them, what these agreed beyond their plan (`terms/`), the periods that a subscription is billed for,
the catalog file that sets all of it up.
Does not own: prices (catalog), how much was used (usage), what is owed (invoicing).
Laws: a subject means one customer of a tenant; a customer with a subscription keeps its currency
and time zone, so that periods once billed stay where they are; a subscription's start and anchor never
change, all else changes by facts that are appended, and none reaches back into usage that is invoiced;
its stretches, and its periods, tile each of its lives; writing the same content again changes nothing.

Read `timeline.py` for what a subscription is, `rules.py` for what may be changed, `billable.py` for periods.
"""
