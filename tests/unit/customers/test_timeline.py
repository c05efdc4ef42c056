"""Facts fold into stretches that tile the time of a subscription."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farthing.customers.facts import content_json, fact_json, parse_change, payload_of, stored_content
from farthing.customers.model import Fact, FactContent, FactKind, Subscription
from farthing.customers.timeline import Life, Mode, Stretch, lives_of, stretch_at

START = datetime(2024, 1, 1, tzinfo=UTC)
BEGUN = Subscription(1, "s", 1, "acme", 10, "pro", 1, "calendar", START, None)
PLANS = [("pro", 1, 10), ("pro", 2, 11), ("team", 1, 20)]


def on(day: float) -> datetime:
    return START + timedelta(days=day)


def fact(number: int, day: float, kind: str, **body: Any) -> Fact:
    content = parse_change({"kind": kind, **body}).content
    version_id = {(key, version): found for key, version, found in PLANS}.get(
        (content.plan or "", content.version or 0)
    )
    return Fact(number, f"c{number}", on(day), content, START, version_id)


def lives(*facts: Fact) -> tuple[Life, ...]:
    return lives_of(replace(BEGUN, facts=facts))


def spans(*facts: Fact) -> list[list[tuple[str, int | None, str, str]]]:
    """Each life's stretches: first day, day after the last, plan and version, mode."""
    return [
        [
            (
                f"{(one.start - START).days}",
                None if one.end is None else (one.end - START).days,
                f"{one.plan} {one.version}",
                one.mode.value,
            )
            for one in life.stretches
        ]
        for life in lives(*facts)
    ]


def test_without_facts_it_is_what_it_began_as() -> None:
    assert spans() == [[("0", None, "pro 1", "running")]]


def test_plans_follow_each_other() -> None:
    up, version = fact(1, 12, "plan", plan="team", version=1), fact(2, 40, "plan", plan="pro", version=2)
    assert spans(up, version) == [
        [("0", 12, "pro 1", "running"), ("12", 40, "team 1", "running"), ("40", None, "pro 2", "running")]
    ]


def test_a_trial_ends_by_itself_also_behind_a_pause() -> None:
    trial = fact(1, 0, "trial", until="2024-01-15T00:00:00Z", usage="charged")
    assert spans(trial) == [[("0", 14, "pro 1", "usage_charged"), ("14", None, "pro 1", "running")]]
    assert spans(trial, fact(2, 10, "pause"), fact(3, 20, "resume")) == [
        [("0", 10, "pro 1", "usage_charged"), ("10", 20, "pro 1", "paused"), ("20", None, "pro 1", "running")]
    ]


def test_it_ends_and_lives_again_as_it_was() -> None:
    seats = fact(1, 5, "quantity", quantities={"seats": "5"})
    found = lives(seats, fact(2, 10, "cancel", refund="none"), fact(3, 20, "reactivate"))
    assert [(life.start, life.end, life.refund_unused) for life in found] == [
        (START, on(10), False),
        (on(20), None, True),
    ]
    assert found[1].stretches[0].quantity("seats") == 5
    assert stretch_at(found, on(15)) is None
    # At the moment of its end it may go on, and is another life all the same.
    assert [len(life.stretches) for life in lives(fact(1, 10, "cancel"), fact(2, 10, "reactivate"))] == [1, 1]


def test_a_phase_that_changes_while_it_does_not_run_holds_when_it_does() -> None:
    facts = (fact(1, 10, "cancel"), fact(2, 15, "plan", plan="team", version=1), fact(3, 20, "reactivate"))
    assert spans(*facts)[1] == [("20", None, "team 1", "running")]


def test_overrides_stay_for_versions_and_end_with_the_plan_and_quantities_stay() -> None:
    own = fact(1, 1, "override", overrides={"base": {"model": "flat", "amount": "5"}})
    seats = fact(2, 1, "quantity", quantities={"seats": "5"})
    newer, team = fact(3, 2, "plan", plan="pro", version=2), fact(4, 3, "plan", plan="team", version=1)
    (life,) = lives(own, seats, newer, team)
    assert [(sorted(one.overrides), one.quantity("seats")) for one in life.stretches[1:]] == [
        (["base"], Decimal(5)),
        (["base"], Decimal(5)),
        ([], Decimal(5)),
    ]


def test_among_facts_of_one_moment_the_later_one_decides() -> None:
    first, second = fact(1, 5, "plan", plan="team", version=1), fact(2, 5, "plan", plan="pro", version=2)
    assert spans(second, first) == [[("0", 5, "pro 1", "running"), ("5", None, "pro 2", "running")]]


KINDS = [
    ("plan", {"plan": "team", "version": 1}),
    ("plan", {"plan": "pro", "version": 2}),
    ("quantity", {"quantities": {"seats": "3"}}),
    ("quantity", {"quantities": {"seats": "4"}}),
    ("override", {"overrides": {"base": {"model": "flat", "amount": "5"}}}),
    ("override", {"overrides": {"base": None}}),
    ("add_on", {"rate_card": {"key": "extra", "name": "Extra", "price": {"model": "flat", "amount": "1"}}}),
    ("remove_add_on", {"add_on": "extra"}),
    ("pause", {}),
    ("resume", {}),
    ("cancel", {}),
    ("cancel", {"refund": "none"}),
    ("reactivate", {}),
    ("trial", {"until": "2024-01-20T00:00:00Z"}),
]


@st.composite
def histories(draw: st.DrawFn, distinct: bool = False) -> list[Fact]:
    days = draw(st.lists(st.integers(0, 60), max_size=12, unique=distinct))
    return [
        fact(number, day, kind, **body)
        for number, day in enumerate(days, start=1)
        for kind, body in [draw(st.sampled_from(KINDS))]
    ]


@given(histories())
def test_stretches_tile_each_life_and_lives_follow_each_other(facts: list[Fact]) -> None:
    found = lives(*facts)
    for life in found:
        assert (life.start, life.end) == (life.stretches[0].start, life.stretches[-1].end)
        for earlier, later in pairwise(life.stretches):
            assert earlier.end == later.start
            assert replace(earlier, start=later.start, end=later.end) != later, "each differs from the next"
        for stretch in life.stretches:
            assert stretch.end is None or stretch.start < stretch.end
    for before, after in pairwise(found):
        assert before.end is not None
        assert before.end <= after.start
    assert not found or found[0].start >= START


def at_every_hour(facts: list[Fact]) -> list[Stretch | None]:
    found = lives(*facts)
    shared = [stretch_at(found, on(hour / 2)) for hour in range(130)]
    return [None if one is None else replace(one, start=START, end=None) for one in shared]


@given(histories(distinct=True), st.randoms())
def test_the_order_in_which_facts_of_other_moments_were_made_does_not_matter(
    facts: list[Fact], chance: Any
) -> None:
    shuffled = list(facts)
    chance.shuffle(shuffled)
    remade = [replace(one, change_id=number) for number, one in enumerate(shuffled, start=1)]
    assert at_every_hour(remade) == at_every_hour(facts)


@given(histories(), st.integers(0, 12), st.integers(0, 60))
def test_calling_a_change_off_restores_what_was(facts: list[Fact], kind: int, day: int) -> None:
    name, body = KINDS[kind]
    more = fact(len(facts) + 1, day, name, **body)
    off = Fact(
        more.change_id + 1,
        "off",
        more.effective_at,
        FactContent(FactKind.WITHDRAW),
        START,
        None,
        more.change_id,
    )
    assert lives(*facts, more, off) == lives(*facts)


@given(histories())
def test_what_is_kept_of_a_fact_is_read_back(facts: list[Fact]) -> None:
    for one in facts:
        content = one.content
        payload = payload_of(content)
        assert stored_content(content.kind.value, payload, content.plan, content.version) == content
        assert fact_json(one)["effective_at"] == f"{one.effective_at:%Y-%m-%d}T00:00:00Z"
        assert content_json(content)["kind"] == content.kind


def test_modes_say_what_is_charged() -> None:
    assert [(mode.charges_fees, mode.charges_usage) for mode in Mode] == [
        (True, True),
        (False, False),
        (False, False),
        (False, True),
    ]
