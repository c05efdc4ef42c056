"""Events: what happened, counted once.

Owns: the event and its wire formats, the event log (acknowledged means on disk), sealing (decode,
deduplicate, extract typed columns, write a segment), the id index, quarantine, the event store.
Does not own: what an event costs, who pays for it, how much was used.
Laws: no loss (1), no double (2), conservation (3), the commit point (4), append (8). DESIGN, section 3.
"""
