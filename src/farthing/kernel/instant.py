"""Instants and time zones: how moments are read and written.

An instant is an aware datetime in UTC, at microseconds. Text is RFC 3339 and must carry its offset:
a moment without one means nothing to a customer in another zone.
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import shown

YEAR_MIN = 1900
YEAR_MAX = 2200
"""Every instant that comes in lies within these years."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z", re.ASCII)
# Files beside the zones on some machines: they are not IANA names, and `right/` counts leap seconds.
_NOT_ZONES = ("posix/", "right/", "localtime", "posixrules", "Factory", "SystemV/")


def parse_instant(raw: object, path: str) -> datetime:
    """An RFC 3339 time with an offset, years 1900 to 2200, as UTC. Digits beyond microseconds are dropped.

    Raises InvalidInput `invalid_instant` naming the path.
    """
    matched = _INSTANT.match(raw) if isinstance(raw, str) else None
    if matched is None:
        raise _bad_instant(path, raw, "is not an RFC 3339 time with an offset, like 2024-01-31T18:30:00Z")
    day, clock, fraction, offset = matched.groups()
    try:
        micros = (fraction or "")[:6].ljust(6, "0")
        moment = datetime.fromisoformat(f"{day}T{clock}.{micros}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad_instant(path, raw, "is not a date and time of the calendar") from None
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise _bad_instant(path, raw, f"lies outside the years {YEAR_MIN} to {YEAR_MAX}")
    return moment


def is_date(raw: object) -> bool:
    """Whether this is written as a day, `2024-01-31`, and not as an instant."""
    return isinstance(raw, str) and _DATE.match(raw) is not None


def parse_date(raw: object, path: str) -> date:
    """A day of the calendar, `2024-01-31`, years 1900 to 2200. Raises InvalidInput `invalid_date`."""
    try:
        if isinstance(raw, str) and is_date(raw):
            day = date.fromisoformat(raw)
            if YEAR_MIN <= day.year <= YEAR_MAX:
                return day
    except ValueError:
        pass
    complaint = f"{shown(raw)} is not a date from {YEAR_MIN}-01-01 to {YEAR_MAX}-12-31"
    raise InvalidInput.of("invalid_date", [Fault(path, complaint)])


def format_instant(moment: datetime) -> str:
    """`2024-01-30T18:30:00Z`; microseconds only where there are any: `2024-01-30T18:30:00.250000Z`."""
    assert moment.tzinfo is not None, "an instant carries its offset"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def microseconds(duration: timedelta) -> int:
    """A duration as a whole number, exactly."""
    return duration // _MICROSECOND


def unix_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    return microseconds(moment - _EPOCH)


def from_unix_microseconds(count: int) -> datetime:
    """The instant that many microseconds after 1970 in UTC."""
    return _EPOCH + timedelta(microseconds=count)


def parse_timezone(raw: object, path: str) -> str:
    """The name of a zone of the IANA database. Raises InvalidInput `invalid_timezone`."""
    if isinstance(raw, str) and _known_zone(raw[:65]) is not None:
        return raw
    complaint = f"{shown(raw)} is not a time zone of the IANA database"
    raise InvalidInput.of("invalid_timezone", [Fault(path, complaint)])


def zone_named(name: str) -> ZoneInfo:
    """The zone of a name that `parse_timezone` let in."""
    zone = _known_zone(name)
    assert zone is not None, f"{name} is not a time zone"
    return zone


def offset_changes(timezone: str, start: datetime, end: datetime) -> list[tuple[datetime, timedelta]]:
    """The offsets from UTC that hold in [start, end): pairs of (the first instant it holds, the offset).

    The first pair begins at `start`. A zone changes its clock at most once in a day.
    """
    zone = zone_named(timezone)

    def offset_at(moment: datetime) -> timedelta:
        offset = moment.astimezone(zone).utcoffset()
        assert offset is not None
        return offset

    changes = [(start, offset_at(start))]
    moment = start
    while moment < end:
        later = min(moment + _DAY, end)
        if offset_at(later) != changes[-1][1]:
            low, high = 0, microseconds(later - moment)  # the change lies in (low, high]
            while high - low > 1:
                middle = (low + high) // 2
                if offset_at(moment + middle * _MICROSECOND) == changes[-1][1]:
                    low = middle
                else:
                    high = middle
            changes.append((moment + high * _MICROSECOND, offset_at(moment + high * _MICROSECOND)))
        moment = later
    return [change for change in changes if change[0] < end]


@lru_cache(maxsize=1024)
def _known_zone(name: str) -> ZoneInfo | None:
    if len(name) > 64 or not _ZONE_NAME.match(name) or name.startswith(_NOT_ZONES):
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no such file, a directory, or not a zone file
        return None


def _bad_instant(path: str, raw: object, complaint: str) -> InvalidInput:
    return InvalidInput.of("invalid_instant", [Fault(path, f"{shown(raw)} {complaint}")])
