"""The events of every benchmark: the demo's traffic at another size, the same for everybody and every time.

CloudEvents `llm.completion` of 228 bytes from very uneven customers over the thirty days of June 2024;
one in a hundred is sent a second time, byte for byte. Beside the bytes stands what any right answer
says about them, in whole numbers worked out here from the generated columns.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from farthing.cli.demo_traffic import MODELS, Traffic, customer_key, event_lines, make_traffic

START, END = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
DAYS = 30
_DAY_US = 86_400_000_000
# Amounts are checked in hundred-millionths of a dollar: every price below is a whole number of them.
UNITS_PER_DOLLAR = 10**8

Sums = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out. Sums are over distinct events: [customer, model] and [day, model]."""

    sent: int
    counted: int
    input_tokens: Sums
    output_tokens: Sums
    requests: Sums
    input_tokens_by_day: Sums

    @property
    def duplicates(self) -> int:
        return self.sent - self.counted

    @property
    def customers(self) -> int:
        return len(self.requests)


def traffic_of(events: int, customers: int) -> Traffic:
    """So many events of so many customers, repeats included, in order of arrival."""
    return make_traffic(events, customers, START, END)


def expected_of(traffic: Traffic) -> Expected:
    """The right answers for this traffic."""
    _, first = np.unique(traffic.number, return_index=True)
    customer, model = traffic.customer[first], traffic.model[first]
    prompt, answer = traffic.prompt[first], traffic.answer[first]
    day = (traffic.time_us[first] - int(START.timestamp()) * 1_000_000) // _DAY_US
    by_customer = (customer * len(MODELS) + model, (traffic.customers, len(MODELS)))
    return Expected(
        sent=len(traffic),
        counted=len(first),
        input_tokens=_sums(*by_customer, prompt),
        output_tokens=_sums(*by_customer, answer),
        requests=_sums(*by_customer, np.ones(len(first), dtype=np.int64)),
        input_tokens_by_day=_sums(day * len(MODELS) + model, (DAYS, len(MODELS)), prompt),
    )


def _sums(groups: Sums, shape: tuple[int, int], amounts: Sums) -> Sums:
    sums = np.zeros(shape[0] * shape[1], dtype=np.int64)
    np.add.at(sums, groups, amounts)
    return sums.reshape(shape)


def write_events(traffic: Traffic, path: Path) -> None:
    """The events as an NDJSON file, on disk when this returns: writing it back is not for others to pay."""
    with open(path, "wb") as file:
        file.writelines(lines for lines, _ in event_lines(traffic))
        file.flush()
        os.fsync(file.fileno())


def batches(traffic: Traffic, size: int) -> Iterator[tuple[bytes, int]]:
    """The events as NDJSON in batches of (lines, how many)."""
    for chunk, _ in event_lines(traffic):
        lines = chunk.splitlines(keepends=True)
        for at in range(0, len(lines), size):
            some = lines[at : at + size]
            yield b"".join(some), len(some)


# -------------------------------------------------------------------------------------------------
# What the traffic costs


def meters() -> list[dict[str, object]]:
    """Input tokens and output tokens by model, and requests."""

    def meter(key: str, **more: object) -> dict[str, object]:
        ok = [{"field": "data.status", "op": "eq", "value": "ok"}]
        return {"key": key, "event_type": "llm.completion", "filter": ok, **more}

    model = {"model": "data.model"}
    return [
        meter("input_tokens", aggregation="sum", value="data.input_tokens", dimensions=model),
        meter("output_tokens", aggregation="sum", value="data.output_tokens", dimensions=model),
        meter("requests", aggregation="count"),
    ]


def plan() -> dict[str, object]:
    """Five lines on every invoice: a fee, a price per unit, two graduated prices and packages."""

    def tier(unit_price: str, up_to: str | None = None) -> dict[str, str]:
        return {"unit_price": unit_price} | ({"up_to": up_to} if up_to else {})

    request_tiers = [tier("0", "10000"), tier("0.0001", "100000"), tier("0.00005")]
    output_tiers = [tier("0.00001", "1000000"), tier("0.000008")]
    cards: list[tuple[str, str, str | None, dict[str, object]]] = [
        ("platform", "Platform fee", None, {"model": "flat", "amount": "5"}),
        ("input", "Input tokens", "input_tokens", {"model": "per_unit", "unit_price": "0.0000025"}),
        ("output", "Output tokens", "output_tokens", {"model": "graduated", "tiers": output_tiers}),
        ("requests", "Requests", "requests", {"model": "graduated", "tiers": request_tiers}),
        (
            "moderation",
            "Moderation",
            "requests",
            {"model": "package", "package_price": "0.02", "package_size": "1000"},
        ),
    ]
    return {
        "key": "payg",
        "name": "Pay as you go",
        "currency": "USD",
        "interval": "month",
        "rate_cards": [
            {"key": key, "name": name, "price": price} | ({"meter": meter} if meter else {})
            for key, name, meter, price in cards
        ],
    }


LINES_PER_INVOICE = 5


def owed(expected: Expected) -> dict[str, int]:
    """What each customer owes, in hundred-millionths of a dollar: the plan once more, in whole numbers only."""
    requests, inputs, outputs = (
        sums.sum(axis=1).tolist()
        for sums in (expected.requests, expected.input_tokens, expected.output_tokens)
    )
    return {
        customer_key(index): 5 * UNITS_PER_DOLLAR
        + inputs[index] * 250
        + _graduated(outputs[index], ((1_000_000, 1_000), (None, 800)))
        + _graduated(requests[index], ((10_000, 0), (100_000, 10_000), (None, 5_000)))
        + -(-requests[index] // 1_000) * 2_000_000
        for index in range(expected.customers)
    }


def _graduated(quantity: int, tiers: tuple[tuple[int | None, int], ...]) -> int:
    total, floor = 0, 0
    for up_to, price in tiers:
        ceiling = quantity if up_to is None else min(quantity, up_to)
        total += max(0, ceiling - floor) * price
        floor = max(floor, ceiling)
    return total


def customers_and_subscriptions(customers: int, round_number: int) -> dict[str, object]:
    """Everybody, and a subscription for each; every round of billing gets subscriptions of its own."""
    keys = [customer_key(index) for index in range(customers)]
    return {
        "customers": [
            {"key": key, "name": f"Customer {key[4:]}", "currency": "USD", "timezone": "UTC"} for key in keys
        ],
        "subscriptions": [
            {
                "key": f"{key}-payg-{round_number}",
                "customer": key,
                "plan": "payg",
                "start": START.isoformat(),
                "anchor": "calendar",
            }
            for key in keys
        ],
    }
