"""A document keeps everything but who was billed, and what was written for it alone."""

import json

from farthing.keeping.erasing.documents import LeftLine, document_left

LINES = [
    {"line": 1, "rate_card": "tokens", "description": "Tokens (model mine)", "dimensions": {"model": "mine"},
     "charges": [{"reason": "mine, tier 1"}], "amount": "1.00"},
    {"line": 2, "rate_card": "setup-ann", "description": "For Ann", "dimensions": {}, "one_off": "setup-ann"},
    {"line": 3, "rate_card": None, "description": "Ann's year", "dimensions": {}, "adjustment": {"key": "year"}},
    {"line": 4, "rate_card": None, "description": "Ann's year, corrected", "dimensions": {},
     "adjustment": {"key": "INV-000001", "corrected": {"kind": "true_up", "key": "year"}}},
]  # fmt: skip
LEFT = {
    1: LeftLine({"model": "erased-1"}, None, None, None),
    2: LeftLine({}, "e-charge-1", None, None),
    3: LeftLine({}, None, "e-commitment-1", None),
    4: LeftLine({}, None, None, "e-commitment-1"),
}
INVOICE = {"number": "INV-000002", "customer": "ann", "subscription": "ann-payg", "lines": LINES, "total": "9.00",
           "bill_to": {"name": "Ann", "email": "ann@x"}, "seller": {"name": "S"}}  # fmt: skip


def test_an_invoice() -> None:
    left = json.loads(document_left(json.dumps(INVOICE), "e", "e-subscription-1", LEFT, credit_note=False))
    assert "ann" not in json.dumps(left).lower()
    assert "mine" not in json.dumps(left)
    assert [name for name in INVOICE if INVOICE[name] != left[name]] == [
        "customer", "subscription", "lines", "bill_to",
    ]  # fmt: skip
    assert list(left) == list(INVOICE)
    usage, charge, commitment, corrected = left["lines"]
    assert usage == LINES[0] | {
        "description": "Tokens (model erased-1)",
        "dimensions": {"model": "erased-1"},
        "charges": [{"reason": "erased-1, tier 1"}],
    }
    assert (charge["rate_card"], charge["one_off"], charge["description"]) == (
        "e-charge-1",
        "e-charge-1",
        "e",
    )
    assert commitment["adjustment"] == {"key": "e-commitment-1"}
    assert corrected["adjustment"] == {
        "key": "INV-000001",
        "corrected": {"kind": "true_up", "key": "e-commitment-1"},
    }


def test_a_credit_note_names_lines_of_its_invoice() -> None:
    line = {"line": 1, "of": 2, "rate_card": "setup-ann", "description": "For Ann", "dimensions": {}}
    note = {
        "customer": "ann",
        "subscription": "s",
        "reason": "Ann asked",
        "bill_to": {"name": "Ann"},
        "lines": [line],
    }
    left = json.loads(document_left(json.dumps(note), "e", "e-s", LEFT, credit_note=True))
    assert left["reason"] == ""
    assert left["lines"] == [
        {"line": 1, "of": 2, "rate_card": "e-charge-1", "description": "e", "dimensions": {}}
    ]
