"""Four months of one subscription at the command line: every command a real process, every number by hand.

Pro is 31 a month in advance and 0.01 a call, Team 62 and 0.02.

    January    100 calls on Pro, Team from the 13th, 100 calls more, a setup charge
    February   two of Team from the 15th: half of February is left
    March      paused for ten days
    April      cancelled on the 16th
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.db import open_books


def plan(key: str, fee: str, call: str) -> str:
    return f"""
  - key: {key}
    name: {key.title()}
    currency: USD
    interval: month
    rate_cards:
      - {{key: base, name: Base, timing: advance, price: {{model: flat, amount: "{fee}"}}}}
      - {{key: calls, name: Calls, meter: calls, price: {{model: per_unit, unit_price: "{call}"}}}}"""


CATALOG = f"""
meters: [{{key: calls, event_type: api.call, aggregation: count}}]
plans: {plan("pro", "31", "0.01")} {plan("team", "62", "0.02")}
customers:
  - {{key: acme, name: Acme Inc., currency: USD, timezone: UTC}}
  - {{key: zoe, name: Zoe, currency: USD, timezone: UTC}}
subscriptions:
  - {{key: acme-pro, customer: acme, plan: pro, start: 2026-01-01T00:00:00Z}}
"""


def calls() -> str:
    times = [f"2026-01-{day:02d}T12:00:00Z" for day in (5, 20) for _ in range(100)]
    events = [
        {
            "specversion": "1.0",
            "id": str(number),
            "source": "s",
            "type": "api.call",
            "subject": "acme",
            "time": time,
        }
        for number, time in enumerate(times)
    ]
    return "".join(json.dumps(event) + "\n" for event in events)


@dataclass(frozen=True)
class Shell:
    """The command `farthing` with a data directory of its own."""

    place: Path

    def run(self, *words: str, code: int = 0, stdin: str = "") -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
        done = subprocess.run(
            [sys.executable, "-m", "farthing", *words],
            input=stdin.encode(),
            env=environ | {"FARTHING_DATA": str(self.place / "data")},
            cwd=self.place,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return (done.stdout or done.stderr).decode()

    def json(self, *words: str, code: int = 0, stdin: str = "") -> Any:
        return json.loads(self.run(*words, "--json", code=code, stdin=stdin))

    def bill(self, until: str) -> list[tuple[str, list[tuple[str, str]]]]:
        """The totals of the invoices issued, each with its lines."""
        issued = self.json("bill", "--until", until)["issued"]
        return [
            (one["total"], [(line["description"], line["amount"]) for line in one["lines"]]) for one in issued
        ]


@pytest.fixture
def shell() -> Iterator[Shell]:
    place = Path(tempfile.mkdtemp(prefix="farthing-"))
    place.chmod(0o711)  # root's PostgreSQL runs as another user, who must be able to pass
    # PostgreSQL stays up between the commands: starting it for each of them takes longer than what they do.
    with open_books(place / "data", None, now=datetime.now(UTC)):
        yield Shell(place)
    shutil.rmtree(place)


def test_four_months_of_a_subscription(shell: Shell) -> None:
    shell.json("apply", "-", stdin=CATALOG)
    (shell.place / "calls.ndjson").write_text(calls())
    assert shell.json("ingest", "calls.ndjson")["counted"] == 200
    january(shell)
    february_and_march(shell)
    april(shell)
    what_is_said_of_it(shell)
    everybody_moves_to_a_new_version(shell)
    assert shell.json("doctor")["ok"] is True


def january(shell: Shell) -> None:
    assert shell.bill("2026-01-01") == [("31.00", [("Base", "31.00")])]
    up = ("subscriptions", "change", "acme-pro", "--plan", "team", "--at", "2026-01-13", "--key", "up")
    assert shell.json(*up)["outcome"] == "created"
    assert shell.json(*up)["outcome"] == "unchanged"
    charge = ("subscriptions", "charge", "acme-pro", "setup", "250", "Setup", "--at", "2026-01-20")
    assert shell.run(*charge) == "250 USD is charged, for 2026-01-20T00:00:00Z.\n"
    assert shell.bill("2026-02-01") == [
        (
            "334.00",
            [
                ("Base, unused 19 of 31 days of Pro", "-19.00"),
                ("Base, 19 of 31 days of Team", "38.00"),
                ("Base", "62.00"),
                ("Calls", "1.00"),
                ("Calls", "2.00"),
                ("Setup", "250.00"),
            ],
        )
    ]


def february_and_march(shell: Shell) -> None:
    shell.json("subscriptions", "change", "acme-pro", "--quantity", "base=2", "--at", "2026-02-15")
    assert shell.bill("2026-03-01") == [
        (
            "155.00",
            [
                ("Base, unused 14 of 28 days of Team", "-31.00"),
                ("Base, 14 of 28 days of Team", "62.00"),
                ("Base", "124.00"),
            ],
        )
    ]
    shell.json("subscriptions", "pause", "acme-pro", "--at", "2026-03-11")
    shell.json("subscriptions", "resume", "acme-pro", "--at", "2026-03-21")
    change = {"kind": "pause", "at": "2026-06-01T00:00:00Z"}
    ahead = shell.json("subscriptions", "change", "acme-pro", "-", stdin=json.dumps(change))["change"]
    shell.json("subscriptions", "change", "acme-pro", "--withdraw", str(ahead["change_id"]))
    assert shell.bill("2026-04-01") == [
        ("84.00", [("Base, unused 10 of 31 days of Team", "-40.00"), ("Base", "124.00")])
    ]


def april(shell: Shell) -> None:
    refused = shell.json("subscriptions", "cancel", "acme-pro", "--at", "2026-03-31", code=3)
    assert refused["code"] == "already_invoiced"
    shell.json("subscriptions", "cancel", "acme-pro", "--at", "2026-04-16")
    assert shell.bill("2026-05-01") == [("-62.00", [("Base, unused 15 of 30 days of Team", "-62.00")])]


def what_is_said_of_it(shell: Shell) -> None:
    said = shell.json("subscriptions", "show", "acme-pro")
    assert (said["status"], said["plan"], said["end"]) == ("ended", "team", "2026-04-16T00:00:00Z")
    assert [(one["start"][:10], one["plan"], one["status"]) for one in said["timeline"]] == [
        ("2026-01-01", "pro", "active"),
        ("2026-01-13", "team", "active"),
        ("2026-02-15", "team", "active"),
        ("2026-03-11", "team", "paused"),
        ("2026-03-21", "team", "active"),
    ]
    assert [one["kind"] for one in said["changes"]] == [
        "plan", "quantity", "pause", "resume", "pause", "withdraw", "cancel",
    ]  # fmt: skip
    text = shell.run("subscriptions", "show", "acme-pro")
    assert "base 2" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "acme-pro" in shell.run("subscriptions", "list", "--customer", "acme")
    total = sum(Decimal(one["total"]) for one in shell.json("invoices", "list")["invoices"])
    # Paid for: 12 days of Pro, 19 of Team; February half and half; 21 days of two; half of April; the rest.
    assert total == 12 + 38 + 31 + 62 + 84 + 62 + 1 + 2 + 250


def everybody_moves_to_a_new_version(shell: Shell) -> None:
    start = datetime.now(UTC).strftime("%Y-%m-01T00:00:00Z")
    dearer = f"plans: {plan('team', '90', '0.02')}\n"
    zoe = f"subscriptions: [{{key: zoe-team, customer: zoe, plan: team, start: {start}}}]\n"
    shell.json("apply", "-", stdin=zoe)
    shell.json("apply", "-", stdin=dearer)
    move = ("plans", "migrate", "team", "--to", "2", "--mode", "next_period")
    shown = shell.json(*move, code=1)
    # This month at 62 either way; the next two fees in advance at 62 or at 90.
    assert (shown["count"], shown["before"], shown["after"]) == (1, "186.00", "242.00")
    assert "186.00 USD" in shell.run(*move, code=1)
    done = shell.json(*move, "--confirm", shown["confirm"])
    assert (done["done"], done["count"]) == (True, 1)
    assert shell.json(*move)["count"] == 0
    assert [one["version"] for one in shell.json("subscriptions", "show", "zoe-team")["timeline"]] == [1, 2]
