"""The example of every price model: billed by the commands, against totals worked out by hand."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pricing"

OWED = {
    # 500 is the free one; 100 x 2.9 % + 0.30; 50 x 2.9 % + 0.30; 1000 is capped; a refund of 50 takes back its share.
    "payments": Decimal("3.20") + Decimal("1.75") + 12 + Decimal("-1.15"),
    # 1000 at 1 % and 2 on entry, then 500 at 0.5 %.
    "payouts": Decimal(10) + 2 + Decimal("2.50"),
    # 90 s: 0.10 + a minute of 0.60 + 30 s of 0.30 a minute; 5 s twice: 0.10 + 0.60; 30 s abroad.
    "calls": Decimal("0.85") + 2 * Decimal("0.70") + Decimal("0.60"),
    # The night holds 20 and 10, the peak 15 of which 10 are dear, and 4 and 8 are at neither.
    "energy": 30 * Decimal("0.10") + 10 * Decimal("0.50") + 5 * Decimal("0.40") + 12 * Decimal("0.25"),
    "resold": Decimal("12.5") * Decimal("1.2"),
    # 12 seats fit the first size, 11 projects do not.
    "workspace": Decimal(40),
    # 5 requests are 3 bundles, 3.5 gigabytes are 4.
    "traffic": Decimal(4),
    # 5000 and 250 credits, and 750 more to reach 6000.
    "tokens": Decimal(50) + Decimal("2.50") + Decimal("7.50"),
    "package": Decimal(3),
    "stairs": Decimal(9),
    "volume": Decimal("0.40"),
    "unit": Decimal("0.10"),
    "platform": Decimal("9.90"),
}
TOTAL = "187.55"


def farthing(data: Path, *arguments: object) -> Any:
    environ = os.environ | {"FARTHING_DATA": str(data)}
    command = [Path(sys.executable).parent / "farthing", *map(str, arguments)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout) if "--json" in arguments else ran.stdout


def test_every_price_model_on_one_invoice(passable_dir: Path) -> None:
    data = passable_dir / "data"
    farthing(data, "apply", EXAMPLE / "catalog.yaml", "--json")
    farthing(data, "ingest", EXAMPLE / "events.ndjson", "--json")
    (invoice,) = farthing(data, "bill", "--until", "2026-04-01T00:00:00+02:00", "--json")["issued"]
    owed: dict[str, Decimal] = {}
    for line in invoice["lines"]:
        owed[line["rate_card"]] = owed.get(line["rate_card"], Decimal(0)) + Decimal(line["amount_exact"])
    assert owed == OWED
    assert invoice["total"] == TOTAL
    assert Decimal(TOTAL) == sum(OWED.values())
    lines = {(line["description"], *line["dimensions"].values()): line for line in invoice["lines"]}
    assert {name: line["quantity"] for name, line in lines.items() if name[0].startswith("Energy")} == {
        ("Energy (night)", "night"): "30",
        ("Energy (peak)", "peak"): "15",
        ("Energy (other times)", "other times"): "12",
    }
    assert [lines[name,].get("measure") for name in ("Payments", "Traffic")] == ["amount", None]
    assert lines["Calls", "domestic"]["measure"] == "seconds"
    assert lines["Workspace",]["quantities"] == {"projects": "11", "seats": "12"}
    minimum = lines["Tokens",]
    assert (minimum["adjusts"], minimum["charges"][0]["in_unit"]["amount"]) == (True, "750")

    def explained(name: str, *dimensions: str) -> Any:
        return farthing(
            data, "invoices", "explain", invoice["number"], lines[name, *dimensions]["line"], "--json"
        )

    night = explained("Energy (night)", "night")
    assert [(event["id"], event["value"]) for event in night["events"]] == [("e12", "20"), ("e13", "10")]
    assert (night["quantity_now"], night["changed_since"]) == ("30", False)
    payments = explained("Payments")
    assert [event["value"] for event in payments["events"]] == ["500", "100", "50", "1000", "-50"]
    both = explained("Workspace")["meters"]
    assert [(one["meter"]["key"], one["quantity_now"], one["events_total"]) for one in both] == [
        ("projects", "11", 2),
        ("seats", "12", 2),
    ]
    printed = farthing(data, "invoices", "explain", invoice["number"], minimum["line"])
    assert "minimum (750 credits)" in printed
    farthing(data, "invoices", "pdf", invoice["number"], "-o", passable_dir / "invoice.pdf")
