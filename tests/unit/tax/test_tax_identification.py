"""Tax ids are checked where they come in, and the fault says which check failed."""

from datetime import date

import pytest

from farthing.kernel.errors import InvalidInput
from farthing.tax.content import facts_json, facts_of, parse_facts
from farthing.tax.european_union import is_member
from farthing.tax.identification import parse_tax_id


@pytest.mark.parametrize(
    ("country", "number", "canonical", "checked"),
    [
        ("DE", "DE 136 695 976", "DE136695976", True),
        ("DE", "136695976", "DE136695976", True),
        ("FR", "Fr 40 303 265 045", "FR40303265045", True),
        ("AT", "ATU13585627", "ATU13585627", True),
        ("GR", "EL 094259216", "EL094259216", True),
        ("GR", "094259216", "EL094259216", True),
        ("NL", "NL004495445B01", "NL004495445B01", True),
        ("IE", "IE 6433435F", "IE6433435F", True),
        ("GB", "GB 980 7806 84", "980780684", True),
        ("AU", "83 914 571 673", "83914571673", True),
        ("US", "12-3456789", "12-3456789", False),
        ("ZA", " 4123 456 ", "4123 456", False),
    ],
)
def test_examples(country: str, number: str, canonical: str, checked: bool) -> None:
    found = parse_tax_id({"country": country, "number": number}, "")
    assert (found.number, found.checked) == (canonical, checked)
    assert parse_tax_id({"country": country, "number": found.number}, "") == found


@pytest.mark.parametrize(
    ("raw", "path", "complaint"),
    [
        (
            {"country": "DE", "number": "DE136695977"},
            "tax_ids[0].number",
            "fails its check digits as a tax id of DE",
        ),
        (
            {"country": "DE", "number": "DE13669597"},
            "tax_ids[0].number",
            "has the wrong length for a tax id of DE",
        ),
        (
            {"country": "DE", "number": "DE13669597A"},
            "tax_ids[0].number",
            "has characters in the wrong places",
        ),
        ({"country": "FR", "number": "DE136695976"}, "tax_ids[0].number", "a tax id of FR"),
        ({"country": "US", "number": "!"}, "tax_ids[0].number", "use 3 to 40 letters and digits"),
        ({"country": "de", "number": "136695976"}, "tax_ids[0].country", "two capital letters"),
        ({"country": "DE"}, "tax_ids[0].number", "is missing"),
        ({"country": "DE", "number": 136695976}, "tax_ids[0].number", "must be a string"),
        ({"country": "DE", "number": "136695976", "kind": "vat"}, "tax_ids[0].kind", "is not a known field"),
    ],
)
def test_a_wrong_one_is_refused_with_the_check_that_fails(raw: object, path: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint) as refused:
        parse_facts({"tax_ids": [raw]})
    assert refused.value.path == path


def test_one_of_each_country() -> None:
    german = {"country": "DE", "number": "DE136695976"}
    with pytest.raises(InvalidInput, match="two of one country"):
        parse_facts({"tax_ids": [german, german]})


def test_facts_are_read_back_as_they_were_written() -> None:
    facts = parse_facts(
        {
            "tax_ids": [{"country": "DE", "number": "136695976"}, {"country": "US", "number": "12-3456789"}],
            "exemption": {
                "reason": "Charity",
                "countries": ["US", "DE"],
                "until": "2027-01-01",
                "certificate": "1",
            },
        }
    )
    written = facts_json(facts)
    assert written["exemption"]["countries"] == ["DE", "US"]
    assert facts_of(written["tax_ids"], written["exemption"]) == facts
    assert parse_facts({}) == facts_of([], None)


def test_members_come_and_go() -> None:
    assert is_member("HR", date(2013, 7, 1))
    assert not is_member("HR", date(2013, 6, 30))
    assert is_member("GB", date(2020, 12, 31))
    assert not is_member("GB", date(2021, 1, 1))
    assert not is_member("CH", date(2026, 1, 1))
    assert is_member("GR", date(2026, 1, 1))
