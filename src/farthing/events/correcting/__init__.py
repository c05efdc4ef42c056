"""Corrections: an event is voided, or another one put in its place."""
