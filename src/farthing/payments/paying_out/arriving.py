"""Which entry of a bank statement is which payout. Pure.

An entry can be a payout's if it is over the same amount and currency, was booked between the day on which the
payout was made and some days after it was expected, and its text names the gateway, the payout, or what the gateway
said that the statement would show. One that names the payout itself is taken before one that names the gateway
alone; among equals the payout that was expected first gets the entry that was booked first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

LATE_DAYS_MAX = 14
"""How long after the day on which it was expected an entry can still be a payout's."""
NAME_LENGTH_MIN = 4
"""A reference shorter than this says nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A payout and an entry over the same amount of one currency. text: all that the statement says of the entry."""

    payout_id: int
    gateway: str
    name: str
    reference: str
    made_at: datetime
    arrives_on: date
    entry_id: int
    booked_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A payout that came to the bank by an entry."""

    payout_id: int
    entry_id: int
    booked_at: datetime


def arrivals(candidates: Iterable[Candidate]) -> list[Arrival]:
    """Pairs, each payout and each entry in one at most, in the order of the payouts."""
    fitting = [(_nearness(one), one) for one in candidates]
    taken_payouts: set[int] = set()
    taken_entries: set[int] = set()
    found = []
    for _, one in sorted(
        ((nearness, one) for nearness, one in fitting if nearness is not None), key=lambda pair: pair[0]
    ):
        if one.payout_id not in taken_payouts and one.entry_id not in taken_entries:
            taken_payouts.add(one.payout_id)
            taken_entries.add(one.entry_id)
            found.append(Arrival(one.payout_id, one.entry_id, one.booked_at))
    return sorted(found, key=lambda arrival: arrival.payout_id)


def _nearness(one: Candidate) -> tuple[bool, date, int, datetime, int] | None:
    """What orders fitting pairs, the nearest first; None for one that does not fit."""
    day = one.booked_at.date()
    if not one.made_at.date() <= day <= one.arrives_on + timedelta(days=LATE_DAYS_MAX):
        return None
    said = one.text.lower()
    named = any(len(name) >= NAME_LENGTH_MIN and name.lower() in said for name in (one.name, one.reference))
    if not named and one.gateway.lower() not in said:
        return None
    return not named, one.arrives_on, one.payout_id, one.booked_at, one.entry_id
