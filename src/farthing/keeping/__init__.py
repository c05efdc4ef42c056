"""Keeping: what an operator does so that the data is still there, and no more of it than may be.

Owns: backup and restore of the books, the event log, the segments and the id index as one; for how long a tenant's
events are kept.
Does not own: what is in them; how files are written (`events`), how rows are read and loaded (`db`).
Laws: a backup holds everything that was acknowledged before it began, counted once; it is complete when it has
its name, and before that it is nothing; restoring gives the same answers and the same bills to the last byte, or
refuses with the name of what is damaged; nothing that is there is ever overwritten. No event is removed that is
to be billed still, or whose repeat would count again.
"""
