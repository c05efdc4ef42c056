"""The events of a log's lines as columns: the envelope, `data` as it is, and what meters want of it.

Every event whose line is as usual becomes a row of columns, whose texts are views of the lines, as Arrow has them. The
lines of the others are given back, to be read the general way.
"""

import numpy as np

from farthing.events.scanning.compiled import (
    PADDING,
    Bytes,
    Eight,
    Numbers,
    address,
    byte_at,
    compiled,
    eight_at,
    number_at,
    put_byte,
    put_eight,
    put_number,
)
from farthing.events.scanning.event_lines import (
    DATA,
    ID,
    SOURCE,
    SUBJECT,
    TIME,
    TYPE,
    event_end,
    found_in,
    room_for,
)
from farthing.events.scanning.identity import MORE_BYTES_MAX, put_content, put_identity
from farthing.events.scanning.json_text import (
    BRACE,
    BRACKET,
    LEVELS_MAX,
    MINUS,
    POINT,
    QUOTE,
    ZERO,
    behind_digits,
)
from farthing.events.scanning.loading import TEXTS, Columns
from farthing.events.scanning.md5 import (
    LANES,
    end_message,
    hash_messages,
    message_of,
    room_bytes,
    size_of_lane,
)
from farthing.events.scanning.times import time_us

_WHOLE_DIGITS_MAX, _DIGITS_MAX, _DIGITS_AFTER_POINT_MAX = 18, 15, 12

_ABSENT, _TEXT, _WHOLE, _FRACTION, _OTHER = range(5)


@compiled
def _kind(begin: int, end: int) -> int:
    """What a member's value is. A number is whole or a fraction only where all ways to read it give the same digits."""
    byte = byte_at(begin)
    if byte == QUOTE or byte == ord("t") or byte == ord("f"):
        return _TEXT
    if byte == ord("n"):
        return _ABSENT
    if byte in (BRACE, BRACKET):
        return _OTHER
    first = begin + 1 if byte == MINUS else begin
    behind = behind_digits(first)
    if behind == end:
        usual = behind - first <= _WHOLE_DIGITS_MAX and (byte_at(first) != ZERO or first == begin)
        return _WHOLE if usual else _OTHER
    if byte_at(behind) != POINT or behind_digits(behind + 1) != end:
        return _OTHER
    after = end - behind - 1
    return _FRACTION if behind - first + after <= _DIGITS_MAX and after <= _DIGITS_AFTER_POINT_MAX else _OTHER


@compiled
def _whole(begin: int, end: int) -> int:
    first = begin + 1 if byte_at(begin) == MINUS else begin
    number = 0
    for place in range(first, end):
        number = number * 10 + byte_at(place) - ZERO
    return -number if first > begin else number


@compiled
def _put_text(begin: int, end: int, base: int, text: int, view: int, present: int) -> None:
    """Put what stands between two places as a view of the text, or none where `begin` is none.

    A view (Arrow, variable-size binary view layout) is two numbers: the length and the first four bytes, and then
    either the next eight bytes of what has at most twelve, or which text it stands in and where, the text beginning at
    `base`.
    """
    put_byte(present, begin >= 0)
    length = end - begin if begin >= 0 else 0
    if length > _SHORT_MAX:
        put_eight(view, Eight(length) | eight_at(begin) << _HALF)
        put_eight(view + 8, Eight(text) | Eight(begin - base) << _HALF)
        return
    # What stands behind a short text is not of it: the view has zeros there.
    first = eight_at(begin) if length > 0 else _NOTHING
    if length < 4:
        first &= (_ONE << Eight(8 * length)) - _ONE
    put_eight(view, Eight(length) | first << _HALF)
    rest = _NOTHING
    if length > 4:
        rest = eight_at(begin + 4)
        if length < _SHORT_MAX:
            rest &= (_ONE << Eight(8 * (length - 4))) - _ONE
    put_eight(view + 8, rest)


_SHORT_MAX = 12
_NOTHING, _ONE, _HALF = Eight(0), Eight(1), Eight(32)


@compiled
def _put_wanted(
    found: int,
    nodes: int,
    columns: int,
    numbers: int,
    base: int,
    text: int,
    row: int,
    rows: int,
    views: int,
    present: int,
    wholes: int,
    is_whole: int,
) -> bool:
    """Put every wanted member into its column; whether each of them can be taken."""
    for column in range(columns):
        span = found + 16 * number_at(nodes + 8 * column)
        begin, end = number_at(span), number_at(span + 8)
        kind = _ABSENT if begin < 0 else _kind(begin, end)
        if kind == _OTHER or kind == (_TEXT if column < numbers else _FRACTION):
            return False
        if kind == _ABSENT:
            begin = -1
        elif byte_at(begin) == QUOTE:
            begin, end = begin + 1, end - 1
        place = (TEXTS + column) * rows + row
        _put_text(begin, end, base, text, views + 16 * place, present + place)
        if column < numbers:
            place = column * rows + row
            put_byte(is_whole + place, kind == _WHOLE)
            put_number(wholes + 8 * place, _whole(begin, end) if kind == _WHOLE else 0)
    return True


@compiled
def _put_envelope(spans: int, base: int, text: int, row: int, rows: int, views: int, present: int) -> None:
    for column, attribute in enumerate((ID, SOURCE, TYPE, SUBJECT, DATA)):
        place = column * rows + row
        begin, end = number_at(spans + 16 * attribute), number_at(spans + 16 * attribute + 8)
        _put_text(begin, end, base, text, views + 16 * place, present + place)


@compiled
def plain_fields(
    text: Bytes,
    last_lines: Bytes,
    last: int,
    number: int,
    lines: Numbers,
    first_line: int,
    tree: Numbers,
    nodes: Numbers,
    numbers: int,
    room: Numbers,
    lanes: Bytes,
    first_row: int,
    into: Columns,
    odd: Numbers,
) -> tuple[int, int]:
    """Put the usual events among the lines of a text into columns. Returns the row behind, and how many lines are odd.

    text: the lines. last_lines: from the line `last` on once more, with `PADDING` behind it; see `canonical_lines`.
    number: of the text, for views.
    lines: where each line begins, and behind them where the last one ends. first_line: the number of the first.
    tree: the wanted members of data, see `value_end`; nodes: the member of each wanted column, of which the first
        `numbers` are columns of numbers.
    room: `room_for` the wanted members. lanes: [2, ...], `lanes_for` the longest line. odd: the places of odd lines.
    """
    within = address(room)
    spans, found, members = within + 8 * (LEVELS_MAX + 1), found_in(within), address(tree)
    wanted, columns, rows = address(nodes), len(nodes), len(into.taken)
    views, present, wholes, is_whole = (
        address(into.views), address(into.present), address(into.wholes), address(into.is_whole)
    )  # fmt: skip
    size, identities = size_of_lane(lanes.shape[1]), address(lanes)
    contents = identities + lanes.shape[1]
    row, hashed, odd_ones, base = first_row, first_row, 0, address(text)
    for line in range(len(lines) - 1):
        if line == last:
            base = address(last_lines) - lines[line]
        newline = event_end(base + lines[line], members, within, found, spans)
        usual = newline == base + lines[line + 1] - 1 and number_at(spans + 16 * DATA) >= 0
        usual = usual and _put_wanted(
            found, wanted, columns, numbers, base, number, row, rows, views, present, wholes, is_whole
        )
        if not usual:
            odd[odd_ones] = line
            odd_ones += 1
            continue
        _put_envelope(spans, base, number, row, rows, views, present)
        begin = number_at(spans + 16 * TIME)
        own_us = time_us(begin, number_at(spans + 16 * TIME + 8)) if begin >= 0 else 0
        into.has_own[row] = begin >= 0
        into.own_us[row] = own_us
        into.taken[row] = first_line + line
        lane = row - hashed
        end_message(identities, lane, size, put_identity(spans, message_of(identities, lane, size)))
        end_message(
            contents, lane, size, put_content(spans, begin >= 0, own_us, message_of(contents, lane, size))
        )
        row += 1
        if row - hashed == LANES:
            _hash(identities, contents, LANES, size, hashed, into.hashes)
            hashed = row
    _hash(identities, contents, row - hashed, size, hashed, into.hashes)
    return row, odd_ones


@compiled
def _hash(identities: int, contents: int, lanes: int, size: int, row: int, hashes: Numbers) -> None:
    column = 8 * hashes.shape[1]
    place = address(hashes) + 8 * row
    hash_messages(identities, lanes, size, place + column, place)
    hash_messages(contents, lanes, size, place + 3 * column, place + 2 * column)


def lanes_for(line_bytes_max: int) -> Bytes:
    """Room for the messages that identities and contents are hashes of."""
    return np.zeros((2, room_bytes(line_bytes_max + MORE_BYTES_MAX)), np.uint8)


def compile_now() -> None:
    """Have `plain_fields` compiled, or its machine code loaded."""
    text, none = np.frombuffer(PADDING, dtype=np.uint8), np.zeros(1, np.int64)
    plain_fields(
        text, text, 0, 0, none, 0, none, none, 0, room_for(0), lanes_for(0), 0, Columns.of(0, 0, 0), none
    )
