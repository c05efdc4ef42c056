"""Usage: how much.

Owns: the quantity of a meter, for one customer or for all, over a period or windows of it.
Does not own: what it costs.
Laws: an event is in a period if and only if start <= event_time < end, whenever it arrived; a
quantity is exact; every store answers what the reference aggregator in `reference.py` answers.
"""
