"""The figures of docs/concepts/subscriptions.md are what Farthing bills."""

import re
from pathlib import Path

import pytest
from life_ledger import Ledger, at, fee, plan

from farthing.customers.catalog_file import read_catalog_file
from farthing.invoicing.model import Draft

DOCUMENT = Path(__file__).parents[3] / "docs" / "concepts" / "subscriptions.md"
PLANS = {
    "pro": plan("pro", fee("31")),
    "team": plan("team", fee("62")),
    "yearly": plan("yearly", fee("366"), interval="year"),
}
STEP = re.compile(r"    (\d{4}-\d{2}-\d{2})  (begins|change|invoice) +(.*)")

Example = list[tuple[str, str, list[str]]]


def examples() -> list[Example]:
    """Each block of steps: day, what happens, and its lines."""
    found: list[Example] = []
    for line in DOCUMENT.read_text().splitlines():
        step = STEP.fullmatch(line)
        if step is not None:
            day, what, rest = step.groups()
            if what == "begins":
                found.append([])
            found[-1].append((day, what, [rest]))
        elif line.startswith(" " * 12) and found:
            found[-1][-1][2].append(line.strip())
    return found


def lines_of(drafts: list[Draft]) -> list[str]:
    return [f"{line.description} = {line.amount_exact}" for draft in drafts for line in draft.lines]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example[-1][2][0])
def test_an_example_is_billed_as_it_says(example: Example) -> None:
    (start, _, (first,)), *steps = example
    plans = [PLANS[first], *(one for key, one in PLANS.items() if key != first)]
    ledger = Ledger(plans, at(start))
    billed: list[str] = []
    for day, what, rest in steps:
        if what == "change":
            body = read_catalog_file(rest[0].encode(), "")
            assert isinstance(body, dict)
            ledger.change(day, **body)
        else:
            assert lines_of(ledger.bill(day)) == rest
            billed += rest
    assert billed


def test_there_are_examples() -> None:
    assert len(examples()) == 8
