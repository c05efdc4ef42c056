"""What the clients send: events of a seeded random kind, each as the line that crosses the wire.

    new       a call with its tokens: most of them
    again     the same line as before, after a time-out or just so
    conflict  an id that was sent before, with other tokens
    corrects  takes an event away that was sent before, or takes its place
    faulty    too old, too far ahead, or without tokens: accepted, and quarantined
    broken    no event at all: refused (by HTTP) or quarantined (from a file)

Months follow one another as months of 2020 and later, so that they can be billed while events keep coming.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

TENANTS = ("default", "second")
SUBJECTS = ("acme", "key-7", "globex", "stranger")
CUSTOMER_OF = {"acme": "acme", "key-7": "acme", "globex": "globex"}
PRICE_OF_CALL, PRICE_OF_TOKEN = Decimal("0.001"), Decimal("0.01")
"""As in the plan below."""
MODELS = ("small", "large")
SOURCES = ("gateway", "batch")
FIRST_YEAR = 2020
METERED = "api.call"
UNMETERED = "api.ping"
VOID = "farthing.void"

CATALOG = """
meters:
  - {key: calls, event_type: api.call, aggregation: count}
  - {key: tokens, event_type: api.call, aggregation: sum, value: data.tokens, dimensions: {model: data.model}}
plans:
  - key: payg
    name: Pay as you go
    currency: USD
    interval: month
    rate_cards:
      - {key: calls, name: Calls, meter: calls, price: {model: per_unit, unit_price: "0.001"}}
      - {key: tokens, name: Tokens, meter: tokens, price: {model: per_unit, unit_price: "0.01"}}
customers:
  - {key: acme, name: Acme Inc., currency: USD, timezone: UTC, aliases: [key-7]}
  - {key: globex, name: Globex, currency: USD, timezone: UTC}
subscriptions:
  - {key: acme-payg, customer: acme, plan: payg, start: 2020-01-01T00:00:00Z, anchor: calendar}
  - {key: globex-payg, customer: globex, plan: payg, start: 2020-01-01T00:00:00Z, anchor: calendar}
"""


def month_start(month: int) -> datetime:
    """The first instant of a month, counted from January 2020 as 0."""
    return datetime(FIRST_YEAR + month // 12, month % 12 + 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One event before it is a line."""

    source: str
    id: str
    type: str
    subject: str
    time: str | None
    tokens: str | None
    model: str
    corrects: tuple[str, str] | None = None
    """Source and id of the event that it corrects."""

    def line(self) -> str:
        """As it is sent. Tokens keep the spelling that they were drawn with."""
        parts = [f'"id":{json.dumps(self.id)},"source":{json.dumps(self.source)}']
        parts.append(
            f'"type":{json.dumps(self.type)},"specversion":"1.0","subject":{json.dumps(self.subject)}'
        )
        if self.time is not None:
            parts.append(f'"time":"{self.time}"')
        if self.corrects is not None:
            source, event_id = self.corrects
            parts.append(f'"corrects":{json.dumps(event_id)}')
            if source != self.source:
                parts.append(f'"correctssource":{json.dumps(source)}')
        tokens = "" if self.tokens is None else f'"tokens":{self.tokens},'
        parts.append(f'"data":{{{tokens}"model":"{self.model}"}}')
        return "{" + ",".join(parts) + "}"


def new_call(random: Random, event_id: str, month: int) -> Call:
    """An event that counts, in this month or, now and then, in the one before."""
    start = month_start(max(0, month - (random.random() < 0.03)))
    at = start + timedelta(seconds=random.randrange(27 * 86_400), microseconds=random.choice((0, 250_000)))
    return Call(
        source=random.choice(SOURCES),
        id=event_id,
        type=METERED if random.random() < 0.95 else UNMETERED,
        subject=random.choice(SUBJECTS),
        time=None if random.random() < 0.03 else at.isoformat().replace("+00:00", "Z"),
        tokens=_tokens(random),
        model=random.choice(MODELS),
    )


def faulty_call(random: Random, event_id: str, month: int) -> Call:
    """An event that the door takes and the sealer sets aside."""
    call = new_call(random, event_id, month)
    time, tokens = random.choice(
        [("1970-01-01T00:00:00Z", call.tokens), ("2199-01-01T00:00:00Z", call.tokens), (call.time, None)]
    )
    return Call(call.source, call.id, METERED, call.subject, time, tokens, call.model)


def correcting(random: Random, event_id: str, month: int, line: str) -> Call:
    """A void of the event in another line, or what takes its place."""
    event = json.loads(line)
    call = replace(new_call(random, event_id, month), corrects=(event["source"], event["id"]))
    if random.random() < 0.5:
        return replace(call, type=VOID, tokens=None)
    return replace(call, type=METERED)


def conflicting(random: Random, line: str) -> str:
    """A line with the identity of another, that says something else."""
    event = json.loads(line)
    other = Call(
        event["source"],
        event["id"],
        METERED,
        event["subject"],
        event.get("time"),
        _tokens(random, least=2000),
        MODELS[0],
    )
    return other.line()


def broken_line(random: Random) -> str:
    """What is no event."""
    return random.choice(
        [
            '{"id":"half","source":"gateway","type":"api.call","da',
            f'{{"source":"gateway","type":"api.call","data":{{"n":{random.randrange(1000)}}}}}',
            "nonsense",
        ]
    )


def _tokens(random: Random, least: int = 1) -> str:
    whole = random.randrange(least, 5000)
    match random.randrange(10):
        case 0:
            return f'"{whole}"'
        case 1 | 2:
            return f"{whole}.{random.randrange(1, 10**6):06d}"
        case _:
            return str(whole)
