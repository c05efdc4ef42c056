"""How long ids are remembered, against how late events are accepted. Pure.

A repeat is found as long as its id is remembered. Were ids forgotten after a time that is shorter than events may be
late, a repeat could come when nothing knows it any more, and count twice. Farthing forgets no id: the index has one
for every event that was ever counted (`farthing doctor` compares the two numbers), whatever happens to the events
themselves. Retention that removes old events leaves their ids where they are.
"""

from typing import Final

from farthing.kernel.errors import Fault, InvalidInput

REMEMBERED_SECONDS: Final[int | None] = None
"""How long an id is remembered after its event was counted; None: for ever."""


def check_horizon(too_late_seconds: int, remembered_seconds: int | None) -> None:
    """Raises InvalidInput `horizon_too_short` where an event may come after its id was forgotten."""
    if remembered_seconds is not None and remembered_seconds < too_late_seconds:
        complaint = (
            f"accepts events that are {too_late_seconds} seconds late, and ids are remembered for "
            f"{remembered_seconds} seconds: a repeat could count twice"
        )
        raise InvalidInput.of("horizon_too_short", [Fault("FARTHING_TOO_LATE_SECONDS", complaint)])
