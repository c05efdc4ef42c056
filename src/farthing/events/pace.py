"""Whether sealing keeps up with what comes, which decides what else may use the processors. Pure."""

from dataclasses import dataclass

BEHIND_EVENTS = 150_000
"""Sealing that finds so much at once is behind. Segments are put together once it is not: it needs the processors."""
BEHIND_SECONDS_MAX = 300.0
"""How long that is put off at most: many small segments make every question slower."""


@dataclass(slots=True)
class Pace:
    """How sealing has gone lately. Seconds are those of a clock that only goes forward."""

    behind_since: float | None = None

    def note(self, events: int, seconds: float) -> None:
        """So many events were sealed at once."""
        if events < BEHIND_EVENTS:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = seconds

    def is_behind(self, seconds: float) -> bool:
        """Whether sealing is behind, and has not been for long."""
        since = self.behind_since  # Another thread may be noting.
        return since is not None and seconds - since < BEHIND_SECONDS_MAX
