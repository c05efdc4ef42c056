"""Which events have been counted: the index of their identities, and what is asked of it."""
