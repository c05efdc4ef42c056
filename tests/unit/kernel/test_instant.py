"""Instants and zones: text in, UTC inside, text out."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant, parse_date, parse_instant, parse_timezone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-30T18:30:00Z", "2024-01-30T18:30:00Z"),
        ("2024-01-31t00:00:00+05:30", "2024-01-30T18:30:00Z"),
        ("2024-01-30 18:30:00.25z", "2024-01-30T18:30:00.250000Z"),
        ("2024-01-30T18:30:00.123456789Z", "2024-01-30T18:30:00.123456Z"),
        ("2024-01-30T18:30:00-00:00", "2024-01-30T18:30:00Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"),
        ("2200-12-31T23:59:59.999999Z", "2200-12-31T23:59:59.999999Z"),
    ],
)
def test_reading_and_writing(text: str, expected: str) -> None:
    moment = parse_instant(text, "at")
    assert moment.tzinfo is UTC
    assert format_instant(moment) == expected


@pytest.mark.parametrize(
    "raw",
    ["", "2024-01-30", "2024-01-30T18:30:00", "2024-01-30T18:30Z", "2024-13-01T00:00:00Z",
     "2024-01-30T24:00:00Z",
     "2024-01-30T18:30:60Z", "2024-01-30T18:30:00+24:00", "2024-01-30T18:30:00.Z", "２024-01-30T18:30:00Z",
     "1899-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2024-01-30T18:30:00Z\n",
     1706572800, None, datetime(2024, 1, 1)],
)  # fmt: skip
def test_what_is_no_instant(raw: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_instant(raw, "start")
    assert refused.value.code == "invalid_instant"
    assert refused.value.path == "start"


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1900, 1, 2), datetime(2200, 12, 30), timezones=offsets))
def test_round_trip(moment: datetime) -> None:
    assert parse_instant(format_instant(moment), "at") == moment
    assert parse_instant(moment.isoformat(), "at") == moment


def test_dates() -> None:
    assert parse_date("2024-02-29", "anchor") == date(2024, 2, 29)
    for raw in ("2023-02-29", "20240229", "2024-02-29T00:00:00Z", "1899-12-31", None):
        with pytest.raises(InvalidInput, match="anchor"):
            parse_date(raw, "anchor")


def test_time_zones() -> None:
    assert parse_timezone("Europe/Berlin", "timezone") == "Europe/Berlin"
    assert parse_timezone("America/Argentina/Buenos_Aires", "timezone") == "America/Argentina/Buenos_Aires"
    for raw in ("", "Europe", "europe/berlin", "Europe/Berlin ", "localtime", "right/UTC", "posix/UTC",
                "zone.tab", "/etc/localtime", "../../etc/localtime", "UTC+1", "a" * 99, None, 1):  # fmt: skip
        with pytest.raises(InvalidInput) as refused:
            parse_timezone(raw, "timezone")
        assert refused.value.code == "invalid_timezone"
