"""The clients: a process of its own that sends events over HTTP and keeps journals of what it was told.

`python -m tests.crash.client` reads one JSON line for each order on standard input and answers each
with a line on standard output. It lives as long as its standard input.

    {"do": "run", "month": 3}       go on sending (the first one also has journals, port, keys, seed, clients, corrects)
    {"do": "pause"}                 finish what is under way; the answer comes when nothing is
    {"do": "await", "after": 12.3}  the answer comes at the first acknowledgement of what was sent after that
"""

import gzip
import http.client
import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.crash import traffic
from tests.crash.journal import ACCEPTED, NO_ANSWER, Journal

ANSWER_SECONDS_MAX = 20.0
EVENTS_MAX = 12
PACE_SECONDS = 0.2
"""Between two requests of one client, at most; on average half of it,"""
IDLE_SHARE = 3
"""and so many times as long as the last request took: a busy machine is for the faults, not for more traffic."""
PAUSE_SECONDS_MAX = 1.0
KEPT_SECONDS = 0.5
"""A connection that was idle for longer is not used again, as HTTP clients do: a server that stops closes it then."""
REMEMBERED = 200
AWAIT_SECONDS_MAX = 180.0


@dataclass
class _Shared:
    """What all clients of the process know."""

    port: int
    keys: dict[str, str]
    corrects: bool
    """Whether they correct what was sent."""
    month: int = 0
    paused: bool = True
    busy: int = 0
    last_acknowledged: float = 0.0
    """When the request was sent that was acknowledged last."""
    statuses: Counter[str] = field(default_factory=Counter)
    change: threading.Condition = field(default_factory=threading.Condition)
    sent: dict[str, deque[str]] = field(default_factory=dict)
    doubtful: dict[str, deque[str]] = field(default_factory=dict)
    corrected: set[tuple[str, str, str]] = field(default_factory=set)
    """Tenant, source and id of events that a correction was made of: one of each."""


class _Client:
    """One of them, with its own connection and its own journal."""

    def __init__(self, shared: _Shared, journals: Path, name: str, seed: str) -> None:
        self._shared = shared
        self._name = name
        self._random = Random(seed)
        self._journal = Journal(journals / f"{name}.ndjson")
        self._connection = self._connected()
        self._answered = 0.0
        self._requests = 0
        self._events = 0

    def run(self) -> None:
        """Send one request after another, for ever."""
        shared = self._shared
        while True:
            with shared.change:
                shared.change.wait_for(lambda: not shared.paused)
                shared.busy += 1
            began = time.monotonic()
            try:
                self._send()
            finally:
                pause = self._random.random() * PACE_SECONDS + IDLE_SHARE * (time.monotonic() - began)
                with shared.change:
                    shared.busy -= 1
                    shared.change.notify_all()
                    shared.change.wait_for(lambda: shared.paused, min(pause, PAUSE_SECONDS_MAX))

    def _send(self) -> None:
        tenant = traffic.TENANTS[0] if self._random.random() < 0.8 else traffic.TENANTS[1]
        lines = self._lines(tenant)
        self._requests += 1
        sent_at = time.monotonic()
        self._journal.write({"n": self._requests, "tenant": tenant, "lines": lines, "at": sent_at})
        status, refused, code = self._exchange(tenant, lines)
        self._journal.write(
            {"n": self._requests, "status": status, "refused": refused, "at": time.monotonic()}
        )
        with self._shared.change:
            self._shared.statuses[code or str(status)] += 1
            if status == ACCEPTED:
                self._shared.last_acknowledged = max(self._shared.last_acknowledged, sent_at)
                self._shared.change.notify_all()
            elif status == NO_ANSWER or status >= 500:
                self._shared.doubtful[tenant].extend(lines)
            self._shared.sent[tenant].extend(lines)

    def _lines(self, tenant: str) -> list[str]:
        random, shared = self._random, self._shared
        with shared.change:
            doubtful, sent = shared.doubtful[tenant], shared.sent[tenant]
            lines = [doubtful.popleft() for _ in range(min(len(doubtful), EVENTS_MAX))]
            if random.random() < 0.25 and sent:
                lines += random.sample(list(sent), min(len(sent), random.randint(1, EVENTS_MAX)))
            if random.random() < 0.05 and sent:
                source = random.choice(list(sent))
                if source.startswith('{"id"') and '"tokens"' in source:
                    lines.append(traffic.conflicting(random, source))
            if shared.corrects and random.random() < 0.15 and sent:
                lines += self._corrections(tenant, random.choice(list(sent)))
        for _ in range(random.randint(0 if lines else 1, EVENTS_MAX)):
            self._events += 1
            event_id = f"{self._name}-{self._events}"
            make = traffic.new_call if random.random() < 0.97 else traffic.faulty_call
            lines.append(make(random, event_id, shared.month).line())
        if random.random() < 0.02:
            lines.append(traffic.broken_line(random))
        random.shuffle(lines)
        return lines

    def _corrections(self, tenant: str, line: str) -> list[str]:
        """A correction of the event in a line, if there is one and it has none."""
        if not line.startswith('{"id"') or not line.endswith("}") or '"corrects"' in line:
            return []
        event = json.loads(line)
        known = (tenant, event["source"], event["id"])
        if known in self._shared.corrected:
            return []
        self._shared.corrected.add(known)
        self._events += 1
        event_id = f"{self._name}-{self._events}"
        return [traffic.correcting(self._random, event_id, self._shared.month, line).line()]

    def _exchange(self, tenant: str, lines: Sequence[str]) -> tuple[int, list[int], str | None]:
        """Status, places of refused events, and the code of a problem. A lost connection is no answer."""
        body, headers = self._body(lines)
        headers["authorization"] = f"Bearer {self._shared.keys[tenant]}"
        if time.monotonic() - self._answered > KEPT_SECONDS:
            self._connection.close()
        try:
            self._connection.request("POST", "/v1/events", body, headers)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            self._connection = self._connected()
            return NO_ANSWER, [], f"none: {type(error).__name__}"
        self._answered = time.monotonic()
        if self._random.random() < 0.05:
            self._connection.close()
        if response.status != ACCEPTED:
            return response.status, [], f"{response.status} {answer.get('code')}"
        refused = [place for place, one in enumerate(answer["outcomes"]) if one["status"] == "rejected"]
        return ACCEPTED, refused, None

    def _body(self, lines: Sequence[str]) -> tuple[bytes, dict[str, str]]:
        kind = self._random.random()
        broken = any(not line.startswith('{"id"') or not line.endswith("}") for line in lines)
        if len(lines) == 1 and kind < 0.5 and not broken:
            return lines[0].encode(), {"content-type": "application/cloudevents+json"}
        if kind < 0.3 and not broken:
            return f"[{','.join(lines)}]".encode(), {"content-type": "application/cloudevents-batch+json"}
        text = "\n".join(lines).encode() + b"\n"
        headers = {"content-type": "application/x-ndjson"}
        if kind < 0.5:
            return gzip.compress(text), headers | {"content-encoding": "gzip"}
        return text, headers

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._shared.port, timeout=ANSWER_SECONDS_MAX)


def main() -> None:
    """Take orders until standard input ends."""
    if not (order := sys.stdin.readline()):
        return  # it was not needed
    first = json.loads(order)
    shared = _Shared(first["port"], first["keys"], first["corrects"])
    for tenant in traffic.TENANTS:
        shared.sent[tenant] = deque(maxlen=REMEMBERED)
        shared.doubtful[tenant] = deque()
    for number in range(first["clients"]):
        name = f"{first['name']}-{number}"
        client = _Client(shared, Path(first["journals"]), name, f"{first['seed']}/{name}")
        threading.Thread(target=client.run, name=name, daemon=True).start()
    _obey(shared, first)
    for line in sys.stdin:
        _obey(shared, json.loads(line))
    os._exit(0)


def _obey(shared: _Shared, order: dict[str, Any]) -> None:
    answer: dict[str, Any] = {"done": order["do"]}
    with shared.change:
        match order["do"]:
            case "run":
                shared.month = order["month"]
                shared.paused = False
                shared.change.notify_all()
            case "pause":
                shared.paused = True
                shared.change.notify_all()
                shared.change.wait_for(lambda: shared.busy == 0)
            case "await":
                answer["acknowledged"] = shared.change.wait_for(
                    lambda: shared.last_acknowledged > order["after"], AWAIT_SECONDS_MAX
                )
        answer |= {"at": time.monotonic(), "statuses": dict(shared.statuses)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
