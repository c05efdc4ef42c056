"""Waiting for what should happen, and not for ever."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PATIENCE_SECONDS = 180.0
"""Past this, nothing on a machine that does anything else is merely slow."""
POLL_SECONDS = 0.015


class Stuck(AssertionError):
    """What should have happened did not, within any reasonable time."""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for something; gives what it came to."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Stuck(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return found


def eventually(condition: Callable[[], Any], seconds: float) -> Any:
    """The same, where it may as well not happen: then the last falsehood."""
    with suppress(Stuck):
        return until(condition, "", seconds)
    return condition()
