"""Who a key speaks for, for how long that is believed, and what happens without the books."""

import asyncio
import threading

import psycopg
import pytest

from farthing.api.authenticator import (
    BOOKS_SECONDS_MAX,
    KNOWN_SECONDS,
    REFRESH_SECONDS,
    WITHOUT_BOOKS_SECONDS_MAX,
    Authenticator,
)
from farthing.api.key_format import mint
from farthing.api.keys import refused_key
from farthing.kernel.errors import FarthingError, Unavailable

KEY = mint(bytes(range(42)), bytes(32)).text
HEADER = f"Bearer {KEY}".encode()


class Books:
    """Stands for the books: one key, which may be revoked, and an outage."""

    def __init__(self) -> None:
        self.asked = 0
        self.revoked = False
        self.down = False
        self.hangs = threading.Event()
        self.hangs.set()

    def look_up(self, presented: str) -> int:
        self.asked += 1
        self.hangs.wait()
        if self.down:
            raise psycopg.OperationalError("gone")
        if self.revoked or presented != KEY:
            raise refused_key()
        return 7


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ask(books, clock, runner):
    authenticator = Authenticator(books.look_up, clock)
    return lambda header=HEADER: runner.run(authenticator.tenant_of(header))


def code_of(ask, header=HEADER):
    with pytest.raises(FarthingError) as caught:
        ask(header)
    return caught.value.code


def test_a_key_is_looked_up_once_a_second(ask, books, clock):
    assert [ask(), ask(), ask()] == [7, 7, 7]
    assert books.asked == 1
    clock.seconds += KNOWN_SECONDS
    assert ask() == 7
    assert books.asked == 2


def test_a_revoked_key_is_refused_within_a_second(ask, books, clock):
    ask()
    books.revoked = True
    clock.seconds += KNOWN_SECONDS
    assert code_of(ask) == "invalid_api_key"
    books.down = True  # A key that was refused does not come back with an outage.
    assert code_of(ask) == "books_unavailable"


def test_a_key_that_was_good_stays_good_while_the_books_are_down(ask, books, clock):
    ask()
    books.down = True
    clock.seconds += KNOWN_SECONDS
    assert ask() == 7
    asked = books.asked
    assert ask() == 7
    assert books.asked == asked, "an outage is not made worse by asking on every request"
    clock.seconds += WITHOUT_BOOKS_SECONDS_MAX
    assert code_of(ask) == "books_unavailable"


def test_books_that_hang_are_waited_for_once(books, clock, runner):
    authenticator = Authenticator(books.look_up, clock)
    runner.run(authenticator.tenant_of(HEADER))
    books.hangs.clear()
    clock.seconds += KNOWN_SECONDS

    async def ask_twice():
        first = asyncio.ensure_future(authenticator.tenant_of(HEADER))
        await asyncio.sleep(0)
        clock.seconds += BOOKS_SECONDS_MAX
        second = await authenticator.tenant_of(HEADER)
        still_waiting = not first.done()
        books.hangs.set()
        return second, still_waiting, await first

    assert runner.run(ask_twice()) == (7, True, 7)


def test_a_new_key_cannot_be_known_while_the_books_are_down(ask, books):
    books.down = True
    with pytest.raises(Unavailable):
        ask()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        (b"", "invalid_api_key"),
        (b"Basic dXNlcjpwYXNz", "invalid_api_key"),
        (b"Bearer", "invalid_api_key"),
        (b"Bearer fk_1_2_3", "invalid_api_key"),
        (b"Bearer \xff\xfe", "invalid_api_key"),
        (HEADER[:-1], "invalid_api_key"),
    ],
)
def test_what_is_no_key_never_reaches_the_books(ask, books, header, code):
    assert code_of(ask, header) == code
    assert books.asked == 0


def test_the_scheme_may_be_written_in_any_case(ask):
    assert ask(f"bearer {KEY}".encode()) == 7


def test_requests_that_wait_for_one_answer_ask_once(books, clock, runner):
    authenticator = Authenticator(books.look_up, clock)

    async def many():
        return await asyncio.gather(*(authenticator.tenant_of(HEADER) for _ in range(50)))

    assert runner.run(many()) == [7] * 50
    assert books.asked == 1


def test_a_key_in_use_is_asked_about_again_before_anybody_has_to_wait(books, clock):
    async def use() -> None:
        authenticator = Authenticator(books.look_up, clock)
        assert authenticator.known(HEADER) is None
        assert await authenticator.tenant_of(HEADER) == 7
        assert (authenticator.known(HEADER), books.asked) == (7, 1)
        clock.seconds += REFRESH_SECONDS + 0.1
        books.hangs.clear()
        assert [authenticator.known(HEADER) for _ in range(5)] == [7] * 5
        books.hangs.set()
        while clock.seconds < 100.0 + KNOWN_SECONDS + 0.1:
            await asyncio.sleep(0)
            if len(authenticator._under_way) == 0:
                clock.seconds += 0.5
        assert (authenticator.known(HEADER), books.asked) == (7, 2)
        # Revoked: known at most until its second is over.
        books.revoked = True
        clock.seconds += KNOWN_SECONDS
        assert authenticator.known(HEADER) is None

    asyncio.run(use())
