"""Pieces that are made in a thread while others are used: the same ones, in their order, at most one early."""

from collections.abc import Iterator
from threading import Event, get_ident

import pytest

from farthing.invoicing.drafting.one_ahead import one_ahead


def test_all_come_in_their_order_and_at_most_one_early() -> None:
    made: list[int] = []
    threads: set[int] = set()

    def pieces() -> Iterator[list[int]]:
        for number in range(50):
            made.append(number)
            threads.add(get_ident())
            yield [number]

    taken = []
    for piece in one_ahead(pieces()):
        taken += piece
        assert len(made) <= len(taken) + 1
    assert taken == list(range(50))
    assert len(threads) == 1
    assert get_ident() not in threads


def test_the_next_is_made_while_one_is_used() -> None:
    begun = Event()

    def pieces() -> Iterator[list[int]]:
        yield [1]
        begun.set()
        yield [2]

    coming = one_ahead(pieces())
    assert next(coming) == [1]
    assert begun.wait(10)
    assert list(coming) == [[2]]


def test_what_making_one_raises_is_raised_in_its_turn() -> None:
    def pieces() -> Iterator[list[int]]:
        yield [1]
        raise ValueError("no more")

    coming = one_ahead(pieces())
    assert next(coming) == [1]
    with pytest.raises(ValueError, match="no more"):
        next(coming)


def test_nothing_is_nothing() -> None:
    assert list(one_ahead(iter(list[list[int]]()))) == []
