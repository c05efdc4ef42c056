"""Farthing turns API calls into money that adds up."""

__version__ = "0.1.0"
