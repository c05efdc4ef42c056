"""Segments after they are sealed: put in order, rewritten, verified, removed."""
