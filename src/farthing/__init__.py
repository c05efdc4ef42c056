"""Farthing turns API calls into money that adds up."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farthing.rating.wire import rate_line as rate

__all__ = ["__version__", "rate"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Every command and every process imports this package; few of them rate by it.
    if name == "rate":
        from farthing.rating.wire import rate_line

        return rate_line
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
