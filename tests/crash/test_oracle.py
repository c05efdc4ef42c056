"""The judge, judged: what it says of a system that lost, doubled or made up an event."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.crash import traffic
from tests.crash.oracle import Oracle, Verdict, expected_usage
from tests.crash.outside import Held, Row
from tests.crash.traffic import Call

CALL = Call("gateway", "a", traffic.METERED, "acme", "2020-01-02T00:00:00Z", "7.5", "small")
ROW = Row(
    "gateway",
    "a",
    traffic.METERED,
    "acme",
    datetime(2020, 1, 2),
    '{"tokens":7.5,"model":"small"}',
    Decimal("7.5"),
)
FAULTY = replace(CALL, id="f", tokens=None)
OTHER = replace(CALL, tokens="8")


def oracle(*requests: tuple[list[str], int]) -> Oracle:
    """One that has read a journal: each request's lines, and the status that it was answered with."""
    made = Oracle()
    records: list[tuple[str, dict[str, Any]]] = []
    for number, (lines, status) in enumerate(requests):
        records.append(("client", {"n": number, "tenant": "default", "lines": lines, "at": 1.0}))
        if status >= 0:
            records.append(("client", {"n": number, "status": status, "refused": [], "at": 2.0}))
    made.read(records)
    return made


def held(rows: list[Row], quarantine: list[tuple[str, str]] | None = None, duplicate: int = 0) -> Held:
    """A system whose account adds up."""
    aside = quarantine or []
    tally = {"counted": len(rows), "duplicate": duplicate, "quarantined": len(aside)}
    return Held(rows, aside, tally | {"accepted": sum(tally.values())})


def judged(judge: Oracle, system: Held) -> Verdict:
    return judge.judge("default", system)


def test_an_acknowledged_event_that_is_counted_once_is_well() -> None:
    verdict = judged(oracle(([CALL.line()], 202)), held([ROW]))
    assert verdict
    assert expected_usage(verdict.counted) == {("acme", "small"): (1, Decimal("7.5"))}


def test_what_is_corrected_is_used_no_more_and_what_takes_its_place_is() -> None:
    void = replace(CALL, id="v", source="batch", type=traffic.VOID, tokens=None, corrects=("gateway", "a"))
    void_row = replace(ROW, id="v", source="batch", type=traffic.VOID, data='{"model":"small"}', tokens=None)
    verdict = judged(oracle(([CALL.line(), void.line()], 202)), held([ROW, void_row]))
    assert verdict
    assert expected_usage(verdict.counted) == {}
    lost = judged(oracle(([CALL.line(), void.line()], 202)), held([ROW]))
    assert lost.lost
    instead = replace(CALL, id="b", tokens="3", corrects=("gateway", "a"))
    instead_row = replace(ROW, id="b", data='{"tokens":3,"model":"small"}', tokens=Decimal(3))
    verdict = judged(oracle(([CALL.line(), instead.line()], 202)), held([ROW, instead_row]))
    assert expected_usage(verdict.counted) == {("acme", "small"): (1, Decimal(3))}


def test_a_repeat_may_be_a_duplicate_or_not_have_arrived() -> None:
    twice = oracle(([CALL.line()], 202), ([CALL.line()], 0))
    assert judged(twice, held([ROW]))
    assert judged(twice, held([ROW], duplicate=1))
    assert not judged(twice, held([ROW], duplicate=2))


def test_an_event_whose_answer_was_lost_may_be_there_or_not() -> None:
    for status in (0, 503, -1):
        doubtful = oracle(([CALL.line()], status))
        assert judged(doubtful, held([]))
        assert judged(doubtful, held([ROW]))


def test_an_acknowledged_event_that_is_not_there_is_lost() -> None:
    verdict = judged(oracle(([CALL.line()], 202)), held([]))
    assert len(verdict.lost) == 1
    assert "('gateway', 'a') was acknowledged" in str(verdict)


def test_an_acknowledged_event_that_counts_as_a_duplicate_of_nothing_is_lost() -> None:
    assert judged(oracle(([CALL.line()], 202)), held([], duplicate=1)).lost


def test_an_event_that_is_counted_again_is_doubled() -> None:
    verdict = judged(oracle(([CALL.line()], 202), ([CALL.line()], 202)), held([ROW, ROW]))
    assert verdict.doubled == ["('gateway', 'a') is counted again"]


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, tokens=Decimal("7.6")),
        replace(ROW, id="b"),
        replace(ROW, subject="globex"),
        replace(ROW, time=datetime(2020, 1, 3)),
        replace(ROW, data='{"tokens":7.5,"model":"large"}'),
    ],
)
def test_what_nobody_sent_may_not_be_counted(row: Row) -> None:
    assert judged(oracle(([CALL.line()], 202)), held([ROW, row])).off
    assert judged(oracle(([CALL.line()], 202)), held([row])).off


def test_a_refused_event_may_not_be_counted() -> None:
    assert judged(oracle(([CALL.line()], 400)), held([ROW])).off


def test_a_faulty_event_stands_in_quarantine_with_its_reason() -> None:
    sent = oracle(([FAULTY.line()], 202))
    assert judged(sent, held([], [("missing_value", FAULTY.line())]))
    assert judged(sent, held([], [("too_late", FAULTY.line())])).lost
    assert judged(sent, held([])).lost
    assert judged(sent, held([], [("", FAULTY.line())])).off


def test_of_two_contents_one_counts_and_the_other_is_a_conflict() -> None:
    both = oracle(([CALL.line()], 202), ([OTHER.line()], 202))
    assert judged(both, held([ROW], [("conflict", OTHER.line())]))
    assert judged(both, held([ROW], duplicate=1)).lost
    assert judged(both, held([], [("conflict", CALL.line()), ("conflict", OTHER.line())])).lost


def test_what_is_no_event_stands_in_quarantine_once_its_import_was_acknowledged() -> None:
    broken = traffic.broken_line(Random(1))
    assert judged(oracle(([broken], 202)), held([], [("malformed_json", broken)]))
    assert judged(oracle(([broken], 202)), held([])).lost


def test_an_account_that_does_not_add_up_is_off() -> None:
    system = held([ROW])
    wrong = Held(system.rows, system.quarantine, system.tally | {"accepted": 2})
    assert judged(oracle(([CALL.line()], 202), ([CALL.line()], 202)), wrong).off
