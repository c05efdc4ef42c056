"""Whether sealing is behind: from the first large find until a small one, and not for ever."""

from farthing.events.pace import BEHIND_EVENTS, BEHIND_SECONDS_MAX, Pace


def test_sealing_that_keeps_up_is_not_behind() -> None:
    pace = Pace()
    assert not pace.is_behind(0.0)
    pace.note(BEHIND_EVENTS - 1, 1.0)
    assert not pace.is_behind(1.0)


def test_it_is_behind_until_it_finds_little() -> None:
    pace = Pace()
    pace.note(BEHIND_EVENTS, 10.0)
    pace.note(BEHIND_EVENTS, 20.0)
    assert pace.is_behind(20.0)
    pace.note(BEHIND_EVENTS - 1, 21.0)
    assert not pace.is_behind(21.0)


def test_what_is_put_off_is_not_put_off_for_ever() -> None:
    pace = Pace()
    for second in range(int(BEHIND_SECONDS_MAX)):
        pace.note(BEHIND_EVENTS, 10.0 + second)
    assert pace.is_behind(10.0 + BEHIND_SECONDS_MAX - 0.5)
    assert not pace.is_behind(10.0 + BEHIND_SECONDS_MAX)
    pace.note(0, 400.0)
    pace.note(BEHIND_EVENTS, 401.0)
    assert pace.is_behind(401.0), "it is behind anew"
