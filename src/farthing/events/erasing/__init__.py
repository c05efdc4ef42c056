"""Taking an erased customer out of the segments, and what is left of its events."""
