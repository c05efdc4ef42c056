"""Numbers, money and tables as people see them."""

from decimal import Decimal

import pytest

from farthing.cli.output import (
    Column,
    money,
    number,
    plural,
    print_json,
    print_json_lists,
    print_table,
    printable,
    short_moment,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("18059974", "18,059,974"),
        ("0.0000025", "0.0000025"),
        ("-1234567.500", "-1,234,567.5"),
        ("-0.5", "-0.5"),
        ("1E+3", "1,000"),
        (0, "0"),
        (
            Decimal("123456789012345678901234.000000000000000001"),
            "123,456,789,012,345,678,901,234.000000000000000001",
        ),
    ],
)
def test_numbers_keep_every_digit(value: str | int | Decimal, shown: str) -> None:
    assert number(value) == shown


def test_money_keeps_the_digits_of_its_currency() -> None:
    assert money("1047.60", "USD") == "1,047.60 USD"
    assert money("-0.05", "USD") == "-0.05 USD"
    assert money("1234567", "JPY") == "1,234,567 JPY"


def test_plural() -> None:
    assert [plural(count, "invoice") for count in (0, 1, 2000)] == [
        "0 invoices",
        "1 invoice",
        "2,000 invoices",
    ]


def test_what_could_steer_a_terminal_is_shown_as_an_escape() -> None:
    assert printable("a\x1b[31mb\x07\u202e") == "a\\x1b[31mb\\x07\\u202e"
    assert printable("one\ntwo") == "one\\ntwo"
    assert printable("one\ntwo", lines=True) == "one\ntwo"
    assert printable("Zürich 東京") == "Zürich 東京"


def test_a_table_fits_in_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        [Column("Key"), Column("Detail"), Column("Events", "right")],
        [["[bold]no markup[/]", "word " * 60, "1,234"], ["\x1b[2J", "short", "5"]],
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["Key", "Detail", "Events"]
    assert lines[2].startswith("[bold]no markup[/]")
    assert lines[2].endswith("1,234")
    assert lines[-1].startswith("\\x1b[2J")
    assert lines[-1].endswith("    5")
    assert lines == [line.rstrip() for line in lines]


def test_a_column_of_words_never_folds_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    wide = "1,127.9172061" * 3
    print_table(
        [
            Column("Invoice", whole=True),
            Column("Customer"),
            Column("Exact", "right"),
            Column("Total", "right"),
        ],
        [["INV-000001", "acme", wide, wide]],
    )
    heading, _, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Invoice", "Customer", "Exact", "Total"]
    assert row.split() == ["INV-000001", "acme", wide, wide]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-01T00:00:00Z", "2026-11-01"),
        ("2026-11-30T11:09:22.067096Z", "2026-11-30T11:09Z"),
        ("2026-01-16T12:00:00Z", "2026-01-16T12:00Z"),
        ("at 2026-11-30T11:09:22Z", "at 2026-11-30T11:09:22Z"),
        ("acme", "acme"),
    ],
)
def test_a_moment_in_a_table_is_a_date_or_ends_with_its_minute(text: str, shown: str) -> None:
    assert short_moment(text) == shown


def test_json_has_numbers_as_text_and_no_separators(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"quantity": Decimal("18059974.50"), "name": "Zürich"})
    print_json_lists(
        {"issued": iter([{"number": "INV-000001"}, {"number": "INV-000002"}]), "skipped": iter([])}
    )
    assert capsys.readouterr().out.splitlines() == [
        '{"quantity": "18059974.5", "name": "Zürich"}',
        '{"issued": [{"number": "INV-000001"}, {"number": "INV-000002"}], "skipped": []}',
    ]


def test_a_heading_is_never_broken_within_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    titles = ["Country", "Region", "Treatment", "Unit price", *(f"Column {place}" for place in range(9))]
    print_table([Column(title) for title in titles], [["x"] * len(titles)])
    words = capsys.readouterr().out.split("─")[0].split()
    assert set(words) == {word for title in titles for word in title.split()}
