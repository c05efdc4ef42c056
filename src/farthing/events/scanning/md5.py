"""MD5 (RFC 1321) of many short messages, eight at a time: a lane of the processor's vectors for each."""

import math
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from farthing.events.scanning.compiled import (
    Eight,
    compiled,
    eight_at,
    four_at,
    number_at,
    put_byte,
    put_eight,
    put_four,
    put_number,
)

LANES = 8
_BLOCK_BYTES, _WORDS = 64, 16
_TURNS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
_NUMBERS = tuple(int(abs(math.sin(step + 1)) * 2**32) for step in range(64))
_BEGIN = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)


def _declare_mix(_context: Any, _words: Any, _state: Any) -> Any:
    """What mixes a block of every lane into its state: [word, lane] and [a to d, lane], numbers of 32 bits."""
    lanes = ir.VectorType(ir.IntType(32), LANES)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        words, state = (builder.inttoptr(place, lanes.as_pointer()) for place in arguments)

        def at(place: Any, number: int) -> Any:
            return builder.gep(place, [ir.Constant(ir.IntType(32), number)])

        def read(place: Any) -> Any:
            load = builder.load(place)
            load.align = 4
            return load

        def every(number: int) -> Any:
            return ir.Constant(lanes, [ir.Constant(ir.IntType(32), number)] * LANES)

        begin = [read(at(state, number)) for number in range(4)]
        block = [read(at(words, number)) for number in range(_WORDS)]
        a, b, c, d = begin
        for step, number in enumerate(_NUMBERS):
            part = step // _WORDS
            if part == 0:
                mixed, word = builder.xor(d, builder.and_(b, builder.xor(c, d))), step
            elif part == 1:
                mixed, word = builder.xor(c, builder.and_(d, builder.xor(b, c))), 5 * step + 1
            elif part == 2:
                mixed, word = builder.xor(b, builder.xor(c, d)), 3 * step + 5
            else:
                mixed, word = builder.xor(c, builder.or_(b, builder.not_(d))), 7 * step
            added = builder.add(builder.add(a, builder.add(block[word % _WORDS], every(number))), mixed)
            turn = _TURNS[part][step % 4]
            turned = builder.or_(builder.shl(added, every(turn)), builder.lshr(added, every(32 - turn)))
            a, b, c, d = d, builder.add(b, turned), b, c
        for number, (old, new) in enumerate(zip(begin, (a, b, c, d), strict=True)):
            builder.store(builder.add(old, new), at(state, number)).align = 4
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


_mix = cast(Callable[[int, int], None], intrinsic(_declare_mix))

_STATE = 0
_TRANSPOSED = _STATE + 4 * 4 * LANES
_LENGTHS = _TRANSPOSED + 4 * _WORDS * LANES
_MESSAGES = _LENGTHS + 8 * LANES
_HALF = Eight(32)


def room_bytes(message_bytes_max: int) -> int:
    """What messages that are not longer than this take in all lanes, and what goes with them."""
    return _MESSAGES + LANES * (message_bytes_max // _BLOCK_BYTES + 3) * _BLOCK_BYTES


@compiled
def size_of_lane(room_bytes: int) -> int:
    """What of that a lane takes."""
    return (room_bytes - _MESSAGES) // LANES


@compiled
def message_of(room: int, lane: int, size: int) -> int:
    """Where the message of a lane begins, each of which takes `size` bytes."""
    return room + _MESSAGES + lane * size


@compiled
def end_message(room: int, lane: int, size: int, end: int) -> None:
    """Say where the message of a lane ends."""
    begin = message_of(room, lane, size)
    put_number(room + _LENGTHS + 8 * lane, end - begin)
    put_byte(end, 0x80)
    length = begin + _blocks(end - begin) * _BLOCK_BYTES - 8
    place = end + 1
    while place < length:
        put_byte(place, 0)
        place += 1
    put_number(length, 8 * (end - begin))


@compiled
def _blocks(message_bytes: int) -> int:
    """How many blocks a message takes with the byte that ends it and the eight of its length."""
    return (message_bytes + 8) // _BLOCK_BYTES + 1


@compiled
def hash_messages(room: int, lanes: int, size: int, low: int, high: int) -> None:
    """Hash the messages of the first `lanes`. Of each hash the first eight bytes go to `low`, the last to `high`."""
    most = 0
    for lane in range(lanes):
        most = max(most, _blocks(number_at(room + _LENGTHS + 8 * lane)))
    for number in range(4):
        for lane in range(LANES):
            put_four(room + _STATE + 4 * (number * LANES + lane), _BEGIN[number])
    for block in range(most):
        for lane in range(LANES):
            source = message_of(room, lane, size) + block * _BLOCK_BYTES
            target = room + _TRANSPOSED + 4 * lane
            for pair in range(_WORDS // 2):
                eight = eight_at(source + 8 * pair)
                put_four(target + 8 * LANES * pair, eight & _LOW)
                put_four(target + 8 * LANES * pair + 4 * LANES, eight >> _HALF)
        _mix(room + _TRANSPOSED, room + _STATE)
        for lane in range(lanes):
            if block == _blocks(number_at(room + _LENGTHS + 8 * lane)) - 1:
                put_eight(low + 8 * lane, _half_of_hash(room, lane, 0))
                put_eight(high + 8 * lane, _half_of_hash(room, lane, 2))


@compiled
def _half_of_hash(room: int, lane: int, number: int) -> Eight:
    place = room + _STATE + 4 * (number * LANES + lane)
    return Eight(four_at(place)) | Eight(four_at(place + 4 * LANES)) << _HALF


_LOW = Eight(0xFFFFFFFF)
