"""The event store against the slow reference, on whatever a client may send and a meter may ask for.

Each example sends events through the door, the log and the sealer into segments, with some meters
there before and some only afterwards, and asks both for every meter in several ways.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from event_works import EventWorks, open_event_works
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from farthing.catalog.expression import Add, Expression, Literal, Mul, Path, Sub, expression_text, paths
from farthing.catalog.model import Aggregation, Meter
from farthing.catalog.service import all_meters, put_meter
from farthing.customers.service import create_customer
from farthing.db import Books
from farthing.db.tenants import create_tenant
from farthing.events.sealing.typed_columns import wanted_columns
from farthing.events.segments.rewrite import merge, rewrite
from farthing.events.store import books as store_books
from farthing.rating import Clock, Events
from farthing.rating.clock import Window as ClockWindow
from farthing.rating.needs import ALL_EVENTS
from farthing.usage import reference
from farthing.usage.billing_store import usage_columns
from farthing.usage.model import Detail, Span, UsageQuery, UsageRow, Window
from farthing.usage.service import billable_usage, prepare_usage, query_usage
from farthing.usage.store import spans_table, subjects

EXAMPLES = 15
EVENTS_MAX = 300
METERS_MAX = 14

# -------------------------------------------------------------------------------------------------
# What a client may write

ODD_NUMBERS = [
    "0", "-0", "-0.0", "1.50", "1e3", "25E-1", "1.5e+2", "0.000000000001", "0.00000012", "0.1234567890123",
    "0.30000000000000004", "999999999999.999999", "1000000000000", "999999999999999999.999999999999",
    "-999999999999999999.999999999999", "123456789012345678", "1234567890123456789", "12345678901234567890123",
    "1e18", "1e-13", "1e400", "1e-400", "1.0000000000000000000000", "9007199254740993", "-9007199254740993.5",
    '"12.5"', '"007"', '"1e3"', '"NaN"', '"Infinity"', '" 5"', '"5\\n"', '"0.30000000000000004"', '""', '"ten"',
    '"999999999999999999.999999999999"', '"123456789012345678.123456789012"', '"\\u0031"', '"1\\u0000"',
    "null", "true", "false", "[]", "[1]", "{}", '{"n":1}',
]  # fmt: skip
ORDINARY_TEXTS = ['"gpt-4o"', '"sonnet"', '"ok"', "200", "404", "true"]
ODD_TEXTS = [
    '""', '" "', '"ok "', '"OK"', '"é"', '"e\u0301"', '"\\u00e9"', '"\u0301ok"', '"日本"', '"👩\u200d👩\u200d👧"',
    '"\\"quoted\\""', '"back\\\\slash"', '"\\u0000"', '"a\\u0000b"', '"it\'s"', '"%_"', '"\\t"', '"$1"',
    '",\\"data\\":{\\"n\\":5}}"', '"x,\\"data\\":"', '"1.10"', "1.10", "1.1", "1.0", "1.00", "1", "-0", "0",
    "1e2", "100", "100.0", "0.00000012", "9007199254740993", "123456789012345678901234567890", "1e400",
    "null", "false", "[]", '[ 1.50, "a" ]', '{ "b" : 1.10, "b" : 2 }', '"[1]"', '"{}"', '"null"',
]  # fmt: skip
MOMENTS = [
    "2026-03-29T00:59:59.999999Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00",  # Berlin springs forward
    "2026-10-25T00:30:00Z", "2026-10-25T02:30:00+01:00", "2026-10-25T01:00:00Z",  # and falls back
    "2026-04-04T14:59:59.999999Z", "2026-04-04T15:00:00Z", "2026-04-05T01:45:00+10:30",  # Lord Howe, half an hour
    "2026-10-31T18:29:59.999999Z", "2026-11-01T00:00:00+05:30", "2026-10-31T18:30:00Z",  # midnight in Kolkata
    "2026-10-31T23:59:59.999999Z", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00.000001Z",
    "2026-11-20T07:59:59.5-08:00", "2026-11-20T17:45:00+05:45",
]  # fmt: skip
INSTANTS = [datetime.fromisoformat(moment).astimezone(UTC) for moment in MOMENTS]
SUBJECTS = ['"acme"', '"acme"', '"key-7"', '"émile"', '"\\"\\\\"', '"nobody"', "null"]
TYPES = ["call", "call", "call", "Call"]
TAILS = ["", "", "é", "\\u0000", '\\"', "\\\\", ',\\"data\\":', "👩\u200d👧", "\u0301"]
SPACES = ["", "", "", " ", "\t", " \r "]


class Client:
    """Writes events, mostly decent ones."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def event(self, number: int) -> str:
        random = self._random
        attributes = [
            f'"id":"{number}{random.choice(TAILS)}"',
            f'"source":"s{random.choice(TAILS)}"',
            f'"type":"{random.choice(TYPES)}"',
            f'"subject":{random.choice(SUBJECTS)}',
            f'"data":{self._data() if random.random() < 0.97 else random.choice(["null", "5", "[1]"])}',
        ]
        if random.random() < 0.95:
            attributes.append(f'"time":"{self._moment()}"')
        return "{" + ",".join(random.sample(attributes, len(attributes))) + "}"

    def _moment(self) -> str:
        if self._random.random() < 0.5:
            return self._random.choice(MOMENTS)
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self._random.randrange(260 * 86_400))
        return (moment + timedelta(microseconds=self._random.randrange(1_000_000))).isoformat()

    def _data(self) -> str:
        deep = self._object({"n": self._number, "m": self._text})
        return self._object(
            {
                "n": self._number,
                "N": self._number,
                "m": self._text,
                "M": self._text,
                "deep": lambda: deep,
                "other": self._number,
            }
        )

    def _object(self, members: Mapping[str, Callable[[], str]]) -> str:
        """These members in any order, now and then without one of them, or with one twice."""
        random, space = self._random, self._random.choice(SPACES)
        names = [name for name in members for _ in range(random.choices([1, 0, 2], [90, 5, 5])[0])]
        random.shuffle(names)
        parts = [f'{space}"{name}"{space}:{space}{members[name]()}{space}' for name in names]
        return "{" + ",".join(parts) + "}"

    def _number(self) -> str:
        random = self._random
        match random.randrange(10):
            case 0:
                return random.choice(ODD_NUMBERS)
            case 1:
                return f'"{random.randrange(-1000, 1000)}.{random.randrange(10**6):06}"'
            case 2 | 3:
                return f"{random.randrange(-1000, 10**6)}.{random.randrange(100):02}"
            case _:
                return str(random.randrange(-1000, 10**6))

    def _text(self) -> str:
        return self._random.choice(ORDINARY_TEXTS if self._random.random() < 0.6 else ODD_TEXTS)


# -------------------------------------------------------------------------------------------------
# What may be asked

NUMBER_PATHS = ["data.n", "data.N", "data.deep.n"]
ALL_PATHS = [*NUMBER_PATHS, "data.m", "data.M", "data.deep.m", "data.deep", "data.absent"]
LITERALS = ["4", "-0.5", "0", "0.000001", "999999999999.999999"]
COMPARANDS = ["ok", "gpt-4o", "é", "", "true", "1.10", "1.1", '"quoted"', "[]", 200, 1, Decimal("1.10"), True]
BOUNDS = [
    0,
    1,
    -5,
    Decimal("0.000000000001"),
    "1e20",
    "123456789012345678901.12345678901234567",
    Decimal("1e-18"),
    500,
]
EVENTS_TOLD = [Events.NONE, Events.FIRST, Events.EVERY]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"]


class Seller:
    """Defines meters and asks for usage."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def meter(self, key: str) -> dict[str, Any]:
        random = self._random
        aggregation = random.choice(list(Aggregation))
        definition: dict[str, Any] = {
            "key": key,
            "event_type": random.choice(TYPES),
            "aggregation": aggregation.value,
            "dimensions": {
                name: random.choice(ALL_PATHS) for name in random.sample(["a", "B", "c"], random.randrange(4))
            },
            "filter": [self._condition() for _ in range(random.choice([0, 0, 0, 1, 2]))],
        }
        if aggregation is Aggregation.UNIQUE:
            definition["value"] = random.choice(ALL_PATHS)
        elif aggregation is not Aggregation.COUNT:
            definition["value"] = self._value()
        return definition

    def _value(self) -> str:
        while not paths(tree := self._expression(self._random.choice([0, 0, 1, 2, 3]))):
            pass
        return expression_text(tree)

    def _expression(self, depth: int) -> Expression:
        random = self._random
        if not depth:
            if random.random() < 0.7:
                return Path(random.choice(NUMBER_PATHS))
            return Literal(Decimal(random.choice(LITERALS)))
        return random.choice([Add, Sub, Mul])(
            self._expression(depth - 1), self._expression(random.randrange(depth))
        )

    def _condition(self) -> dict[str, Any]:
        random = self._random
        op = random.choice(["eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "exists"])
        value: Any
        match op:
            case "eq" | "ne":
                value = random.choice(COMPARANDS)
            case "in" | "not_in":
                value = random.sample(COMPARANDS, 3)
            case "exists":
                value = random.random() < 0.5
            case _:
                value = random.choice(BOUNDS)
        return {"field": random.choice(ALL_PATHS), "op": op, "value": value}

    def period(self) -> tuple[datetime, datetime]:
        if self._random.random() < 0.6:
            return datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
        one, other = self._random.choice(INSTANTS), self._random.choice(INSTANTS)
        return min(one, other), max(one, other) + timedelta(microseconds=1)

    def question(self, meter: Meter) -> UsageQuery:
        random = self._random
        names = ["customer", "subject", "source", *(name for name, _ in meter.dimensions)]
        start, end = self.period()
        window = random.choice([None, *Window])
        if window is Window.MINUTE:  # No more windows than a query may span.
            start = max(start, end - timedelta(days=34))
        filters = {random.choice(names[1:]): random.choice(["ok", "200", "1.10", "acme", "s", "é"])}
        return UsageQuery(
            meter=meter.key,
            start=start,
            end=end,
            customer=random.choice([None, None, None, "acme", "émile"]),
            group_by=tuple(random.sample(names, min(len(names), random.randrange(4)))),
            window=window,
            timezone=random.choice(ZONES),
            filter=filters if random.random() < 0.2 else None,
        )

    def detail(self, meter: Meter) -> Detail:
        """By some dimensions, by the windows of up to two clocks, and with the events that are summed."""
        random = self._random
        names = [name for name, _ in meter.dimensions]
        dimensions = tuple(random.sample(names, random.randrange(len(names) + 1)))
        clocks = tuple(self._clock(f"clock {number}") for number in range(random.choice([0, 1, 1, 2])))
        if meter.aggregation is not Aggregation.SUM:
            return Detail(dimensions, clocks)
        first = random.choice([0, 0, 1, 7, ALL_EVENTS])
        amount = random.choice(["0", "0", "1000", "0.0000000000001", "1e20"])
        return Detail(dimensions, clocks, random.choice(EVENTS_TOLD), first, Decimal(amount))

    def _clock(self, name: str) -> Clock:
        """Windows of which some begin or end when something happens, and some cross midnight."""
        random = self._random
        edges = [0, 2 * 3600, 3 * 3600, 5 * 3600 + 1800, 8 * 3600, 86_399]
        windows = []
        for number in range(random.randrange(4)):
            start, end = random.sample(edges, 2)
            days = tuple(sorted(random.sample(range(1, 8), random.randint(1, 7))))
            windows.append(ClockWindow(f"window {number // 2}", days, start, end or 86_400))
        return Clock(name, random.choice(ZONES), tuple(windows))


# -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def works(books: Books, session_now: datetime) -> Iterator[EventWorks]:
    with open_event_works(books, session_now) as works:
        yield works


CUSTOMERS = {"acme": ["key-7"], "émile": ['"\\']}


class World:
    """One tenant with its customers, and the events that the reference counts."""

    def __init__(self, works: EventWorks) -> None:
        self.works = works
        self.tenant_id = create_tenant(works.books, uuid.uuid4().hex, "Conformance", works.now)
        self.ids: dict[str, int] = {}
        self.keys: dict[str, str] = {}
        for key, aliases in CUSTOMERS.items():
            content = {"key": key, "name": key, "currency": "EUR", "aliases": aliases}
            customer, _ = create_customer(works.books, self.tenant_id, content, works.now)
            for subject in (key, *aliases):
                self.ids[subject], self.keys[subject] = customer.customer_id, key
        self.counted: list[dict[str, Any]] = []

    def define(self, definitions: Sequence[dict[str, Any]]) -> list[Meter]:
        return [put_meter(self.works.books, self.tenant_id, raw, self.works.now)[0] for raw in definitions]

    def send(self, bodies: Sequence[Sequence[str]], meters: Sequence[Meter]) -> None:
        faulty = 0
        for place, body in enumerate(bodies):
            received_at = self.works.now - timedelta(seconds=place)
            assert self.works.append(self.tenant_id, body, received_at=received_at).rejected == ()
            for line in body:
                event = reference.decode_event(line, received_at)
                if all(reference.usable(meter, event) for meter in meters):
                    self.counted.append(event)
                else:
                    faulty += 1
            self.works.seal()
        tally = self.works.tally(self.tenant_id)
        assert (tally["counted"], tally["duplicate"], tally["quarantined"]) == (len(self.counted), 0, faulty)

    def compare(self, meter: Meter, query: UsageQuery) -> None:
        works = self.works
        answer = query_usage(works.books, works.store, self.tenant_id, query, works.now)
        expected = reference.usage_groups(self.counted, meter, query, self.keys)
        assert sorted(map(repr, map(comparable, answer))) == sorted(map(repr, map(comparable, expected)))

    def compare_spans(self, meter: Meter, detail: Detail, spans: Sequence[Span]) -> None:
        works = self.works
        prepare_usage(works.books, works.store, self.tenant_id, works.now)
        with works.books.read_only(self.tenant_id) as conn:
            answer = list(billable_usage(works.store, conn, self.tenant_id, meter, detail, spans))
        assert [row.span_id for row in answer] == sorted(row.span_id for row in answer)
        expected = reference.usage_by_span(self.counted, meter, detail, spans, self.ids)
        assert sorted(map(repr, map(comparable, answer))) == sorted(map(repr, map(comparable, expected)))
        if (
            detail.events is Events.NONE
            and meter.aggregation in (Aggregation.SUM, Aggregation.COUNT)
            and spans
        ):
            self.compare_columns(meter, detail, spans)

    def compare_columns(self, meter: Meter, detail: Detail, spans: Sequence[Span]) -> None:
        """The same in columns; and of spans that hold all events, summed up by subject first."""
        times = [event["time"] for event in self.counted] or [self.works.now]
        first, behind = min(times), max(times) + timedelta(microseconds=1)
        everything = [replace(span, start=first, end=behind) for span in spans]
        for asked, covering in ((spans, False), (everything, False), (everything, True)):
            with self.works.books.read_only(self.tenant_id) as conn:
                segments = [
                    one
                    for one in store_books.segments(conn, self.tenant_id, with_voids=True)
                    if meter.event_type in one.event_types
                ]
                known = subjects(conn, self.tenant_id)
            start, end = min(span.start for span in asked), max(span.end for span in asked)
            expected = reference.usage_by_span(self.counted, meter, detail, asked, self.ids)
            if not segments:
                assert expected == []
                continue
            table = usage_columns(
                self.works.store,
                segments,
                known,
                meter,
                detail,
                spans_table(asked),
                start,
                end,
                covering=covering,
            )
            assert table.column("span_id").to_pylist() == sorted(table.column("span_id").to_pylist())
            answer = [
                UsageRow(
                    row["span_id"],
                    {name: row[name] for name in detail.names if row[name] is not None},
                    Decimal(row["quantity"]),
                    row["events"],
                )
                for row in table.to_pylist()
            ]
            assert sorted(map(repr, map(comparable, answer))) == sorted(map(repr, map(comparable, expected)))

    def compact(self) -> None:
        works = self.works
        if old := works.segments(self.tenant_id):
            wanted = wanted_columns(all_meters(works.books, self.tenant_id))
            assert rewrite(works.books, works.store, self.tenant_id, old, wanted, works.now)
            assert len(works.segments(self.tenant_id)) == 1

    def merge(self) -> None:
        """Sorted files that are cut between subjects, as many as there are keys to cut at."""
        works = self.works
        if old := works.segments(self.tenant_id):
            assert merge(works.books, works.store, self.tenant_id, old, works.now, events_per_file=7)
            assert {one.merge_id for one in works.segments(self.tenant_id)} != {None}


def comparable(row: Any) -> tuple[Any, ...]:
    """A row with its quantity as a value: 1.0 and 1 are the same quantity."""
    group = row.group if hasattr(row, "group") else row.dimensions
    place = (
        row.window_start.isoformat() if getattr(row, "window_start", None) else getattr(row, "span_id", None)
    )
    assert type(row.quantity) is Decimal
    runs = [(run.value.as_integer_ratio(), run.count) for run in getattr(row, "runs", ())]
    return sorted(group.items()), place, row.quantity.as_integer_ratio(), row.events, runs


# Not shrunk, which would take minutes: the seed and a smaller number of events show the same.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    seed=st.integers(0, 2**32),
    events=st.integers(1, EVENTS_MAX),
    meters=st.integers(1, METERS_MAX),
    early=st.integers(0, 4),
)
@example(seed=1, events=EVENTS_MAX, meters=METERS_MAX, early=2)
def test_the_store_answers_what_the_reference_answers(
    works: EventWorks, seed: int, events: int, meters: int, early: int
) -> None:
    client, seller = Client(Random(seed)), Seller(Random(seed + 1))
    world = World(works)
    definitions = [seller.meter(f"m{number}") for number in range(meters)]
    standing = world.define(definitions[:early])
    written = [client.event(number) for number in range(events)]
    world.send([part for part in (written[0::2], written[1::2]) if part], standing)
    standing += world.define(definitions[early:])
    for change in (None, world.merge, world.compact, world.merge):
        if change:
            change()
        for meter in standing:
            world.compare(meter, seller.question(meter))
            spans = [
                Span(number, world.ids[customer], *seller.period())
                for number, customer in enumerate(("acme", "acme", "émile"))
            ]
            world.compare_spans(meter, seller.detail(meter), spans)
    works.check(world.tenant_id)


def test_each_odd_value_is_read_as_the_reference_reads_it(works: EventWorks) -> None:
    """Every one of them, behind every kind of white space, as a number and as a text, sealed before and after."""
    world = World(works)
    values = sorted({*ODD_NUMBERS, *ODD_TEXTS, *ORDINARY_TEXTS})
    sent = [
        f'{{"id":"{place}","source":"{place}","type":"call","data":{{"a":{space}[0],"v":{space}{value}{space}}}}}'
        for place, (value, space) in enumerate(
            (value, space) for value in values for space in sorted({*SPACES})
        )
    ]
    unmetered = [text.replace('"type":"call"', '"type":"later"') for text in sent]
    standing = world.define(_metering("call", "early"))
    world.send([sent, [text.replace('"id":"', '"id":"later ') for text in unmetered]], standing)
    everything = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2027, 1, 1, tzinfo=UTC)}
    for meter in standing + world.define(_metering("later", "late")):
        names = ("source", *(name for name, _ in meter.dimensions))
        world.compare(meter, UsageQuery(meter.key, group_by=names, **everything))
        if meter.value is not None:
            world.compare(meter, UsageQuery(meter.key, **everything))
    works.check(world.tenant_id)


def _metering(event_type: str, key: str) -> list[dict[str, Any]]:
    """Meters that take `data.v` as a number, as a text, as a factor, and that compare it in every way."""
    of = {"event_type": event_type}
    if key == "early":  # One that needs a number would leave the others nothing else.
        takes = [{"aggregation": "unique", "value": "data.v"}]
    else:
        expressions = [
            "data.v",
            "data.v * data.v",
            "data.v + 0.5 - data.v",
            "(data.v + 1) * 0.000001 * data.v",
        ]
        takes = [{"aggregation": "sum", "value": value} for value in expressions]
        takes += [{"aggregation": "unique", "value": "data.v"}, {"aggregation": "max", "value": "data.v"}]
    metering = [{"key": f"{key}{place}", **of, **take} for place, take in enumerate(takes)]
    metering.append({"key": f"{key}-dimension", **of, "aggregation": "count", "dimensions": {"v": "data.v"}})
    comparisons = [(op, value) for op in ("gt", "gte", "lt", "lte") for value in BOUNDS]
    comparisons += [(op, value) for op in ("eq", "ne") for value in COMPARANDS]
    comparisons += [("in", COMPARANDS), ("not_in", COMPARANDS), ("exists", True), ("exists", False)]
    for place, (op, value) in enumerate(comparisons):
        condition = {"field": "data.v", "op": op, "value": value}
        metering.append({"key": f"{key}-{place}", **of, "aggregation": "count", "filter": [condition]})
    return metering


@pytest.mark.parametrize("written", ["25E-1", "25e-1", '"2.5"', "2.5", "2.50", "2.5E0"])
def test_the_only_fraction_of_a_segment_is_kept_however_it_is_written(
    works: EventWorks, written: str
) -> None:
    world = World(works)
    (meter,) = world.define([{"key": "m", "event_type": "call", "aggregation": "sum", "value": "data.n"}])
    for n in ("7", written):  # a segment each
        world.send([[f'{{"id":"{len(n)}","source":"s","type":"call","data":{{"n":{n}}}}}']], [meter])
    query = UsageQuery("m", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    world.compare(meter, query)
    (group,) = query_usage(works.books, works.store, world.tenant_id, query, works.now)
    assert group.quantity == Decimal("9.5")
