"""Cursors: pages that never repeat or skip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.api.paging import page, read_cursor
from farthing.kernel.errors import InvalidInput


@given(
    st.sets(st.text(min_size=1).filter(lambda text: "\x00" not in text and text.isprintable())),
    st.integers(1, 7),
)
def test_pages_together_are_the_whole_list(keys, limit):
    ordered = sorted(keys)
    seen, cursor = [], None
    while True:
        after = read_cursor(cursor, "things")
        rest = [key for key in ordered if after is None or key > after]
        items, cursor = page(rest[: limit + 1], limit, "things", str)
        seen += items
        assert len(items) <= limit
        if cursor is None:
            break
    assert seen == ordered


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "dGhpbmdz", "b3RoZXI6YQ", "dGhpbmdzOg", "ü", "dGhpbmdzOmEAYg", "=" * 8]
)
def test_what_is_no_cursor_of_this_list_is_refused(cursor):
    with pytest.raises(InvalidInput) as caught:
        read_cursor(cursor, "things")
    assert caught.value.code == "invalid_cursor"


def test_a_numeric_cursor_holds_a_number():
    _, cursor = page([1, 2], 1, "things", str)
    assert read_cursor(cursor, "things", numeric=True) == "1"
    _, cursor = page(["1; drop", "x"], 1, "things", str)
    with pytest.raises(InvalidInput):
        read_cursor(cursor, "things", numeric=True)
