"""What is left of an erased event's data, and by what it is known."""

from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.event_data import at_path, number_of, read_data, text_of
from farthing.events.erasing.erased import Words, data_left, fingerprint_id, subject_hash

WORDS = Words(b"k" * 32, frozenset({"gpt", "eu"}))


def left(data: str, numbers: tuple[str, ...] = ("data.n",), texts: tuple[str, ...] = ("data.model",)) -> str:
    return data_left(data, numbers, texts, WORDS)


def test_only_what_meters_read_is_left() -> None:
    assert left('{"n":1.50,"model":"gpt","mail":"ann@x"}') == '{"model":"gpt","n":1.50}'
    assert left('{"n":"12.5","deep":{"n":7}}') == '{"n":"12.5"}'
    assert left('{"mail":"ann@x"}') == "null"
    assert left('{"n":"ann","model":null}') == "null"
    assert left("no json") == "null"
    assert left('{"a":{"n":1,"x":"ann"},"model":true}', ("data.a.n",)) == '{"model":"true","a":{"n":1}}'


def test_a_word_of_its_own_is_a_pseudonym_the_same_wherever_it_stands() -> None:
    one, other = WORDS.instead_of("ann"), Words(b"l" * 32, frozenset()).instead_of("ann")
    assert left('{"model":"ann"}') == f'{{"model":"{one}"}}'
    assert left('{"model":5}') == f'{{"model":"{WORDS.instead_of("5")}"}}'
    assert one != other
    assert "ann" not in one
    assert (WORDS.instead_of("gpt"), WORDS.instead_of("false")) == ("gpt", "false")


def test_a_number_that_is_told_apart_as_well_stays_a_number() -> None:
    assert left('{"n":5}', ("data.n",), ("data.n",)) == '{"n":5}'


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(st.decimals(allow_nan=False, allow_infinity=False, places=3),
                                                         st.text(max_size=5), st.booleans(), st.none())))  # fmt: skip
def test_numbers_are_the_same_and_texts_are_as_many(data: dict[str, object]) -> None:
    import json
    from decimal import Decimal

    written = json.dumps(
        {name: float(one) if isinstance(one, Decimal) else one for name, one in data.items()}
    )
    before = read_data(written)
    paths = ("data.a", "data.b", "data.c")
    after = read_data(left(written, paths, paths)) or {}
    for path in paths:
        assert number_of(at_path(after, path)) == number_of(at_path(before, path))
        assert (text_of(at_path(after, path)) is None) == (text_of(at_path(before, path)) is None)


def test_a_subject_is_known_by_a_hash_with_the_installations_secret() -> None:
    known = subject_hash(b"s" * 32, 1, "ann")
    assert known == subject_hash(b"s" * 32, 1, "ann")
    assert len({known, subject_hash(b"t" * 32, 1, "ann"), subject_hash(b"s" * 32, 2, "ann")}) == 3
    assert fingerprint_id(1, 2, 3) == "0" * 15 + "1" + "0" * 15 + "2" + "0" * 15 + "3"
