"""Where every number comes from, and where every event went."""
