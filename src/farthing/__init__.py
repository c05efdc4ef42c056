"""Farthing turns API calls into money that adds up."""

from farthing.rating.wire import rate_line as rate

__all__ = ["__version__", "rate"]

__version__ = "0.1.0"
