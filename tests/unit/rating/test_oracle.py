"""Two raters, one answer: `farthing.rating` against the naive one in fractions, on random prices."""

import os
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from fractions import Fraction
from multiprocessing import get_context

import million
import oracle
import pytest

SEED = int(os.environ.get("FARTHING_SEED", "20261125"))
CASES = int(os.environ.get("FARTHING_CASES", "1000000"))
SHARES = 16
"""Seeds in a row that the cases are made from, whatever the number of processes."""
PROCESSES = 2


def test_rating_agrees_with_the_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = range(SEED, SEED + SHARES)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as processes:
        shares = list(processes.map(million.compare, seeds, [-(-CASES // SHARES)] * SHARES))
    compared = sum(count for count, _ in shares)
    differences = [difference for _, difference in shares if difference]
    assert not differences, differences[0]
    assert compared >= CASES
    with capsys.disabled():
        print(f"\n{compared:,} cases, seed {SEED}, no difference")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Fraction(1, 3), Fraction(333333333333333333, 10**18)),
        (Fraction(2, 3), Fraction(666666666666666667, 10**18)),
        (Fraction(1, 10**40), Fraction(1, 10**40)),
    ],
)
def test_the_oracle_settles(amount: Fraction, expected: Fraction) -> None:
    assert oracle.settled(amount) == expected


def test_the_oracle_knows_the_textbook() -> None:
    raw = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.01"}, {"unit_price": "0.005"}]}
    assert oracle.owed(raw, Fraction(0), Fraction(1500), True) == Fraction("12.5")
    assert oracle.owed({**raw, "model": "volume"}, Fraction(0), Fraction(1001), True) == Fraction("5.005")
    assert Fraction(Decimal("12.50")) == Fraction("12.5")


def test_the_comparison_finds_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that it looks: a tenth of a percent more, for one model, is seen at once."""
    told = oracle.model_total

    def more(price: oracle.Raw, units: Fraction, final: bool) -> Fraction:
        total = told(price, units, final)
        return total * Fraction("1.001") if price["model"] == "stair_step" else total

    monkeypatch.setattr(oracle, "model_total", more)
    compared, difference = million.compare(1, 100_000)
    assert compared < 100_000
    assert "stair_step" in difference
