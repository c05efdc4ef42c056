"""What takes a while to make: made once, on a thread beside the event loop, while others are answered."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Later(Generic[Made]):
    """Made when it is first asked for. What `make` raises, everyone who asks is told."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._making: asyncio.Future[Made] | None = None
        self._made: Made | None = None

    @property
    def made(self) -> Made | None:
        """It, or None while it is not there."""
        return self._made

    async def get(self) -> Made:
        """It, as soon as it is there."""
        if self._made is None:
            if self._making is None:
                self._making = asyncio.ensure_future(asyncio.to_thread(self._make))
            # One that hangs up must not stop the making for the others.
            self._made = await asyncio.shield(self._making)
        return self._made
