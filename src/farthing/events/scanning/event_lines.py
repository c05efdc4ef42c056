"""Lines with an event each: what stands where in them, and how the log writes them.

A line in which anything is odd is left to the general way, msgspec at the door and DuckDB in the sealer, which alone
says what is wrong with it. So a line means the same whichever way it goes: tests hold the two against each other.
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
    eights,
    first_eight,
    number_at,
    only,
    put_byte,
    put_eight,
    put_number,
)
from farthing.events.scanning.json_text import (
    BRACE,
    BRACE_CLOSED,
    COLON,
    COMMA,
    FOUR,
    LEVELS_MAX,
    NEWLINE,
    NULL,
    ODD,
    QUOTE,
    behind_spaces,
    string_end,
    value_end,
)
from farthing.events.scanning.times import NO_TIME, copy, copy_time, time_us

ID, SOURCE, TYPE, _SPECVERSION, SUBJECT, TIME, DATA, _OTHER = range(8)
ATTRIBUTES = 7

_NAME_ID, _NAME_SOURCE, _NAME_TYPE = first_eight('id"'), first_eight('source"'), first_eight('type"')
_NAME_SUBJECT, _NAME_TIME, _NAME_DATA = first_eight('subject"'), first_eight('time"'), first_eight('data"')
_NAME_SPECVERSION, _REST_OF_SPECVERSION = first_eight("specvers"), first_eight('ion"')
_NAME_CORRECTS = first_eight("corrects")
_THREE, _FIVE, _SEVEN = only(3), only(5), only(7)
_VERSION = first_eight('1.0"')
_LENGTH_MAX = 256


@compiled
def _attribute(place: int) -> int:
    """Which attribute the name that begins at `place` is."""
    eight = eight_at(place)
    if eight & _THREE == _NAME_ID:
        return ID
    if eight & _SEVEN == _NAME_SOURCE:
        return SOURCE
    if eight == _NAME_SUBJECT:
        return SUBJECT
    if eight == _NAME_SPECVERSION and eight_at(place + 8) & FOUR == _REST_OF_SPECVERSION:
        return _SPECVERSION
    eight &= _FIVE
    if eight == _NAME_TYPE:
        return TYPE
    if eight == _NAME_TIME:
        return TIME
    return DATA if eight == _NAME_DATA else _OTHER


@compiled
def _text_attribute_end(place: int, which: int, spans: int) -> int:
    """Behind an attribute's value that is text, which is held to its bounds; null is as good as absent for some."""
    if byte_at(place) != QUOTE:
        usual = (which in (SUBJECT, TIME)) and eight_at(place) & FOUR == NULL
        return place + 4 if usual else ODD
    begin = place + 1
    end = string_end(begin)
    if end < 0 or not 1 <= end - begin <= _LENGTH_MAX:
        return ODD
    if which == TIME and time_us(begin, end) == NO_TIME:
        return ODD
    if which == _SPECVERSION and eight_at(begin) & FOUR != _VERSION:
        return ODD
    put_number(spans + 16 * which, begin)
    put_number(spans + 16 * which + 8, end)
    return end + 1


@compiled
def _attribute_end(place: int, which: int, name: int, tree: int, within: int, found: int, spans: int) -> int:
    """Behind an attribute's value."""
    if which == DATA:
        end = value_end(place, tree, within, found)
        put_number(spans + 16 * DATA, place)
        put_number(spans + 16 * DATA + 8, end)
        return end
    if which != _OTHER:
        return _text_attribute_end(place, which, spans)
    # An attribute that the log does not keep; of what corrections say it keeps everything.
    return (
        ODD if eight_at(name) == _NAME_CORRECTS else value_end(place, spans + 16 * ATTRIBUTES, within, found)
    )


@compiled
def event_end(place: int, tree: int, within: int, found: int, spans: int) -> int:
    """The newline behind the event whose line begins at `place`.

    tree, within, found: of its data, see `value_end`. spans: where the value of each attribute begins and ends (of
        text: its content), two numbers each, -1 where there is none; and behind them a 0.
    """
    for number in range(2 * ATTRIBUTES):
        put_number(spans + 8 * number, -1)
    for member in range(1, number_at(tree) + 1):
        put_number(found + 16 * member, -1)
    given = 0  # A bit an attribute: none may be there twice.
    separator = BRACE
    while byte_at(place) == separator:
        separator = COMMA
        name = behind_spaces(place + 1) + 1
        end = string_end(name) if byte_at(name - 1) == QUOTE else ODD
        if end < 0:
            return ODD
        which = _attribute(name)
        place = behind_spaces(end + 1)
        if byte_at(place) != COLON or (which != _OTHER and given >> which & 1):
            return ODD
        given |= 1 << which
        place = _attribute_end(behind_spaces(place + 1), which, name, tree, within, found, spans)
        if place < 0:
            return ODD
        place = behind_spaces(place)
    if byte_at(place) != BRACE_CLOSED or given & _REQUIRED != _REQUIRED:
        return ODD
    place = behind_spaces(place + 1)
    return place if byte_at(place) == NEWLINE else ODD


_REQUIRED = 1 << ID | 1 << SOURCE | 1 << TYPE
_BEFORE_ID, _BEFORE_SOURCE, _BEFORE_TYPE = eights('{"id":"'), eights('","source":"'), eights('","type":"')
_BEFORE_SUBJECT, _BEFORE_TIME = eights('","specversion":"1.0","subject":'), eights(',"time":')
_BEFORE_DATA, _NO_VALUE = eights(',"data":'), eights("null")


@compiled
def _put(words: tuple[tuple[Eight, ...], int], out: int) -> int:
    place = out
    for eight in words[0]:
        put_eight(place, eight)
        place += 8
    return out + words[1]


@compiled
def _put_span(spans: int, which: int, out: int) -> int:
    return copy(number_at(spans + 16 * which), number_at(spans + 16 * which + 8), out)


@compiled
def _put_event(spans: int, out: int) -> int:
    """Write the canonical line of an event (`Event` in `events/model.py`)."""
    out = _put_span(spans, ID, _put(_BEFORE_ID, out))
    out = _put_span(spans, SOURCE, _put(_BEFORE_SOURCE, out))
    out = _put_span(spans, TYPE, _put(_BEFORE_TYPE, out))
    out = _put(_BEFORE_SUBJECT, out)
    begin, end = number_at(spans + 16 * SUBJECT), number_at(spans + 16 * SUBJECT + 8)
    out = _put(_NO_VALUE, out) if begin < 0 else copy(begin - 1, end + 1, out)
    out = _put(_BEFORE_TIME, out)
    begin, end = number_at(spans + 16 * TIME), number_at(spans + 16 * TIME + 8)
    if begin < 0:
        out = _put(_NO_VALUE, out)
    else:
        put_byte(out, QUOTE)
        out = copy_time(begin, end, out + 1)
        put_byte(out, QUOTE)
        out += 1
    out = _put(_BEFORE_DATA, out)
    out = _put(_NO_VALUE, out) if number_at(spans + 16 * DATA) < 0 else _put_span(spans, DATA, out)
    put_byte(out, BRACE_CLOSED)
    put_byte(out + 1, NEWLINE)
    return out + 2


@compiled
def canonical_lines(
    text: Bytes,
    last_lines: Bytes,
    last_begin: int,
    line_bytes_max: int,
    room: Numbers,
    out: Bytes,
    odd: Numbers,
) -> tuple[int, int, int]:
    """Write the canonical lines of the usual events among the lines of a text.

    last_lines: from the line on that begins at `last_begin`, all of the text once more, with `PADDING` behind it. No
        line before may end in the last bytes of the text, as many as `PADDING` has.
    room: `room_for` no members. out: three times as long as the text, and `PADDING`.
    odd: [any, 4], of each run of odd lines where it begins and ends, how many bytes had been written before, and how
        many events. The last one may hold all that is left.
    Returns how many events and bytes were written, and how many runs are odd.
    """
    within = address(room)
    spans = within + 8 * (LEVELS_MAX + 1)
    tree = spans + 16 * ATTRIBUTES  # of no members
    base, out_at = address(text), address(out)
    place, written, events, runs = 0, out_at, 0, 0
    while place < len(text):
        if place == last_begin:
            base = address(last_lines) - place
        end = event_end(base + place, tree, within, spans, spans) - base + 1
        if 0 < end - place <= line_bytes_max:
            written = _put_event(spans, written)
            events += 1
        else:
            end = _line_end(text, place)
            if runs == 0 or odd[runs - 1, 1] != place:
                odd[runs, 0], odd[runs, 2], odd[runs, 3] = place, written - out_at, events
                runs += 1
            if runs == len(odd):
                end = len(text)
            odd[runs - 1, 1] = end
        place = end
    return events, written - out_at, runs


@compiled
def _line_end(text: Bytes, place: int) -> int:
    while place < len(text) and text[place] != NEWLINE:
        place += 1
    return min(place + 1, len(text))


_ROOM = LEVELS_MAX + 1 + 2 * ATTRIBUTES + 1


def room_for(members: int) -> Numbers:
    """What `event_end` writes down about an event, of whose data so many members are wanted.

    It belongs to whoever calls: what compiled functions make is given back once only places in it are known.
    """
    return np.zeros(_ROOM + 2 * (members + 1), np.int64)


@compiled
def found_in(room: int) -> int:
    """Where in it the wanted members go."""
    return room + 8 * _ROOM


def compile_now() -> None:
    """Have `canonical_lines` compiled, or its machine code loaded."""
    text = np.frombuffer(PADDING, dtype=np.uint8)
    canonical_lines(
        text[:0], text, 0, 0, room_for(0), np.empty(len(PADDING), np.uint8), np.empty((1, 4), np.int64)
    )
