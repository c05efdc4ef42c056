"""`farthing periods`: the line in, the line out, and each way of being wrong."""

import pytest

from farthing.kernel.period_wire import periods_line

GOOD = {
    "anchor": "2024-01-30T18:30:00Z",
    "interval": "month",
    "interval_count": 1,
    "timezone": "Asia/Kolkata",
    "at": "2024-02-15T00:00:00Z",
    "count": 3,
}


def test_the_line_of_the_contract() -> None:
    assert periods_line(GOOD) == {
        "periods": [
            {"start": "2024-01-30T18:30:00Z", "end": "2024-02-28T18:30:00Z"},
            {"start": "2024-02-28T18:30:00Z", "end": "2024-03-30T18:30:00Z"},
            {"start": "2024-03-30T18:30:00Z", "end": "2024-04-29T18:30:00Z"},
        ]
    }


def test_a_day_is_its_first_instant_in_the_time_zone() -> None:
    by_day = GOOD | {"anchor": "2024-01-31", "at": "2024-02-15"}
    assert periods_line(by_day) == periods_line(GOOD | {"at": "2024-02-14T18:30:00Z"})


def test_what_may_be_left_out() -> None:
    line = {"anchor": "calendar", "interval": "quarter", "at": "2024-05-15T12:00:00+02:00"}
    assert periods_line(line) == {
        "periods": [{"start": "2024-04-01T00:00:00Z", "end": "2024-07-01T00:00:00Z"}]
    }


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"timezone": "Mars/Base"},
            "invalid_timezone",
            "timezone 'Mars/Base' is not a time zone of the IANA database",
        ),
        (
            {"timezone": "America"},
            "invalid_timezone",
            "timezone 'America' is not a time zone of the IANA database",
        ),
        ({"timezone": "../etc/passwd"}, "invalid_timezone", None),
        ({"timezone": 5}, "invalid_timezone", "timezone 5 is not a time zone of the IANA database"),
        (
            {"interval_count": 0},
            "invalid_interval_count",
            "interval_count must be a whole number from 1 to 1000, not 0",
        ),
        ({"interval_count": 1001}, "invalid_interval_count", None),
        ({"interval_count": True}, "invalid_interval_count", None),
        ({"interval_count": "1"}, "invalid_interval_count", None),
        ({"interval": "fortnight"}, "invalid_interval", None),
        ({"interval": None}, "invalid_line", "interval is missing"),
        ({"anchor": "2024-02-30"}, "invalid_date", None),
        ({"anchor": "2024-02-30T00:00:00Z"}, "invalid_instant", None),
        ({"at": "2024-01-30T00:00:00"}, "invalid_instant", None),
        ({"at": "2201-01-01T00:00:00Z"}, "invalid_instant", None),
        ({"at": 1706572800}, "invalid_instant", None),
        ({"count": 0}, "invalid_count", None),
        ({"count": 10_001}, "invalid_count", None),
        ({"until": "2024-01-01T00:00:00Z"}, "invalid_line", "until is not a known field"),
        ({"interval": "year", "interval_count": 1000, "count": 9}, "period_out_of_range", None),
    ],
)
def test_bad_lines(change: dict[str, object], code: str, message: str | None) -> None:
    error = periods_line(GOOD | change)["error"]
    assert isinstance(error, dict)
    assert error["code"] == code
    if message:
        assert error["message"] == message


def test_every_fault_is_named_at_once() -> None:
    assert periods_line({"anchor": "calendar", "interval": "x", "at": "y", "count": 0}) == {
        "error": {
            "code": "invalid_line",
            "message": "interval must be one of day, week, month, quarter, half_year, year, not 'x'; "
            "at 'y' is not an RFC 3339 time with an offset, like 2024-01-31T18:30:00Z; "
            "count must be a whole number from 1 to 10000, not 0",
        }
    }


@pytest.mark.parametrize("line", [None, [], "text", 7])
def test_a_line_that_is_no_object(line: object) -> None:
    error = periods_line(line)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "invalid_line"
