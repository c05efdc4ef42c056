"""A seller's month at the command line: every command a real process, every number known beforehand.

Two customers call an API in January 2026:

    acme     1,000 calls of 100 tokens, every other one on the large model (subjects acme and key-7)
    globex     500 calls of 7 tokens on the small model

    fee      10.00 a month
    calls    0.01 each, from the 601st on 0.005        acme 8.000      globex 5.00000
    tokens   small 0.0000015, large 0.000012           acme 0.675      globex 0.00525
                                                       ------------    -----------------
                                                       18.675 -> 18.68 15.00525 -> 15.01
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest

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
      - {key: fee, name: Platform fee, price: {model: flat, amount: "10"}}
      - key: calls
        name: Calls
        meter: calls
        price: {model: graduated, tiers: [{up_to: "600", unit_price: "0.01"}, {unit_price: "0.005"}]}
      - key: tokens
        name: Tokens
        meter: tokens
        price:
          model: matrix
          dimensions: [model]
          cells:
            - {when: {model: small}, price: {model: per_unit, unit_price: "0.0000015"}}
            - {when: {model: large}, price: {model: per_unit, unit_price: "0.000012"}}
customers:
  - {key: acme, name: Acme Inc., currency: USD, timezone: UTC, aliases: [key-7]}
  - {key: globex, name: Globex, currency: USD, timezone: UTC}
subscriptions:
  - {key: acme-payg, customer: acme, plan: payg, start: 2026-01-01T00:00:00Z, anchor: calendar}
  - {key: globex-payg, customer: globex, plan: payg, start: 2026-01-01T00:00:00Z, anchor: calendar}
"""

JANUARY = ("--from", "2026-01-01", "--to", "2026-02-01")


def call(number: int, subject: str, tokens: object, model: str) -> dict[str, Any]:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return {
        "specversion": "1.0",
        "id": f"call-{number}",
        "source": "gateway",
        "type": "api.call",
        "subject": subject,
        "time": time.isoformat(),
        "data": {"tokens": tokens, "model": model},
    }


def traffic() -> list[str]:
    """The lines of the file: 1,500 calls, and six lines that a careless sender adds."""
    acme = [
        call(number, "key-7" if number % 3 else "acme", 100, "large" if number % 2 else "small")
        for number in range(1000)
    ]
    globex = [call(number, "globex", 7, "small") for number in range(1000, 1500)]
    careless = [
        acme[0],  # once more
        acme[1] | {"data": {"tokens": 1, "model": "large"}},  # the same id, and says something else
        call(2001, "acme", None, "small"),  # no tokens
        call(2002, "acme", 5, "small") | {"time": "2199-01-01T00:00:00Z"},
        call(2003, "stranger", 5, "small"),  # counts, and is nobody's yet
    ]
    return [json.dumps(event) for event in (*acme, *globex, *careless)] + ["not an event"]


@dataclass(frozen=True)
class Shell:
    """The command `farthing` with a data directory of its own."""

    place: Path

    def run(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
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
        return done

    def json(self, *words: str, code: int = 0, stdin: str = "") -> Any:
        return json.loads(self.run(*words, "--json", code=code, stdin=stdin).stdout)

    def text(self, *words: str) -> str:
        return self.run(*words).stdout.decode()


@pytest.fixture
def shell() -> Iterator[Shell]:
    place = Path(tempfile.mkdtemp(prefix="farthing-"))
    place.chmod(0o711)  # root's PostgreSQL runs as another user, who must be able to pass
    (place / "catalog.yaml").write_text(CATALOG)
    (place / "calls.ndjson").write_text("\n".join(traffic()) + "\n")
    yield Shell(place)
    shutil.rmtree(place)


def test_a_month_at_the_command_line(shell: Shell) -> None:
    nothing_there_yet(shell)
    the_catalog_is_applied(shell)
    every_line_is_accounted_for(shell)
    usage_is_exact(shell)
    invoices = the_month_is_billed(shell)
    invoices_are_shown_and_explained(shell, invoices)
    the_ledger_says_the_same(shell)
    nothing_is_off(shell)
    the_second_time_changes_nothing(shell, invoices)
    a_late_call_changes_no_invoice(shell, invoices)


def nothing_there_yet(shell: Shell) -> None:
    refused = shell.run("invoices", "list", code=3)
    assert refused.stderr.decode().startswith("error: there is no data directory ")
    assert not (shell.place / "data").exists()


def the_catalog_is_applied(shell: Shell) -> None:
    would = shell.json("apply", "catalog.yaml", "--check", code=1)
    assert would["applied"] is False
    applied = shell.json("apply", "catalog.yaml")
    assert applied == would | {"applied": True}
    assert {kind: counts["created"] for kind, counts in applied["summary"].items()} == {
        "meter": 2,
        "plan": 1,
        "coupon": 0,
        "customer": 2,
        "subscription": 2,
    }
    refused = shell.run("apply", "-", "--json", code=2, stdin="plans: [{key: 7}]\nusers: []")
    faults = json.loads(refused.stderr)["faults"]
    assert {fault["path"] for fault in faults} >= {"plans[0].key", "plans[0].name", "users"}


def every_line_is_accounted_for(shell: Shell) -> None:
    report = shell.json("ingest", "calls.ndjson")
    assert (report["accepted"], report["counted"], report["duplicate"], report["quarantined"]) == (
        1506,
        1501,
        1,
        4,
    )
    reasons = {"conflict": 1, "malformed_json": 1, "missing_value": 1, "too_early": 1}
    assert report["by_reason"] == reasons
    account = shell.json("account")
    assert account == {
        "accepted": 1506,
        "counted": 1501,
        "duplicate": 1,
        "quarantined": 4,
        "waiting": 0,
        "voided": 0,
        "quarantined_by_reason": reasons,
        "quarantined_by_state": {"open": 4, "retried": 0, "dropped": 0},
    }
    (broken,) = shell.json("quarantine", "list", "--reason", "malformed_json")["quarantined"]
    assert broken["origin"] == "calls.ndjson:1506"
    assert broken["raw"] == "not an event"
    assert shell.json("quarantine", "show", str(broken["quarantine_id"])) == broken
    assert shell.json("quarantine", "retry", "--reason", "malformed_json", code=1)["events"] == 0
    assert shell.json("quarantine", "drop", str(broken["quarantine_id"])) == {"dropped": 1}
    assert "1 in quarantine again" in shell.text("quarantine", "retry", "--reason", "conflict")
    states = {"open": 3, "retried": 1, "dropped": 1}
    assert shell.json("account")["quarantined_by_state"] == states


def usage_is_exact(shell: Shell) -> None:
    calls = shell.json("usage", "calls", *JANUARY, "--group-by", "customer")
    assert {row["group"]["customer"]: row["quantity"] for row in calls["rows"]} == {
        "acme": "1000",
        "globex": "500",
        None: "1",
    }
    tokens = shell.json("usage", "tokens", *JANUARY, "--customer", "acme", "--filter", "model=large")
    assert [(row["quantity"], row["events"]) for row in tokens["rows"]] == [("50000", 500)]
    assert "50,000" in shell.text(
        "usage", "tokens", *JANUARY, "--customer", "acme", "--filter", "model=large"
    )


def the_month_is_billed(shell: Shell) -> list[dict[str, Any]]:
    billed = shell.json("bill", "--until", "2026-02-01")
    assert set(billed) == {"issued", "skipped"}
    assert billed["skipped"] == []
    assert [
        (invoice["number"], invoice["customer"], invoice["total_exact"], invoice["total"])
        for invoice in billed["issued"]
    ] == [
        ("INV-000001", "acme", "18.675", "18.68"),
        ("INV-000002", "globex", "15.00525", "15.01"),
    ]
    lines = [
        [
            (line["rate_card"], line["dimensions"].get("model"), line["amount_exact"], line["amount"])
            for line in lines
        ]
        for lines in (invoice["lines"] for invoice in billed["issued"])
    ]
    assert [sorted(some, key=str) for some in lines] == [
        [
            ("calls", None, "8", "8.00"),
            ("fee", None, "10", "10.00"),
            ("tokens", "large", "0.6", "0.60"),
            ("tokens", "small", "0.075", "0.08"),
        ],
        [
            ("calls", None, "5", "5.00"),
            ("fee", None, "10", "10.00"),
            ("tokens", "small", "0.00525", "0.01"),
        ],
    ]
    return list(billed["issued"])


def invoices_are_shown_and_explained(shell: Shell, invoices: list[dict[str, Any]]) -> None:
    acme = invoices[0]
    assert shell.json("invoices", "show", "INV-000001") == acme
    listed = shell.json("invoices", "list", "--customer", "globex")
    assert [(invoice["number"], invoice["total"]) for invoice in listed["invoices"]] == [
        ("INV-000002", "15.01")
    ]
    assert listed["more"] is False
    assert "18.68 USD" in shell.text("invoices", "show", "INV-000001")
    written = shell.json("invoices", "pdf", "INV-000001", "-o", "acme.pdf")
    content = (shell.place / "acme.pdf").read_bytes()
    assert written == {"file": "acme.pdf", "bytes": len(content)}
    assert "18.68" in pypdf.PdfReader(BytesIO(content)).pages[0].extract_text()
    assert shell.run("invoices", "pdf", "INV-000001", "-o", "-").stdout == content
    (large,) = (line["line"] for line in acme["lines"] if line["dimensions"] == {"model": "large"})
    said = shell.json("invoices", "explain", "INV-000001", str(large), "--limit", "2")
    assert (said["quantity_billed"], said["quantity_now"], said["events_total"]) == ("50000", "50000", 500)
    assert [(event["id"], event["value"]) for event in said["events"]] == [
        ("call-1", "100"),
        ("call-3", "100"),
    ]
    assert "500 events, the first 10" in shell.text("invoices", "explain", "INV-000001", str(large))
    assert shell.run("invoices", "show", "INV-9", code=3).stderr.decode().startswith("error: ")


def the_ledger_says_the_same(shell: Shell) -> None:
    found = shell.json("ledger", "trial-balance")
    assert [(row["code"], row["debit"], row["credit"]) for row in found["rows"]] == [
        ("receivable", "33.69", "0"),
        ("revenue", "0", "33.69"),
    ]
    assert found["totals"] == [{"currency": "USD", "debit": "33.69", "credit": "33.69"}]
    assert "33.69" in shell.text("ledger", "trial-balance")
    assert shell.json("ledger", "trial-balance", "--as-of", "2026-02-01")["rows"] == []
    assert "Nothing is booked." in shell.text("ledger", "trial-balance", "--booked-by", "2026-02-01")
    (acme,) = shell.json("ledger", "accounts", "--customer", "acme")["accounts"]
    assert (acme["code"], acme["balance"], acme["entries"]) == ("receivable", "18.68", 1)
    page = shell.json("ledger", "entries", "--limit", "1")
    assert (page["entries"][0]["amount"], page["more"]) == ("18.68", True)
    behind = page["entries"][0]["entry"]
    assert f"--after {behind}" in shell.text("ledger", "entries", "--limit", "1")
    assert len(shell.json("ledger", "entries", "--after", behind)["entries"]) == 3
    shell.run("ledger", "entries", "--after", "x", code=2)
    shell.run("ledger", "export", "--json", code=2)
    shell.run("ledger", "export", "-o", "nowhere/books", code=2)
    assert shell.json("ledger", "export", "--format", "csv", "-o", "books.csv")["lines"] == 5
    assert shell.text("ledger", "export", "--format", "csv") == (shell.place / "books.csv").read_text()
    assert "Assets:Receivable:C-acme  18.68 USD" in shell.text("ledger", "export")


def nothing_is_off(shell: Shell) -> None:
    found = shell.json("doctor")
    assert found["ok"] is True
    assert [check["law"] for check in found["checks"] if check["findings"]] == []
    assert found["notes"] == []
    assert found["unclaimed"] == [
        {
            "tenant": "default",
            "events": 1,
            "groups": [
                {
                    "type": "api.call",
                    "subject": "stranger",
                    "events": 1,
                    "without_customer": True,
                    "without_meter": False,
                }
            ],
        }
    ]
    assert shell.text("doctor").endswith("All is well.\n")
    for run in shell.place.glob("**/ids/*/*"):
        run.unlink()
    assert shell.json("doctor", code=1)["ok"] is False
    repaired = shell.json("doctor", "--repair")
    assert repaired["notes"] == ["default: the id index was damaged and has been made anew: 1,501 ids"]


def the_second_time_changes_nothing(shell: Shell, invoices: list[dict[str, Any]]) -> None:
    assert shell.json("apply", "catalog.yaml", "--check")["changes"] == []
    again = shell.json("ingest", "calls.ndjson")
    assert (again["accepted"], again["counted"], again["duplicate"], again["quarantined"]) == (
        1506,
        0,
        1502,
        4,
    )
    billed = shell.json("bill", "--until", "2026-02-01")
    assert billed["issued"] == []
    assert [entry["reason"] for entry in billed["skipped"]] == ["already_issued", "already_issued"]
    assert [shell.json("invoices", "show", invoice["number"]) for invoice in invoices] == invoices


def a_late_call_changes_no_invoice(shell: Shell, invoices: list[dict[str, Any]]) -> None:
    late = json.dumps(call(3000, "acme", 11, "large"))
    assert shell.json("ingest", "-", stdin=late)["counted"] == 1
    assert shell.json("bill", "--until", "2026-02-01")["issued"] == []
    (large,) = (line["line"] for line in invoices[0]["lines"] if line["dimensions"] == {"model": "large"})
    said = shell.json("invoices", "explain", "INV-000001", str(large))
    assert (said["quantity_billed"], said["quantity_now"], said["changed_since"]) == ("50000", "50011", True)
    assert "Billed 50,000; events that came later make it 50,011 now." in shell.text(
        "invoices", "explain", "INV-000001", str(large)
    )
    assert shell.json("doctor")["ok"] is True


def test_tenants_and_keys(shell: Shell) -> None:
    assert shell.json("tenants", "create", "other", "--name", "Other GmbH")["key"] == "other"
    assert [row["key"] for row in shell.json("tenants", "list")["tenants"]] == ["default", "other"]
    key = shell.json("keys", "create", "--name", "gateway", "--tenant", "other")["key"]
    (listed,) = shell.json("keys", "list", "--tenant", "other")["keys"]
    assert key.split("_")[1] == listed["api_key_id"]
    assert shell.json("keys", "list")["keys"] == []
    shell.run("keys", "revoke", listed["api_key_id"], code=3)
    assert shell.json("keys", "revoke", listed["api_key_id"], "--tenant", "other")["revoked_at"] is not None
    assert shell.json("account", "--tenant", "other")["accepted"] == 0
    shell.run("account", "--tenant", "nobody", code=3)
    settings = shell.json("config", "--tenant", "other")["settings"]
    assert {one["name"]: (one["value"], one["source"]) for one in settings}["tenant"] == ("other", "--tenant")
