"""Duties: done when they are due, for every tenant, and one that fails keeps no other from being done."""

import threading
from datetime import UTC, datetime, timedelta

from farthing.workflows.duties import Duty, DutyRound

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A clock that stands until it is moved, and what was done and reported so far."""

    def __init__(self) -> None:
        self.now = START
        self.done: list[tuple[str, int, int]] = []
        self.reported: list[tuple[str, int, str]] = []
        self.failing: set[tuple[str, int]] = set()

    def duty(self, name: str, every_seconds: float) -> Duty:
        def work(tenant_id: int, now: datetime) -> None:
            if (name, tenant_id) in self.failing:
                raise ValueError(f"{name} failed")
            self.done.append((name, tenant_id, int((now - START).total_seconds())))

        return Duty(name, every_seconds, work)

    def round(self, *duties: Duty) -> DutyRound:
        return DutyRound(
            duties, lambda name, error, _now, tenant: self.reported.append((name, tenant, str(error)))
        )

    def run(self, round_: DutyRound, seconds: list[int], tenants: tuple[int, ...] = (1,)) -> None:
        for second in seconds:
            self.now = START + timedelta(seconds=second)
            round_.do_due(tenants, lambda: self.now, threading.Event())


def test_each_duty_keeps_its_own_interval() -> None:
    world = World()
    world.run(world.round(world.duty("a", 10), world.duty("b", 25)), [0, 5, 10, 24, 25, 30])
    assert world.done == [("a", 1, 0), ("b", 1, 0), ("a", 1, 10), ("a", 1, 24), ("b", 1, 25)]


def test_a_new_tenant_is_served_at_once() -> None:
    world = World()
    round_ = world.round(world.duty("a", 10))
    world.run(round_, [0])
    world.run(round_, [3], (1, 2))
    assert world.done == [("a", 1, 0), ("a", 2, 3)]


def test_trouble_is_reported_put_off_and_keeps_no_other_from_being_done() -> None:
    world = World()
    world.failing = {("a", 1)}
    round_ = world.round(world.duty("a", 10), world.duty("b", 10))
    world.run(round_, [0, 10, 20, 30], (1, 2))
    assert world.reported == [("a", 1, "a failed"), ("a", 1, "a failed")]  # at 0 and 20, the next at 60
    assert [one for one in world.done if one[2] == 0] == [("a", 2, 0), ("b", 1, 0), ("b", 2, 0)]
    assert [second for name, tenant, second in world.done if (name, tenant) == ("b", 1)] == [0, 10, 20, 30]
    world.failing = set()
    world.run(round_, [59, 60, 70])
    assert [second for name, tenant, second in world.done if (name, tenant) == ("a", 1)] == [60, 70]


def test_a_clock_that_is_set_back_does_not_put_a_duty_off() -> None:
    world = World()
    world.run(world.round(world.duty("a", 10)), [1000, 3, 8, 13])
    assert [second for _, _, second in world.done] == [1000, 3, 13]


def test_nothing_begins_once_it_is_to_stop() -> None:
    world = World()
    stop = threading.Event()
    stop.set()
    world.round(world.duty("a", 10)).do_due((1,), lambda: START, stop)
    assert world.done == []
