"""What pay as you go saves: four weeks of very uneven traffic, charged in five ways.

Reads the ServeGen windows (the calls of 162 clients of one large model in each ten minutes of two weeks, from a
public trace), takes each client as a customer and the two weeks twice, and prices a call at 0.0002 USD. A charge
costs 0.30, and to be owed money costs 0.1 percent of it a day; a percentage of the charge, which is the same
whenever it is charged, is left out. Customers are looked at every hour. The computed threshold is that of
`farthing.invoicing.accrued`, told nothing but what each customer spent so far.

    python examples/pay_as_you_go.py [DIRECTORY WITH servegen]

Its output is committed beside it (pay_as_you_go.out) and compared by a test.
"""

import csv
import gzip
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from farthing.catalog.collection import ComputedThreshold
from farthing.invoicing.accrued.recent_spend import first_checkpoints, spend_per_day, with_checkpoint
from farthing.invoicing.accrued.threshold import computed_threshold, economic_threshold
from farthing.invoicing.interim.charging import whole_units

MODEL = "m-large"
PRICE = Decimal("0.0002")
FEE = Decimal("0.30")
PERCENT_PER_DAY = Decimal("0.1")
TERMS = ComputedThreshold(FEE, PERCENT_PER_DAY, least=Decimal(5), most=Decimal(5000))
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW_SECONDS, HOUR_SECONDS, DAY_SECONDS = 600, 3600, 86_400
TRACE_HOURS = 14 * 24
HOURS = 2 * TRACE_HOURS

Threshold = Callable[[int, Decimal, Decimal | None], Decimal | None]
"""The threshold after an hour, from what was spent in all by then and the one before; None: wait for the end."""


@dataclass
class Cost:
    """What collecting from everybody cost in one way."""

    charges: int = 0
    waiting: Decimal = Decimal(0)
    most_owed: Decimal = Decimal(0)
    owed_by_hour: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * HOURS)

    @property
    def fees(self) -> Decimal:
        return self.charges * FEE


def main(data: Path) -> None:
    """Charge the four weeks in each way and print the table."""
    clients = read_calls(data / "servegen" / "derived" / "client_windows.csv.gz")
    spends = [[calls * PRICE for calls in hours] for hours in clients]
    total = sum((sum(hours, Decimal(0)) for hours in spends), Decimal(0))
    calls = sum(sum(hours) for hours in clients)
    largest = max(sum(hours, Decimal(0)) for hours in spends)
    smallest = min(sum(hours, Decimal(0)) for hours in spends)
    print(
        f"{len(clients)} customers, {calls:,} calls, {total:,.2f} USD; {smallest:,.2f} to {largest:,.2f} each\n"
    )
    print(
        f"{'charged':<28} {'charges':>12} {'fees':>15} {'waiting':>10} {'together':>15} {'owed at most':>13}"
    )
    say("at each call", Cost(charges=calls))
    say("at the end of the four weeks", charged(spends, lambda hour, spent, before: None))
    say("at 50", charged(spends, lambda hour, spent, before: Decimal(50)))
    say("at a computed threshold", computed(spends))
    say("at the best, had it been known", best(spends))


def read_calls(file: Path) -> list[list[int]]:
    """The calls of each client, hour by hour."""
    clients: dict[str, list[int]] = {}
    with gzip.open(file, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["model"] == MODEL:
                hours = clients.setdefault(row["client"], [0] * TRACE_HOURS)
                calls = int(Decimal(row["rate_rps"]) * WINDOW_SECONDS + Decimal("0.5"))
                hours[int(row["window_start_s"]) // HOUR_SECONDS] += calls
    return [hours * 2 for _, hours in sorted(clients.items(), key=lambda client: int(client[0]))]


def charged(spends: Sequence[Sequence[Decimal]], threshold: Threshold) -> Cost:
    """Every customer by one rule."""
    cost = Cost()
    for hours in spends:
        charge(hours, threshold, cost)
    cost.most_owed = max(cost.owed_by_hour)
    return cost


def charge(hours: Sequence[Decimal], threshold: Threshold, cost: Cost) -> None:
    """One customer: what accrued is charged in whole cents when it reaches the threshold, and at the end."""
    accrued = billed = Decimal(0)
    in_force: Decimal | None = None
    an_hour = PERCENT_PER_DAY / 100 * HOUR_SECONDS / DAY_SECONDS
    for hour, spent in enumerate(hours):
        accrued += spent
        in_force = threshold(hour, accrued, in_force)
        if in_force is not None and accrued - billed >= in_force:
            billed += whole_units(accrued - billed, "USD")
            cost.charges += 1
        cost.owed_by_hour[hour] += accrued - billed
        cost.waiting += (accrued - billed) * an_hour
    if whole_units(accrued - billed, "USD"):
        cost.charges += 1


def computed(spends: Sequence[Sequence[Decimal]]) -> Cost:
    """By the threshold that each customer's recent days give, as the engine computes it."""
    cost = Cost()
    for hours in spends:
        charge(hours, following(), cost)
    cost.most_owed = max(cost.owed_by_hour)
    return cost


def following() -> Threshold:
    """The computed threshold of one customer."""
    checkpoints = first_checkpoints(START, START, Decimal(0))

    def threshold(hour: int, accrued: Decimal, before: Decimal | None) -> Decimal:
        nonlocal checkpoints
        now = START + timedelta(hours=hour + 1)
        checkpoints = with_checkpoint(checkpoints, now, accrued - checkpoints[-1].spent)
        return computed_threshold(TERMS, spend_per_day(checkpoints), before, 2)

    return threshold


def best(spends: Sequence[Sequence[Decimal]]) -> Cost:
    """By the one threshold that each customer's spend of the whole four weeks gives."""
    cost = Cost()
    for hours in spends:
        a_day = sum(hours, Decimal(0)) * 24 / HOURS
        fixed = economic_threshold(FEE, a_day, PERCENT_PER_DAY, 2)
        charge(hours, lambda hour, spent, before, fixed=fixed: fixed, cost)  # type: ignore[misc]
    cost.most_owed = max(cost.owed_by_hour)
    return cost


def say(how: str, cost: Cost) -> None:
    """A row of the table."""
    together = cost.fees + cost.waiting
    print(
        f"{how:<28} {cost.charges:>12,} {cost.fees:>15,.2f} {cost.waiting:>10,.2f} {together:>15,.2f} "
        f"{cost.most_owed:>13,.2f}".rstrip()
    )


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FARTHING_EXAMPLE_DATA", "../shared/data"))
    )
