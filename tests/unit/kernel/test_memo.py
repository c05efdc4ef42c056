"""Answers that are kept: by which object was asked about, and no more than was said."""

from dataclasses import dataclass

from farthing.kernel.memo import Memo


@dataclass(frozen=True)
class Plan:
    key: str


def test_an_answer_is_worked_out_once_for_an_object_and_what_else_it_depends_on() -> None:
    memo: Memo[str] = Memo(10)
    one, same = Plan("a"), Plan("a")
    asked: list[str] = []

    def answer(said: str) -> str:
        asked.append(said)
        return said

    assert memo.of(one, 1, lambda: answer("first")) == "first"
    assert memo.of(one, 1, lambda: answer("never")) == "first"
    assert memo.of(one, 2, lambda: answer("of two")) == "of two"
    assert memo.of(same, 1, lambda: answer("of an equal one")) == "of an equal one"
    assert asked == ["first", "of two", "of an equal one"]


def test_it_begins_anew_when_it_is_full_and_stays_right() -> None:
    memo: Memo[str] = Memo(3)
    plans = [Plan(str(number)) for number in range(20)]
    for _ in range(2):
        assert [memo.of(plan, None, lambda plan=plan: plan.key) for plan in plans] == [  # type: ignore[misc]
            plan.key for plan in plans
        ]


def test_an_object_in_the_place_of_one_that_is_gone_has_its_own_answer() -> None:
    memo: Memo[str] = Memo(1_000)
    for number in range(200):
        assert memo.of(Plan(str(number)), None, lambda number=number: str(number)) == str(number)  # type: ignore[misc]
