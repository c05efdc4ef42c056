"""Erasing: what identifies one customer is replaced by a pseudonym, everywhere; what is counted and owed stands.

Owns: who was erased, how far each erasure came, and the order of its parts.
Does not own: how events are rewritten and log lines blanked (`events`), how PostgreSQL is made to forget (`db`).
Laws: no sum, number or time moves; a kill at any moment leaves the old or the new, and it goes on when begun again;
once it is complete, no byte of the person is in the data directory, nor in a backup that is taken from then on.
"""
