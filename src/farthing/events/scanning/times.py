"""Times of events as they stand in a text (RFC 3339), and texts written on."""

from farthing.events.scanning.compiled import byte_at, compiled, eight_at, put_byte, put_eight
from farthing.events.scanning.json_text import COLON, MINUS, ODD, PLUS, POINT, ZERO, behind_digits, is_digit

NO_TIME = -(2**63)
_T, _Z = ord("T"), ord("Z")


@compiled
def _two_digits(place: int) -> int:
    """Their number; 1,000,000 where they are no digits, which is too much for everything."""
    if is_digit(byte_at(place)) and is_digit(byte_at(place + 1)):
        return (byte_at(place) - ZERO) * 10 + byte_at(place + 1) - ZERO
    return 1_000_000


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 (H. Hinnant, chrono-compatible low-level date algorithms, days_from_civil)."""
    if month <= 2:
        year -= 1
        month += 12
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


_DAYS_OF = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECOND_US = 1_000_000


@compiled
def _fraction_end(place: int) -> int:
    """Behind the fraction of a second at `place`, if there is one."""
    if byte_at(place) != POINT:
        return place
    end = behind_digits(place + 1)
    return end if 2 <= end - place <= 7 else ODD


@compiled
def _fraction_us(begin: int, end: int) -> int:
    """A fraction of a second with its point, in microseconds."""
    us, digits = 0, 0
    for place in range(begin + 1, end):
        us = us * 10 + byte_at(place) - ZERO
        digits += 1
    while digits < 6:
        us *= 10
        digits += 1
    return us


@compiled
def _offset_us(place: int, end: int) -> int:
    """What a time's last part, `Z` or `+02:00`, takes from it; `NO_TIME` where it is neither."""
    if byte_at(place) == _Z and end == place + 1:
        return 0
    sign = byte_at(place)
    if end != place + 6 or (sign != PLUS and sign != MINUS) or byte_at(place + 3) != COLON:
        return NO_TIME
    hours, minutes = _two_digits(place + 1), _two_digits(place + 4)
    if hours > 23 or minutes > 59:
        return NO_TIME
    offset = (hours * 60 + minutes) * 60 * _SECOND_US
    return offset if sign == PLUS else -offset


@compiled
def time_us(place: int, end: int) -> int:
    """The time between two places (RFC 3339), in microseconds since 1970; `NO_TIME` where it is odd."""
    if (
        end - place < 20
        or byte_at(place + 4) != MINUS
        or byte_at(place + 7) != MINUS
        or byte_at(place + 10) != _T
    ):
        return NO_TIME
    if byte_at(place + 13) != COLON or byte_at(place + 16) != COLON:
        return NO_TIME
    year = _two_digits(place) * 100 + _two_digits(place + 2)
    month, day = _two_digits(place + 5), _two_digits(place + 8)
    hour, minute = _two_digits(place + 11), _two_digits(place + 14)
    second = _two_digits(place + 17)
    if not (1 <= year <= 9999 and 1 <= month <= 12 and hour <= 23 and minute <= 59 and second <= 59):
        return NO_TIME
    if not 1 <= day <= _DAYS_OF[month]:
        return NO_TIME
    if month == 2 and day == 29 and (year % 4 != 0 or (year % 100 == 0 and year % 400 != 0)):
        return NO_TIME
    fraction = place + 19
    behind = _fraction_end(fraction)
    if behind < 0 or behind >= end:
        return NO_TIME
    offset = _offset_us(behind, end)
    if offset == NO_TIME:
        return NO_TIME
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds * _SECOND_US + _fraction_us(fraction, behind) - offset


@compiled
def copy(begin: int, end: int, out: int) -> int:
    """Copy what stands between two places to `out`, and say where it ends; up to seven bytes more are written over."""
    place = begin
    while place < end:
        put_eight(out + place - begin, eight_at(place))
        place += 8
    return out + end - begin


@compiled
def copy_time(begin: int, end: int, out: int) -> int:
    """Copy a time as msgspec writes it: six digits of a fraction or none, and `Z` where it is UTC."""
    out = copy(begin, begin + 19, out)
    behind = _fraction_end(begin + 19)
    us = _fraction_us(begin + 19, behind) if behind > begin + 19 else 0
    if us:
        put_byte(out, POINT)
        for step in range(6, 0, -1):
            put_byte(out + step, ZERO + us % 10)
            us //= 10
        out += 7
    if _offset_us(behind, end) == 0:
        put_byte(out, _Z)
        return out + 1
    return copy(behind, end, out)
