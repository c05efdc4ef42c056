"""Duties: work that the engine does by itself, for every tenant, as time passes.

A duty is a use case of some room that brings a tenant up to a moment: what has expired is booked, what is due is
charged. It may be killed at any point and is done again, so it must find by itself what is left to do. Each duty has
a thread of its own in the engine's process: neither sealing nor another duty waits for it, however slow the gateway
that it talks to.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from farthing.events.trouble import report_trouble
from farthing.kernel.errors import FarthingError

LOOK_SECONDS_MIN = 0.25
LOOK_SECONDS_MAX = 10.0
"""How often it is looked whether a duty is due: four times in its interval, within these bounds."""
BOOKS_PAUSE_SECONDS = 10.0
"""How long it waits where the books do not answer."""
PAUSE_FACTOR_MAX = 64
"""A duty that fails again and again is tried less and less often, down to its interval times this."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to be done for each tenant every so many seconds. `work` is told the tenant and the moment."""

    name: str
    every_seconds: float
    work: Callable[[int, datetime], object]


@dataclass(slots=True)
class Due:
    """When a duty is due for a tenant, and how often in a row it has failed for it."""

    at: datetime
    failures: int = 0


class DutyRound:
    """Does what is due, and remembers when each duty is due again for each tenant."""

    def __init__(
        self, duties: Sequence[Duty], report: Callable[[str, Exception, datetime, int], None]
    ) -> None:
        self._duties = duties
        self._report = report
        self._due: dict[tuple[str, int], Due] = {}

    def do_due(self, tenant_ids: Sequence[int], clock: Callable[[], datetime], stop: threading.Event) -> None:
        """Every duty that is due, for every tenant for which it is; one that fails is put off, and the next done."""
        for duty in self._duties:
            for tenant_id in tenant_ids:
                if stop.is_set():
                    return
                now = clock()
                due = self._due.setdefault((duty.name, tenant_id), Due(now))
                # A clock that was set back must not put a duty off for as long as it went back.
                if now < due.at and due.at - now <= timedelta(seconds=_pause_seconds(duty, due.failures)):
                    continue
                try:
                    duty.work(tenant_id, now)
                    due.failures = 0
                except Exception as error:
                    if isinstance(error, MemoryError):  # nothing done after it can be relied on
                        raise
                    due.failures += 1
                    self._report(duty.name, error, now, tenant_id)
                due.at = clock() + timedelta(seconds=_pause_seconds(duty, due.failures))


def begin_duties(
    duties: Sequence[Duty],
    tenant_ids: Callable[[], Sequence[int]],
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> list[threading.Thread]:
    """Do each duty as it falls due until `stop` is set; the threads that do. What goes wrong stands in the log."""
    threads = [
        threading.Thread(target=_run_duty, args=(duty, tenant_ids, clock, stop), name=f"duties: {duty.name}")
        for duty in duties
    ]
    for thread in threads:
        thread.start()
    return threads


def _run_duty(
    duty: Duty, tenant_ids: Callable[[], Sequence[int]], clock: Callable[[], datetime], stop: threading.Event
) -> None:
    round_ = DutyRound([duty], report_trouble)
    look_seconds = min(max(duty.every_seconds / 4, LOOK_SECONDS_MIN), LOOK_SECONDS_MAX)
    while not stop.wait(look_seconds):
        try:
            round_.do_due(tenant_ids(), clock, stop)
        except FarthingError as error:  # the books do not answer: who the tenants are is not known
            report_trouble(duty.name, error, clock())
            stop.wait(BOOKS_PAUSE_SECONDS)


def _pause_seconds(duty: Duty, failures: int) -> float:
    return duty.every_seconds * min(1 << failures, PAUSE_FACTOR_MAX)
