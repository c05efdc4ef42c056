"""How far a counter is counted."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Counted:
    """How far a stream is counted: to this value, at this time (None: it is new). total: a histogram's sum."""

    time_ns: int | None
    value: Decimal
    total: Decimal | None = None
