"""Authorisations: units and money set aside for calls that are under way.

Owns: what a call can come to at most, and whether there is enough for it; holds from authorisation to settlement,
release or expiry; spending limits of customers, their projects and API keys.
Does not own: grants and the order in which they pay (the room around it), what usage costs (rating), the event log
(events), counting an event and drawing what was settled for it (the sealer).
Laws: what is held, settled and drawn of a grant never exceeds it, under concurrency and crashes; an authorisation
ends once; the event that settles it is kept with it, in the same transaction, until it is counted, and is counted
once; what is asked again with the same key and input is answered as the first time and moves nothing.

Read `worst_case.py` for how much is held, `units.py` for what units pay before that, `decide.py` for what becomes of
a batch of requests, `service.py` for the transaction around it, `desk.py` for how requests that come together share
one.
"""
