"""What was worked out before about values that are asked about over and over. Pure."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Found = TypeVar("_Found")


class Memo(Generic[_Found]):
    """Answers about a few large values, such as plans and prices, found by which object one is.

    To find one by what it says would cost more than to work the answer out again. What is kept is bounded: at
    `most` answers it begins anew. An answer is shared by all who ask, so it must never be changed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[tuple[int, Hashable], tuple[object, _Found]] = {}

    def of(self, value: object, more: Hashable, work_out: Callable[[], _Found]) -> _Found:
        """The answer about a value. more: what else it depends on."""
        key = id(value), more
        known = self._known.get(key)
        # The value is kept with its answer, so that no other one can have its place in memory meanwhile.
        if known is None or known[0] is not value:
            if len(self._known) >= self._most:
                self._known.clear()
            known = self._known[key] = value, work_out()
        return known[1]
