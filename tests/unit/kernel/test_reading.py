"""Reading a document: all faults at once, each with its path."""

import pytest

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import (
    FAULTS_SHOWN_MAX,
    Faults,
    Fields,
    parse_count,
    parse_flag,
    parse_key,
    parse_list,
    parse_subject,
    parse_text,
)


def test_every_fault_is_found_and_one_kind_keeps_its_code() -> None:
    faults = Faults("invalid_thing")
    fields = Fields({"key": "9", "colour": "red", "size": 3}, "things[2]", faults)
    fields.required("key", parse_key)
    fields.required("name", parse_text)
    assert fields.optional("size", lambda raw, path: raw, 0) == 3
    assert fields.optional("weight", parse_text, "none") == "none"
    fields.refuse_unknown()
    with pytest.raises(InvalidInput) as refused:
        faults.refuse()
    assert refused.value.code == "invalid_thing"
    assert refused.value.faults == (
        Fault("things[2].key", "'9' is not a key: use A-Z a-z 0-9 _ . -"),
        Fault("things[2].name", "is missing"),
        Fault("things[2].colour", "is not a known field"),
    )

    alone = Faults("invalid_thing")
    Fields({"key": "9"}, "", alone).required("key", parse_key)
    with pytest.raises(InvalidInput) as refused:
        alone.refuse()
    assert refused.value.code == "invalid_key"
    assert refused.value.path == "key"


def test_null_is_absent() -> None:
    faults = Faults("invalid_thing")
    fields = Fields({"name": None}, "", faults)
    assert fields.optional("name", parse_text, None) is None
    assert "name" not in fields
    fields.refuse_unknown()
    faults.refuse()


def test_the_list_of_faults_is_bounded() -> None:
    faults = Faults("invalid_thing")
    parse_list(["!"] * 1000, "keys", parse_key, most=1000, faults=faults)
    assert len(faults) == 1000
    with pytest.raises(InvalidInput) as refused:
        faults.refuse()
    assert len(refused.value.faults) == FAULTS_SHOWN_MAX + 1
    assert refused.value.message.endswith("; and 900 more faults")


def test_a_list_has_a_limit_and_is_a_list() -> None:
    faults = Faults("invalid_thing")
    assert parse_list(["a", "b", "c"], "keys", parse_key, most=2, faults=faults) == []
    assert parse_list({"a": 1}, "other", parse_key, most=2, faults=faults) == []
    with pytest.raises(InvalidInput, match="keys has 3 items; at most 2 are allowed; other must be a list"):
        faults.refuse()


@pytest.mark.parametrize("raw", ["", " ", "a" * 257, "a\x00b", "a\nb", "\ud800", "\u2028", 5, None, ["a"]])
def test_text(raw: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_text(raw, "name")
    assert refused.value.code == "invalid_text"


def test_subjects_are_free_text_without_outer_spaces() -> None:
    assert parse_subject("Ünïcode/key:7 @x", "key") == "Ünïcode/key:7 @x"
    with pytest.raises(InvalidInput):
        parse_subject(" a", "key")


def test_flags_are_true_or_false_and_nothing_that_looks_like_it() -> None:
    assert [parse_flag(raw, "f", code="invalid_f") for raw in (True, False)] == [True, False]
    for raw in (1, 0, "true", None, [True]):
        with pytest.raises(InvalidInput, match="must be true or false, not ") as refused:
            parse_flag(raw, "f", code="invalid_f")
        assert (refused.value.code, refused.value.faults[0].path) == ("invalid_f", "f")


@pytest.mark.parametrize("raw", [True, "3", 0, 11, 10**300, 2.0, None])
def test_counts(raw: object) -> None:
    with pytest.raises(InvalidInput):
        parse_count(raw, "count", least=1, most=10, code="invalid_count")
