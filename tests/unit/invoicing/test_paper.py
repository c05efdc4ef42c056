"""What stands on paper: words, numbers and days as people write them, rows that say what lines say."""

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from example import FEBRUARY, JANUARY, invoice, line, tokens
from hypothesis import given
from hypothesis import strategies as st

from farthing.invoicing.paper.content import paper
from farthing.invoicing.paper.wording import aligned, days, grouped, money, precise, printable
from farthing.kernel.quantity import trimmed


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("0.0000025", "0.0000025"),
        ("18059974", "18,059,974"),
        ("-1234567.50", "−1,234,567.5"),
        ("1E+3", "1,000"),
        ("999", "999"),
        ("0012.50", "12.5"),
        ("-0", "0"),
    ],
)
def test_numbers_keep_every_digit(number: str, text: str) -> None:
    assert grouped(Decimal(number)) == grouped(number) == text


def test_amounts_have_the_digits_of_their_currency() -> None:
    assert [precise("49", "USD"), precise("0.0000025", "USD"), precise("49", "JPY")] == [
        "49.00", "0.0000025", "49",
    ]  # fmt: skip
    assert [money("1200", "JPY"), money("3.5", "KWD"), money("-0.05", "USD")] == ["1,200", "3.500", "−0.05"]
    with pytest.raises(AssertionError, match="rounded"):
        money("0.005", "USD")


@given(st.decimals(min_value=-(10**15), max_value=10**15, places=9))
def test_a_number_can_be_read_back(number: Decimal) -> None:
    assert Decimal(grouped(number).replace(",", "").replace("−", "-")) == number
    assert grouped(str(number)) == grouped(trimmed(number)) == grouped(number)


@given(st.lists(st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,6})?", fullmatch=True), min_size=1))
def test_decimal_points_stand_under_each_other(texts: list[str]) -> None:
    padded = [text + "." * point + "0" * digits for text, digits, point in aligned(texts)]
    assert len({len(text) - text.index(".") if "." in text else 0 for text in padded}) == 1


@pytest.mark.parametrize(
    ("start", "end", "zone", "text"),
    [
        ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "UTC", "1 – 31 January 2024"),
        ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "UTC", "1 January 2024"),
        ("2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z", "UTC", "1 January – 31 March 2024"),
        ("2023-12-15T00:00:00Z", "2024-01-15T00:00:00Z", "UTC", "15 December 2023 – 14 January 2024"),
        ("2023-12-31T15:00:00Z", "2024-01-31T15:00:00Z", "Asia/Tokyo", "1 – 31 January 2024"),
        ("2024-02-29T23:00:00Z", "2024-03-31T22:00:00Z", "Europe/Berlin", "1 – 31 March 2024"),
        ("2024-01-30T18:30:00Z", "2024-02-28T18:30:00Z", "UTC", "30 January 2024 18:30 – 28 February 2024 18:30"),
    ],
)  # fmt: skip
def test_periods_are_local_days_both_included(start: str, end: str, zone: str, text: str) -> None:
    assert days({"start": start, "end": end}, ZoneInfo(zone)) == text


def test_text_cannot_break_out_of_its_place() -> None:
    assert printable("a\nb\t c\x00d\u2028e") == "a b c d e"
    assert printable("total \u202e00.1\u202c") == "total 00.1", "no text that runs against its direction"
    assert printable("x" * 30).replace("\u200b", "") == "x" * 30
    assert max(len(part) for part in printable("x" * 300).split("\u200b")) <= 24


def rows(document: dict[str, Any]) -> list[list[tuple[str, str, list[str]]]]:
    """Sections of (kind, words with their notes, figures)."""
    return [
        [
            (row["kind"], " | ".join([row["text"], *row["notes"]]), [figure[0] for figure in row["figures"]])
            for row in section
        ]
        for section in paper(document, {})["table"]["sections"]
    ]


def test_a_line_with_one_price_is_one_row_and_its_dimensions() -> None:
    words = "Output tokens | model: opus | 1 – 29 February 2024"
    assert rows(invoice([tokens(1, "opus", service_period=FEBRUARY)])) == [
        [("heading", words, ["18,059,974", "0.0000025", "45.149935", "45.15"])]
    ]


def test_lines_of_one_rate_card_stand_under_one_heading() -> None:
    figures = ["18,059,974", "0.0000025", "45.149935", "45.15"]
    assert rows(invoice([tokens(1, "opus"), tokens(2, "haiku"), tokens(3, "")])) == [
        [
            ("heading", "Output tokens | by model", []),
            ("member", "opus", figures),
            ("member", "haiku", figures),
            ("member", "(none)", figures),
        ]
    ]


def test_tiers_stand_below_their_line_and_exact_amounts_only_where_needed() -> None:
    tiers = [("1000", "0.01", "10", "tier 1"), ("500", "0.005", "2.5", "tier 2")]
    document = invoice([line(1, "Calls", "1500", tiers, "12.50")])
    assert paper(document, {})["table"]["columns"] == ["Quantity", "Unit price", "Amount in USD"]
    assert rows(document) == [
        [
            ("heading", "Calls", ["1,500", "tiered", "12.50"]),
            ("charge", "Tier 1", ["1,000", "0.01", "10.00"]),
            ("charge", "Tier 2", ["500", "0.005", "2.50"]),
        ]
    ]


def test_what_a_price_adds_to_all_its_usage_and_what_it_does_not_price() -> None:
    owed = line(3, "Output tokens", "0", [("1", "5", "5", "minimum")], "5.00", rate_card="Output tokens")
    minimum = owed | {"adjusts": True}
    unpriced = line(2, "Output tokens", "7", [("7", "0", "0", "unpriced")], "0.00", dimensions={"model": "x"})
    assert [row[1:] for row in rows(invoice([tokens(1, "opus"), unpriced, minimum]))[0][1:]] == [
        ("opus", ["18,059,974", "0.0000025", "45.149935", "45.15"]),
        ("x", ["7", "unpriced", "0.00", "0.00"]),
        ("all of it", ["", "", "5.00", "5.00"]),
        ("Minimum", ["1", "5.00", "5.00", ""]),
    ]


def noted(document: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The rows of a table with what stands below their words."""
    sections = paper(document, {})["table"]["sections"]
    return [(row["text"], tuple(row["notes"])) for rows in sections for row in rows]


def test_a_window_is_named_once_whether_it_is_alone_or_not() -> None:
    def energy(place: int, window: str) -> dict[str, Any]:
        charge = ("10", "0.50", "5", "usage")
        named = {"dimensions": {"time of use": window}, "rate_card": "energy"}
        return line(place, f"Energy ({window})", "10", [charge], "5.00", **named)

    assert noted(invoice([energy(1, "peak"), energy(2, "night")])) == [
        ("Energy", ("by time of use",)),
        ("peak", ()),
        ("night", ()),
    ]
    assert noted(invoice([energy(1, "peak")])) == [("Energy", ("time of use: peak",))]


def test_what_a_quantity_is_counted_in_and_how_much_of_each_meter() -> None:
    calls = line(1, "Calls", "90", [("1.5", "0.6", "0.9", "step 1")], "0.90", measure="seconds")
    payments = line(2, "Payments", "100", [("100", "0.03", "3", "3 %")], "3.00", measure="amount")
    used = {"projects": "11", "seats": "1200"}
    workspace = line(3, "Workspace", "1", [("1", "40", "40", "tier 2")], "40.00", quantities=used)
    assert [row for row in noted(invoice([calls, payments, workspace])) if row[1]] == [
        ("Calls", ("quantity in seconds",)),
        ("Payments", ("quantity in USD",)),
        ("Workspace", ("projects: 11 · seats: 1,200",)),
    ]


def test_a_charge_of_a_price_in_credits_says_both() -> None:
    used = line(
        1, "Tokens", "1500", [("1500", "0.05", "75", "usage"), ("1", "2.5", "2.5", "minimum")], "77.50"
    )
    used["charges"][0]["in_unit"] = {"unit": "credits", "unit_price": "5", "amount": "7500"}
    used["charges"][1]["in_unit"] = {"unit": "credits", "unit_price": "250", "amount": "250"}
    assert [row[0] for row in noted(invoice([used]))] == [
        "Tokens",
        "Usage (7,500 credits, 5 each)",
        "Minimum (250 credits)",
    ]


def test_the_note_says_how_the_total_was_rounded() -> None:
    (note,) = paper(invoice([tokens(1, "opus")]), {})["notes"]
    assert note == "Exact total before rounding: USD 45.149935. It is rounded once, half up."
    by_line = invoice([tokens(1, "opus")], rounding={"scope": "line", "mode": "half_even"})
    (note,) = paper(by_line, {})["notes"]
    assert note.endswith("Each line is rounded, half to even; the total is their sum.")
    assert paper(invoice([line(1, "Fee", "1", [("1", "49", "49", "flat fee")], "49.00")]), {})["notes"] == []


def test_what_is_void_or_paid_from_wallets_asks_for_nothing() -> None:
    document = invoice([tokens(1, "opus")])
    assert paper(document, {})["headline"] == {"amount": "USD 45.15", "due": "due 2 March 2024"}
    void = paper(document | {"status": "void", "void_reason": "Wrong company"}, {})
    assert (void["title"], void["named"], void["headline"]["due"]) == (
        "Void invoice", "Invoice", "void: nothing is due",
    )  # fmt: skip
    paid = paper(document | {"paid_from_wallets": "45.15", "amount_due": "0.00"}, {})
    assert paid["headline"] == {"amount": "USD 0.00", "due": "nothing is due"}
    assert paid["totals"][-2:] == [["Paid from wallets", "−45.15"], ["Amount due", "USD 0.00"]]


def test_parties_are_written_as_their_country_writes_them() -> None:
    sheet = paper(invoice([tokens(1, "opus")]), {})
    assert sheet["customer"]["rows"] == [
        "500 Howard Street", "San Francisco, CA 94105", "United States", "billing@acme.example",
    ]  # fmt: skip
    assert sheet["seller"]["rows"] == ["Torstr. 33", "10119 Berlin", "Germany", "VAT DE 123 456 789"]


def test_a_credit_and_a_charge_for_the_same_time_stand_apart() -> None:
    rest = {"start": "2024-01-13T00:00:00Z", "end": "2024-02-01T00:00:00Z"}
    lines = [
        line(1, "Base, unused 19 of 31 days of Pro", "-1", [("-1", "19", "-19", "flat fee")], "-19.00"),
        line(2, "Base, 19 of 31 days of Team", "1", [("1", "38", "38", "flat fee")], "38.00"),
    ]
    document = invoice([one | {"rate_card": "base", "service_period": rest} for one in lines])
    sections = paper(document, {})["table"]["sections"]
    assert [[row["text"] for row in rows] for rows in sections] == [
        ["Base, unused 19 of 31 days of Pro"],
        ["Base, 19 of 31 days of Team"],
    ]


def test_what_is_made_of_other_lines_says_how_it_was_reached() -> None:
    def adjusted(place: int, kind: str, amount: str, reason: str, **more: Any) -> dict[str, Any]:
        said = line(
            place, kind.title(), "1", [("1", amount, amount, reason)], amount, meter=None, rate_card=None
        )
        return said | {"kind": kind, "adjustment": {"key": "k", "of": [], **more}}

    sheet = paper(
        invoice(
            [
                tokens(1, "opus"),
                adjusted(2, "coupon", "-4.51", "10 % off 45.15"),
                adjusted(3, "overage", "1.20", "6.00 beyond 9.00 at 120 %", term=JANUARY),
                adjusted(4, "overage", "1.20", "6.00 beyond 9.00 at 120 %", term=FEBRUARY),
            ]
        ),
        {},
    )
    rows = [row for section in sheet["table"]["sections"] for row in section][1:]
    assert [(row["kind"], row["text"], row["notes"]) for row in rows] == [
        ("heading", "Coupon", ("10 % off 45.15",)),
        ("heading", "Overage", ("6.00 beyond 9.00 at 120 %", "Term 1 – 31 January 2024")),
        ("heading", "Overage", ("6.00 beyond 9.00 at 120 %", "Term 1 – 29 February 2024")),
    ], "each stands alone, without a quantity or a unit price that would mean nothing"
    assert [[figure[0] for figure in row["figures"]][:2] for row in rows] == [["", ""]] * 3
