"""The demo's month: an LLM API's customers, price list and traffic, the same for the same seed.

The shape follows what is known of real inference services: very few clients make most of the
requests (the first four of a thousand about 53 %, the lower half 0.2 %), prompts have a median of
1,200 tokens and a 99th percentile of 7,400, answers 60 and 600. One event in a hundred is sent
twice, one in two hundred arrives days late, a few are broken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from farthing.kernel.instant import unix_microseconds

SEED = 20_240_229
EVENTS_PER_CHUNK = 5_000
DUPLICATE_SHARE = 0.01
LATE_SHARE = 0.005
BROKEN_EVENTS = 60

# Shares of requests by rank: a power law whose tail fades, fitted to the shape above.
_POWER, _FADING = 1.2, 180.0
_PROMPT_MEDIAN, _PROMPT_SPREAD = 1_200, 0.782
_ANSWER_MEDIAN, _ANSWER_SPREAD = 60, 0.99
# Calls by hour of the day, UTC.
_DAY = (2, 2, 2, 2, 2, 3, 4, 6, 8, 10, 11, 11, 10, 11, 12, 12, 11, 10, 8, 7, 6, 5, 4, 3)

MODELS = ("swift-2", "sage-2", "atlas-1")
_MODEL_SHARES = (0.62, 0.31, 0.07)
_INPUT_PRICES = ("0.00000015", "0.0000025", "0.000015")
_OUTPUT_PRICES = ("0.0000006", "0.00001", "0.000075")
_REQUEST_TIERS = ((10_000, "0"), (100_000, "0.0001"), (None, "0.00005"))
_PLATFORM_FEE = "5"

_FIRST = str.split(
    "Amber Birch Cedar Cobalt Copper Coral Delta Ember Falcon Fern Garnet Granite Harbor Hazel Indigo Iris Ivory "
    "Juniper Lark Linden Lunar Maple Meridian Mistral Nimbus Northern Ochre Onyx Opal Orchard Pine Quartz Raven "
    "Sable Saffron Sienna Solstice Tidal Umber Willow"
)
_SECOND = str.split(
    "Analytics Apps Bank Care Cloud Commerce Data Energy Foods Freight Games Health Insurance Labs Learning Legal "
    "Logistics Media Mobility Networks Retail Robotics Security Studios Travel"
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A month of calls, in the order of arrival.

    customer, model, prompt, answer, time_us: one entry for each event that is sent.
    number: which call the event is about; a repeated number is the same event sent again.
    """

    customer: npt.NDArray[np.int64]
    model: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int64]
    answer: npt.NDArray[np.int64]
    time_us: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    customers: int

    def __len__(self) -> int:
        return len(self.number)


def customer_key(index: int) -> str:
    """`cus-0001` is the first customer."""
    return f"cus-{index + 1:04d}"


def make_traffic(events: int, customers: int, start: datetime, end: datetime) -> Traffic:
    """So many events of so many customers between two moments."""
    rng = np.random.default_rng(SEED)
    repeats = int(events * DUPLICATE_SHARE)
    calls = events - repeats
    ranks = np.arange(1, customers + 1)
    shares = ranks**-_POWER * np.exp(-ranks / _FADING) + 2e-6
    customer = rng.choice(customers, size=calls, p=shares / shares.sum())
    customer[:customers] = np.arange(customers)  # everybody calls at least once
    time_us = np.sort(_moments(rng, calls, start, end))
    rng.shuffle(customer)
    model = rng.choice(len(MODELS), size=calls, p=_MODEL_SHARES)
    prompt = np.clip(rng.lognormal(np.log(_PROMPT_MEDIAN), _PROMPT_SPREAD, calls), 1, 200_000).astype(
        np.int64
    )
    answer = np.clip(rng.lognormal(np.log(_ANSWER_MEDIAN), _ANSWER_SPREAD, calls), 1, 8_000).astype(np.int64)

    # Arrival: in order of time, but the late ones come last and repeats some way behind their first.
    arrival = np.arange(calls, dtype=np.float64)
    late = rng.random(calls) < LATE_SHARE
    arrival[late] += calls
    again = rng.choice(calls, size=repeats, replace=False)
    sent = np.concatenate((np.arange(calls), again))
    arrival = np.concatenate((arrival, arrival[again] + rng.exponential(20_000, repeats) + 0.5))
    sent = sent[np.argsort(arrival, kind="stable")]
    return Traffic(customer[sent], model[sent], prompt[sent], answer[sent], time_us[sent], sent, customers)


def _moments(rng: np.random.Generator, count: int, start: datetime, end: datetime) -> npt.NDArray[np.int64]:
    first, last = unix_microseconds(start), unix_microseconds(end)
    hours = np.arange((last - first) // 3_600_000_000)
    weights = np.asarray(_DAY, dtype=np.float64)[hours % 24]
    hour = rng.choice(hours, size=count, p=weights / weights.sum())
    moments: npt.NDArray[np.int64] = first + hour * 3_600_000_000 + rng.integers(0, 3_600_000_000, count)
    return moments


def event_lines(traffic: Traffic) -> Iterator[tuple[bytes, int]]:
    """The events as NDJSON, in chunks of (lines, how many)."""
    moments = traffic.time_us.astype("datetime64[us]")
    for start in range(0, len(traffic), EVENTS_PER_CHUNK):
        part = slice(start, start + EVENTS_PER_CHUNK)
        rows = zip(
            traffic.number[part].tolist(),
            (traffic.customer[part] + 1).tolist(),
            np.datetime_as_string(moments[part]).tolist(),
            traffic.model[part].tolist(),
            traffic.prompt[part].tolist(),
            traffic.answer[part].tolist(),
            strict=True,
        )
        lines = [
            f'{{"specversion":"1.0","id":"call-{number * 2_654_435_761 % 2**40:010x}","source":"gateway-{number % 4}",'
            f'"type":"llm.completion","subject":"cus-{customer:04d}","time":"{moment}Z","data":{{"model":'
            f'"{MODELS[model]}","input_tokens":{prompt},"output_tokens":{answer},"status":"ok"}}}}'
            for number, customer, moment, model, prompt, answer in rows
        ]
        yield ("\n".join(lines) + "\n").encode(), len(lines)


def _broken(name: str, customer: str, tokens: str, time: str = "") -> bytes:
    whom = f'"id":"{name}-%d","source":"gateway-3","type":"llm.completion","subject":"{customer}",'
    data = f'"data":{{"model":"sage-2",{tokens}"output_tokens":5,"status":"ok"}}'
    return f'{{"specversion":"1.0",{whom}{time}{data}}}'.encode()


def broken_lines() -> bytes:
    """What real pipelines send besides events."""
    kinds = (
        b'{"specversion":"1.0","id":"broken-%d","source":"gateway-0","type":"llm.completion","data":{"model":"sage-2",',
        b'{"specversion":"1.0","id":"no-type-%d","source":"gateway-1","subject":"cus-0001"}',
        _broken("nan", "cus-0002", '"input_tokens":"NaN",'),
        _broken("huge", "cus-0003", '"input_tokens":1e1000000,'),
        _broken("no-tokens", "cus-0004", ""),
        _broken("future", "cus-0005", '"input_tokens":5,', '"time":"2199-01-01T00:00:00Z",'),
    )
    return b"".join(kinds[number % len(kinds)] % number + b"\n" for number in range(BROKEN_EVENTS))


def catalog(customers: int, start: datetime) -> dict[str, object]:
    """Meters, the plan, the customers and their subscriptions, as `farthing apply` takes them."""

    def meter(key: str, **more: object) -> dict[str, object]:
        ok = [{"field": "data.status", "op": "eq", "value": "ok"}]
        return {"key": key, "event_type": "llm.completion", "filter": ok, **more}

    model = {"model": "data.model"}
    return {
        "meters": [
            meter("input_tokens", aggregation="sum", value="data.input_tokens", dimensions=model),
            meter("output_tokens", aggregation="sum", value="data.output_tokens", dimensions=model),
            meter("requests", aggregation="count"),
        ],
        "plans": [_plan()],
        "customers": [
            {
                "key": customer_key(index),
                "name": f"{_FIRST[index % 40]} {_SECOND[(index // 40 + index) % 25]}",
                "currency": "USD",
                "timezone": "UTC",
            }
            for index in range(customers)
        ],
        "subscriptions": [
            {
                "key": f"{customer_key(index)}-payg",
                "customer": customer_key(index),
                "plan": "payg",
                "start": start.isoformat(),
                "anchor": "calendar",
            }
            for index in range(customers)
        ],
    }


def _plan() -> dict[str, object]:
    def by_model(prices: tuple[str, ...]) -> dict[str, object]:
        cells = [
            {"when": {"model": model}, "price": {"model": "per_unit", "unit_price": price}}
            for model, price in zip(MODELS, prices, strict=True)
        ]
        return {"model": "matrix", "dimensions": ["model"], "cells": cells}

    tiers = [
        {"unit_price": price} if up_to is None else {"up_to": str(up_to), "unit_price": price}
        for up_to, price in _REQUEST_TIERS
    ]
    return {
        "key": "payg",
        "name": "Pay as you go",
        "currency": "USD",
        "interval": "month",
        "rate_cards": [
            {
                "key": "input",
                "name": "Input tokens",
                "meter": "input_tokens",
                "price": by_model(_INPUT_PRICES),
            },
            {
                "key": "output",
                "name": "Output tokens",
                "meter": "output_tokens",
                "price": by_model(_OUTPUT_PRICES),
            },
            {
                "key": "requests",
                "name": "Requests",
                "meter": "requests",
                "price": {"model": "graduated", "tiers": tiers},
            },
            {
                "key": "platform",
                "name": "Platform fee",
                "price": {"model": "flat", "amount": _PLATFORM_FEE},
            },
        ],
    }


def expected_totals(traffic: Traffic) -> dict[str, Fraction]:
    """What each customer owes, worked out a second time from the generated calls: whole numbers and fractions only."""
    _, first = np.unique(traffic.number, return_index=True)
    groups = traffic.customer[first] * len(MODELS) + traffic.model[first]
    size = traffic.customers * len(MODELS)
    totals = {}
    for name, amounts in (("prompt", traffic.prompt[first]), ("answer", traffic.answer[first]), ("calls", 1)):
        sums = np.zeros(size, dtype=np.int64)
        np.add.at(sums, groups, amounts)
        totals[name] = sums.reshape(-1, len(MODELS))
    owed = {}
    for customer in range(traffic.customers):
        calls = int(totals["calls"][customer].sum())
        total = Fraction(_PLATFORM_FEE) + _tiered(calls)
        for model in range(len(MODELS)):
            total += int(totals["prompt"][customer, model]) * Fraction(_INPUT_PRICES[model])
            total += int(totals["answer"][customer, model]) * Fraction(_OUTPUT_PRICES[model])
        owed[customer_key(customer)] = total
    return owed


def _tiered(calls: int) -> Fraction:
    total, floor = Fraction(0), 0
    for up_to, price in _REQUEST_TIERS:
        ceiling = calls if up_to is None else min(calls, up_to)
        total += max(0, ceiling - floor) * Fraction(price)
        floor = ceiling
    return total
