"""Customers: who is billed, what for, and from when to when.

Owns: customers and the subjects that mean them (their key and aliases), subscriptions to plan
versions, what these agreed beyond their plan (`terms/`), the periods that a subscription is billed for,
the catalog file that sets all of it up.
Does not own: prices (catalog), how much was used (usage), what is owed (invoicing).
Laws: a subject means one customer of a tenant; a customer with a subscription keeps its currency
and time zone, so that periods once billed stay where they are; a subscription's plan version, start
and anchor never change, only its end, and that never to before what is invoiced; its periods tile
the time from its start to its end; writing the same content again changes nothing.
"""
