"""When accrued spend is charged: the threshold, the spend of recent days, and what a look decides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.collection import ComputedThreshold, parse_collection
from farthing.customers.terms.content import parse_commitment
from farthing.customers.terms.model import NO_TERMS, Commitment, Terms
from farthing.invoicing.accrued.look import Seen, charge_is_due, look
from farthing.invoicing.accrued.model import Accrued, Checkpoint, Held
from farthing.invoicing.accrued.recent_spend import first_checkpoints, spend_per_day, with_checkpoint
from farthing.invoicing.accrued.threshold import computed_threshold, economic_threshold
from farthing.invoicing.interim.charging import INTERIM_INVOICES_MAX
from farthing.invoicing.model import Because, BilledBefore
from farthing.kernel.period import Period

START = datetime(2026, 3, 1, tzinfo=UTC)
MARCH = Period(START, datetime(2026, 4, 1, tzinfo=UTC))
FIFTY = parse_collection({"mode": "pay_as_you_go", "threshold": "50", "charge_within_days": 7})
COMPUTED = ComputedThreshold(D("0.30"), D("0.1"), D(5), D(500))


def day(number: float) -> datetime:
    return START + timedelta(days=number)


# -- The threshold ------------------------------------------------------------------------------


def test_the_example_of_the_module() -> None:
    assert economic_threshold(D("0.30"), D(20), D("0.1"), 2) == D("109.54")


amounts = st.decimals("0.01", "100000", places=2)


@given(amounts, amounts, st.decimals("0.001", "100", places=3))
def test_at_the_threshold_the_fees_of_a_day_are_what_waiting_costs(fee: D, a_day: D, percent: D) -> None:
    """The threshold squared is 2 f r / c, as near as minor units allow; and no other one costs less."""
    found = Fraction(economic_threshold(fee, a_day, percent, 2))
    exactly = 2 * Fraction(fee) * Fraction(a_day) * 100 / Fraction(percent)
    half = Fraction(1, 200)
    assert max(found - half, 0) ** 2 <= exactly + Fraction(1, 10**9)
    assert exactly <= (found + half) ** 2

    def cost_a_day(threshold: Fraction) -> Fraction:
        return Fraction(fee) * Fraction(a_day) / threshold + Fraction(percent) / 100 * threshold / 2

    if found > 1:
        assert cost_a_day(found) <= min(
            cost_a_day(found * Fraction(9, 10)), cost_a_day(found * Fraction(11, 10))
        )


@given(st.lists(st.decimals("0", "1000", places=2), min_size=1, max_size=30))
def test_a_computed_threshold_keeps_to_its_bounds_and_does_not_jump(spends: list[D]) -> None:
    in_force: D | None = None
    for a_day in spends:
        after = computed_threshold(COMPUTED, a_day, in_force, 2)
        best = min(max(economic_threshold(D("0.30"), a_day, D("0.1"), 2), D(5)), D(500))
        assert D(5) <= after <= D(500)
        if in_force is not None and after != in_force:
            assert not in_force * D("0.75") <= best <= in_force * D("1.25"), "it moves for a reason"
            assert after == best
        in_force = after


def test_a_threshold_of_other_terms_is_let_go() -> None:
    assert computed_threshold(COMPUTED, D(0), D(1000), 2) == D(5)
    assert computed_threshold(COMPUTED, D(20), D(100), 2) == D(100)
    assert computed_threshold(COMPUTED, D(40), D(100), 2) == D("154.92")
    assert computed_threshold(COMPUTED, D(10**9), None, 2) == D(500)
    assert computed_threshold(COMPUTED, D(20), None, 0) == D(110), "in whole yen"


# -- The spend of recent days ---------------------------------------------------------------------


def test_the_spend_of_a_first_look_is_that_of_its_period() -> None:
    assert spend_per_day(first_checkpoints(day(0), day(4), D(20))) == 5
    assert spend_per_day(first_checkpoints(day(0), day(0.01), D(20))) == 20, "less than a day counts as a day"


def test_checkpoints_are_kept_by_the_day_for_two_weeks() -> None:
    points = first_checkpoints(day(0), day(0.5), D(1))
    for step in range(200):
        points = with_checkpoint(points, day(0.5 + (step + 1) / 4), D(1))
    assert len(points) <= 17
    assert points[-1] == Checkpoint(day(50.5), D(201))
    assert day(50.5) - points[0].at >= timedelta(days=14)
    assert day(50.5) - points[1].at < timedelta(days=14)
    assert spend_per_day(points) == 4


def test_what_comes_back_is_no_spend() -> None:
    assert spend_per_day(with_checkpoint(first_checkpoints(day(0), day(1), D(5)), day(2), D(-9))) == 0


# -- A look ---------------------------------------------------------------------------------------


def billed(*totals: str) -> tuple[BilledBefore, ...]:
    return tuple(
        BilledBefore(f"INV-{number}", number, D(total), day(number), ())
        for number, total in enumerate(totals, start=1)
    )


def seen(accrued: str | None, *totals: str, **more: Any) -> Seen:
    fields: dict[str, Any] = {
        "subscription_id": 3, "period": MARCH, "currency": "USD",
        "accrued": None if accrued is None else D(accrued), "billed": billed(*totals), "collection": FIFTY,
        "terms": NO_TERMS, "last_change_id": 0, "last_collection_id": 0,
    }  # fmt: skip
    return Seen(**fields | more)


def due(at: Accrued, now: datetime, **more: Any) -> Because | None:
    return charge_is_due(at, more.get("collection", FIFTY), "USD", now)


def test_a_charge_is_due_at_the_threshold_and_not_a_digit_before() -> None:
    below = look(None, seen("49.9999999"), day(1))
    assert due(below, day(1)) is None
    assert due(look(below, seen("50"), day(2)), day(2)) is Because.THRESHOLD
    assert due(look(below, seen("120", "70.01"), day(2)), day(2)) is None
    assert due(look(below, seen("120.01", "70.01"), day(2)), day(2)) is Because.THRESHOLD


def test_what_waits_is_due_after_its_days_and_what_is_charged_begins_anew() -> None:
    first = look(None, seen("1"), day(1))
    assert first.charge_by == day(8)
    second = look(first, seen("2"), day(5))
    assert (second.unbilled_since, second.charge_by) == (day(1), day(8))
    assert due(second, day(8) - timedelta(microseconds=1)) is None
    assert due(second, day(8)) is Because.DAYS
    charged = look(second, seen("2", "2.00"), day(8))
    assert (charged.unbilled_since, charged.charge_by) == (None, None)
    again = look(charged, seen("2.01", "2.00"), day(9))
    assert again.charge_by == day(16)


def test_less_than_a_minor_unit_is_not_waited_for() -> None:
    at = look(None, seen("0.0099"), day(1))
    assert (at.unbilled_since, due(at, day(30))) == (None, None)
    tiny = parse_collection({"mode": "pay_as_you_go", "threshold": "0.001"})
    assert charge_is_due(look(None, seen("0.0099", collection=tiny), day(1)), tiny, "USD", day(1)) is None


def test_a_new_period_begins_from_nothing_but_the_spend_goes_on() -> None:
    march = look(None, seen("31"), day(31) - timedelta(seconds=1))
    april = Period(MARCH.end, MARCH.end + timedelta(days=30))
    at = look(march, seen("1", period=april), day(32))
    assert (at.accrued, at.billed, at.unbilled_since) == (D(1), D(0), day(32))
    assert [point.spent for point in at.checkpoints] == [D(0), D(31), D(32)]


def test_one_that_cannot_be_rated_is_held_and_keeps_what_was_known() -> None:
    known = look(None, seen("60"), day(1))
    at = look(known, seen(None), day(2))
    assert (at.accrued, at.held, due(at, day(2))) == (D(60), Held.NOT_RATED, None)


@pytest.mark.parametrize(
    ("term", "rollover", "held"),
    [
        ((-30, 10), False, Held.PREPAID),
        ((-30, -1), False, None),
        ((-30, -1), True, Held.PREPAID),
        ((5, 10), False, None),
    ],
)
def test_what_a_prepaid_commitment_may_pay_is_held(
    term: tuple[int, int], rollover: bool, held: Held | None
) -> None:
    raw = {"key": "k", "kind": "prepaid", "amount": "1", "interval": "year", "rollover": rollover}
    content = parse_commitment(raw)
    commitment = Commitment(
        "k", "K", content.kind, content.amount, Period(day(term[0]), day(term[1])), None, rollover, None
    )
    at = look(None, seen("60", terms=Terms((), (commitment,))), day(1))
    assert at.held is held
    assert due(at, day(1)) is (Because.THRESHOLD if held is None else None)


def test_a_period_has_no_more_interim_invoices_than_it_may() -> None:
    many = ["1"] * INTERIM_INVOICES_MAX
    at = look(None, seen("99999", *many), day(1))
    assert (at.held, due(at, day(1))) == (Held.TOO_MANY, None)


def test_terms_that_ask_at_the_end_charge_nothing_before_it() -> None:
    at_end = parse_collection({"mode": "at_period_end"})
    at = look(None, seen("9999", collection=at_end), day(20))
    assert due(at, day(20), collection=at_end) is None
    assert replace(at, threshold=D(1)).unbilled == D(9999)
