"""JSON as it stands in a text: strings, numbers and values, strictly (RFC 8259), and only what is usual of it.

Every function that looks for an end gives `ODD` where it meets anything else: an escape where none is expected, white
space other than spaces, a second member of a wanted name, or what is no JSON. Whoever asked leaves it to others then.
"""

from farthing.events.scanning.compiled import (
    Eight,
    byte_at,
    compiled,
    eight_at,
    first_eight,
    number_at,
    only,
    put_number,
    zeros_below,
)

QUOTE, BACKSLASH, SPACE, NEWLINE = ord('"'), ord("\\"), ord(" "), ord("\n")
COMMA, COLON, MINUS, PLUS, POINT = ord(","), ord(":"), ord("-"), ord("+"), ord(".")
BRACE, BRACE_CLOSED, BRACKET, BRACKET_CLOSED = ord("{"), ord("}"), ord("["), ord("]")
ZERO, _NINE, _E, _E_SMALL = ord("0"), ord("9"), ord("E"), ord("e")

ODD = -1
"""In place of a place in memory: what stood here is none of the usual."""

_EACH = Eight(0x0101010101010101)
_HIGHEST = Eight(0x8080808080808080)
_QUOTES = _EACH * Eight(QUOTE)
_BACKSLASHES = _EACH * Eight(BACKSLASH)
_SPACES = _EACH * Eight(SPACE)


@compiled
def _clear_end(place: int) -> int:
    """The first byte from `place` on that is a quotation mark, a backslash, a control or not ASCII."""
    while True:
        eight = eight_at(place)
        quote, backslash = eight ^ _QUOTES, eight ^ _BACKSLASHES
        # The borrow of a subtraction shows which byte was zero (Hacker's Delight, 6-1); the lowest mark is exact.
        marks = (
            (quote - _EACH) & ~quote | (backslash - _EACH) & ~backslash | (eight - _SPACES) & ~eight | eight
        )
        marks &= _HIGHEST
        if marks:
            return place + (zeros_below(marks) >> 3)
        place += 8


@compiled
def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


@compiled
def _character_end(place: int) -> int:
    """Behind the UTF-8 character of several bytes at `place` (Unicode 16, table 3-7)."""
    first, second = byte_at(place), byte_at(place + 1)
    if not _continues(second):
        return ODD
    if 0xC2 <= first <= 0xDF:
        return place + 2
    if not _continues(byte_at(place + 2)):
        return ODD
    if 0xE0 <= first <= 0xEF:
        usual = (first != 0xE0 or second >= 0xA0) and (first != 0xED or second < 0xA0)
        return place + 3 if usual else ODD
    usual = 0xF0 <= first <= 0xF4 and (first != 0xF0 or second >= 0x90) and (first != 0xF4 or second < 0x90)
    return place + 4 if usual and _continues(byte_at(place + 3)) else ODD


@compiled
def string_end(place: int) -> int:
    """The quotation mark that closes the string whose content begins at `place`. With a backslash in it, it is odd."""
    while True:
        place = _clear_end(place)
        byte = byte_at(place)
        if byte == QUOTE:
            return place
        place = _character_end(place) if byte >= 0x80 else ODD
        if place < 0:
            return ODD


@compiled
def _escape_end(place: int) -> int:
    """Behind an escape of two characters; one by number is odd."""
    escaped = byte_at(place + 1)
    for usual in (QUOTE, BACKSLASH, ord("/"), ord("b"), ord("f"), ord("n"), ord("r"), ord("t")):
        if escaped == usual:
            return place + 2
    return ODD


@compiled
def _escaped_end(place: int) -> int:
    """As `string_end`, of a string that is only passed on, which may have escapes."""
    while True:
        place = _clear_end(place)
        byte = byte_at(place)
        if byte == QUOTE:
            return place
        if byte >= 0x80:
            place = _character_end(place)
        elif byte == BACKSLASH:
            place = _escape_end(place)
        else:
            return ODD
        if place < 0:
            return ODD


@compiled
def behind_spaces(place: int) -> int:
    """The first byte from `place` on that is no space."""
    while byte_at(place) == SPACE:
        place += 1
    return place


@compiled
def is_digit(byte: int) -> bool:
    """Whether it is one of 0 to 9."""
    return ZERO <= byte <= _NINE


@compiled
def behind_digits(place: int) -> int:
    """The first byte from `place` on that is no digit."""
    while is_digit(byte_at(place)):
        place += 1
    return place


@compiled
def _number_end(place: int) -> int:
    """Behind a number (RFC 8259, 6)."""
    if byte_at(place) == MINUS:
        place += 1
    if byte_at(place) == ZERO:
        place += 1
    elif is_digit(byte_at(place)):
        place = behind_digits(place)
    else:
        return ODD
    if byte_at(place) == POINT:
        if not is_digit(byte_at(place + 1)):
            return ODD
        place = behind_digits(place + 1)
    if byte_at(place) == _E or byte_at(place) == _E_SMALL:
        place += 1
        if byte_at(place) == PLUS or byte_at(place) == MINUS:
            place += 1
        if not is_digit(byte_at(place)):
            return ODD
        place = behind_digits(place)
    return place


_TRUE, _FALSE, NULL = first_eight("true"), first_eight("false"), first_eight("null")
FOUR, _FIVE = only(4), only(5)


@compiled
def _word_end(place: int) -> int:
    """Behind true, false or null."""
    eight = eight_at(place)
    if eight & FOUR == _TRUE or eight & FOUR == NULL:
        return place + 4
    return place + 5 if eight & _FIVE == _FALSE else ODD


@compiled
def _scalar_end(place: int, exact: bool) -> int:
    """Behind a string, a number or a word. exact: whether an escape in a string is odd."""
    byte = byte_at(place)
    if byte == QUOTE:
        end = string_end(place + 1) if exact else _escaped_end(place + 1)
        return end + 1 if end >= 0 else ODD
    if byte == MINUS or is_digit(byte):
        return _number_end(place)
    return _word_end(place)


# -------------------------------------------------------------------------------------------------
# Values, and what is wanted of them. A tree of wanted members is a row of numbers: how many members there are, then for
# each of them the member that it stands in (0 is the value itself), the place of its name and how long that is.

MEMBER_NUMBERS = 3
"""How many numbers a wanted member takes in a tree."""


@compiled
def _wanted(place: int, length: int, within: int, tree: int) -> int:
    """The wanted member of the object `within` whose name stands at `place`, -1 where it is not wanted."""
    entry = tree + 8
    for member in range(1, number_at(tree) + 1):
        if number_at(entry) == within and number_at(entry + 16) == length:
            name = number_at(entry + 8)
            step = 0
            while step < length and byte_at(name + step) == byte_at(place + step):
                step += 1
            if step == length:
                return member
        entry += 8 * MEMBER_NUMBERS
    return -1


@compiled
def _behind_closed(place: int, level: int, objects: Eight) -> tuple[int, int, Eight]:
    """From behind a value, out of all objects and lists that end there, to behind the comma: the place, the level and
    what the levels are. Level 0: the outermost ended, and nothing behind it was looked at."""
    while level > 0:
        place = behind_spaces(place)
        byte = byte_at(place)
        if byte == COMMA:
            return behind_spaces(place + 1), level, objects
        if byte != (BRACE_CLOSED if objects & _ONE else BRACKET_CLOSED):
            return ODD, level, objects
        level -= 1
        objects >>= _ONE
        place += 1
    return place, level, objects


LEVELS_MAX = 31
"""Of data within data: with the event's own braces they are the levels that an event may have."""
_ONE = Eight(1)


@compiled
def _behind_name(place: int, within: int, tree: int, found: int) -> tuple[int, int]:
    """From a member's name to its value; and which wanted member of the object `within` it is, -1 if none."""
    end = string_end(place + 1) if byte_at(place) == QUOTE else ODD
    if end < 0:
        return ODD, -1
    member = _wanted(place + 1, end - place - 1, within, tree) if within >= 0 else -1
    if member > 0 and number_at(found + 16 * member) >= 0:  # A second one of that name.
        return ODD, -1
    end = behind_spaces(end + 1)
    return (behind_spaces(end + 1), member) if byte_at(end) == COLON else (ODD, -1)


@compiled
def value_end(place: int, tree: int, within: int, found: int) -> int:
    """Behind the JSON value at `place`. Where its wanted members begin and end is put into `found`, two numbers each.

    within: room for a number a level, and one. Of a wanted object or list only the beginning is found.
    """
    objects = Eight(0)  # A bit a level, the innermost lowest: whether it is an object.
    level = 0
    member = 0 if number_at(tree) else -1  # The wanted one whose value comes next; -1: nobody wants it.
    while True:
        byte = byte_at(place)
        if member > 0:
            put_number(found + 16 * member, place)
        if byte in (BRACE, BRACKET):
            if level == LEVELS_MAX:
                return ODD
            level += 1
            put_number(within + 8 * level, member if byte == BRACE else -1)
            objects = objects << _ONE | Eight(byte == BRACE)
            place = behind_spaces(place + 1)
            opened = byte_at(place) != (BRACE_CLOSED if byte == BRACE else BRACKET_CLOSED)
        else:
            place = _scalar_end(place, member > 0)
            if place < 0:
                return ODD
            opened = False
        if member > 0:
            put_number(found + 16 * member + 8, place)
        if not opened:
            place, level, objects = _behind_closed(place, level, objects)
            if place < 0 or level == 0:
                return place
        member = -1
        if objects & _ONE:
            place, member = _behind_name(place, number_at(within + 8 * level), tree, found)
            if place < 0:
                return ODD
