"""What an event is known by and what it says, as messages to hash: as `store/identity_sql.py` has it for DuckDB."""

from farthing.events.scanning.compiled import byte_at, compiled, number_at, put_byte
from farthing.events.scanning.event_lines import DATA, ID, SOURCE, SUBJECT, TYPE
from farthing.events.scanning.json_text import COLON, MINUS, ZERO
from farthing.events.scanning.times import copy

MORE_BYTES_MAX = 64
"""What a message may have more than the line of its event: lengths of texts, and a time in microseconds."""


@compiled
def _put_digits(number: int, out: int) -> int:
    if number < 0:
        put_byte(out, MINUS)
        number, out = -number, out + 1
    digits, rest = 1, number // 10
    while rest:
        digits, rest = digits + 1, rest // 10
    for place in range(digits - 1, -1, -1):
        put_byte(out + place, ZERO + number % 10)
        number //= 10
    return out + digits


@compiled
def _put_colon(out: int) -> int:
    put_byte(out, COLON)
    return out + 1


@compiled
def _characters(begin: int, end: int) -> int:
    """How many characters a text in UTF-8 has."""
    count = 0
    for place in range(begin, end):
        count += byte_at(place) & 0xC0 != 0x80
    return count


@compiled
def put_identity(spans: int, out: int) -> int:
    """Write `event_identity` of an event before it is hashed, and say where it ends. spans: see `event_end`."""
    begin, end = number_at(spans + 16 * SOURCE), number_at(spans + 16 * SOURCE + 8)
    out = copy(begin, end, _put_colon(_put_digits(_characters(begin, end), out)))
    return copy(number_at(spans + 16 * ID), number_at(spans + 16 * ID + 8), out)


@compiled
def put_content(spans: int, has_own: bool, own_us: int, out: int) -> int:
    """Write `event_content` of an event before it is hashed, and say where it ends."""
    begin, end = number_at(spans + 16 * TYPE), number_at(spans + 16 * TYPE + 8)
    out = copy(begin, end, _put_colon(_put_digits(end - begin, out)))
    begin, end = number_at(spans + 16 * SUBJECT), number_at(spans + 16 * SUBJECT + 8)
    out = _put_colon(out if begin < 0 else _put_digits(end - begin, out))
    if begin >= 0:
        out = copy(begin, end, out)
    if has_own:
        out = _put_digits(own_us, out)
    else:
        put_byte(out, MINUS)
        out += 1
    return copy(number_at(spans + 16 * DATA), number_at(spans + 16 * DATA + 8), _put_colon(out))
