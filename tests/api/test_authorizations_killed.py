"""64 clients on one wallet, of a real server that is killed in the middle: nothing is overspent, lost or doubled.

After every round the books are looked at from outside: law 10 holds for each grant, what is held and settled of it is
what authorisations say, and every settlement that was answered is one whose event is counted once.
"""

import http.client
import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

from serving import until
from whole_server import Served

from farthing.customers.apply import apply
from farthing.db import open_books
from farthing.kernel.quantity import exact
from farthing.wallets.holds.checks import check_holds
from farthing.wallets.service import create_grant, create_wallet

CLIENTS = 64
SETTLED_AT_KILL = (1, 40, 300)
"""How many calls are settled when the server of each round is killed."""
PRICE = Decimal("0.001")
FUNDS = Decimal(40)
DOCUMENT = {
    "meters": [
        {"key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "data.tokens"},
        {"key": "calls", "event_type": "llm", "aggregation": "count"},
    ],
    "plans": [{
        "key": "payg", "name": "Payg", "currency": "USD", "interval": "year",
        "rate_cards": [{
            "key": "tokens", "name": "Tokens", "meter": "tokens",
            "price": {"model": "per_unit", "unit_price": str(PRICE)},
        }],
    }],
    "customers": [{"key": "acme", "name": "Acme", "currency": "USD"}],
    "subscriptions": [{"key": "s", "customer": "acme", "plan": "payg", "start": "2024-01-01T00:00:00Z"}],
}  # fmt: skip


class Clients:
    """Each authorises a call, then settles or releases it, and remembers what it was answered."""

    def __init__(self, port: int, key: str, number: int) -> None:
        self.settled: dict[str, int] = {}
        self.refused = 0
        self.odd: list[tuple[int, str]] = []
        self._port, self._key, self._round = port, key, number
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def until_settled(self, calls: int) -> None:
        until(lambda: len(self.settled) >= calls)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        random = Random(number)
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)) as connection:
            call = 0
            while not self._stop.is_set():
                call += 1
                try:
                    self._call(connection, f"r{self._round}-{number}-{call}", random)
                except (OSError, http.client.HTTPException):
                    return

    def _call(self, connection: http.client.HTTPConnection, name: str, random: Random) -> None:
        bound = random.randint(1, 200)
        usage = [{"meter": "tokens", "quantity": str(bound)}]
        body = {"customer": "acme", "key": name, "usage": usage, "ttl_seconds": 5}
        status = self._post(connection, "/v1/authorizations", body)
        if status == 402:
            self.refused += 1
        if status not in (200, 201) or random.random() < 0.05:  # Some forget: it expires.
            return
        if random.random() < 0.2:
            self._post(connection, f"/v1/authorizations/{name}/release", None)
            return
        tokens = random.randint(0, bound)
        event = {
            "specversion": "1.0", "id": name, "source": "t", "type": "llm", "subject": "acme",
            "data": {"tokens": tokens},
        }  # fmt: skip
        if self._post(connection, f"/v1/authorizations/{name}/settle", {"event": event}) == 200:
            self.settled[name] = tokens

    def _post(self, connection: http.client.HTTPConnection, path: str, body: object) -> int:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        connection.request("POST", path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        if response.status not in (200, 201, 402, 503):
            self.odd.append((response.status, text.decode()))
        return response.status


def test_law_10_holds_and_every_settled_event_counts_once(passable_dir: Path) -> None:
    data_dir = passable_dir / "data"
    now = datetime.now(UTC)
    with open_books(data_dir, None, now=now) as books:
        apply(books, 1, DOCUMENT, now)
        create_wallet(books, 1, {"key": "w", "customer": "acme", "currency": "USD"}, now)
        for grant in ("a", "b"):
            create_grant(books, 1, "w", {"key": grant, "kind": "paid", "amount": str(FUNDS / 2)}, now)
        key, settled, refused = "", dict[str, int](), 0
        for number, calls in enumerate(SETTLED_AT_KILL):
            served = Served(data_dir)
            key = key or served.read_key()
            clients = Clients(served.port, key, number)
            clients.until_settled(calls)
            served.kill()
            clients.end()
            served.close()
            assert clients.odd == []
            settled |= clients.settled
            refused += clients.refused
            assert check_holds(books, 1).findings == ()
        assert len(settled) >= sum(SETTLED_AT_KILL)
        served = Served(data_dir)
        try:
            until(lambda: not _rows(books, "SELECT FROM holds WHERE status IN ('held', 'settled')"))
            _look(books, settled, served.port, key)
        finally:
            served.stop()


def _look(books, settled: dict[str, int], port: int, key: str) -> None:
    """From outside: the books, and what the meters say."""
    assert check_holds(books, 1).findings == ()
    counted = {
        row["key"]: row["cost"]
        for row in _rows(books, "SELECT key, cost FROM holds WHERE status = 'counted'")
    }
    with exact():
        for name, tokens in settled.items():
            assert counted[name] == PRICE * tokens
        total = sum(counted.values(), Decimal(0))
        grants = _rows(books, "SELECT amount, drawn, held, settled FROM grants")
        assert all(row["drawn"] <= row["amount"] and not row["held"] and not row["settled"] for row in grants)
        assert sum((row["drawn"] for row in grants), Decimal(0)) == total
        assert total <= FUNDS
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        span = "from=2024-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
        for meter, expected in (("calls", Decimal(len(counted))), ("tokens", total / PRICE)):
            connection.request(
                "GET", f"/v1/usage?meter={meter}&{span}", headers={"authorization": f"Bearer {key}"}
            )
            answer = json.loads(connection.getresponse().read())
            assert sum(Decimal(row["quantity"]) for row in answer["rows"]) == expected


def _rows(books, statement: str):
    with books.read_only(1) as conn:
        return conn.execute(statement).fetchall()
