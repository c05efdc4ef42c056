"""Which units pay, without a database."""

from datetime import UTC, datetime
from decimal import Decimal as D

from farthing.kernel.quantity import exact
from farthing.wallets.model import EVERYTHING, ChargeKey, OpenGrant, Scope
from farthing.wallets.units import Purse, UnitGrants, UnitPart, moves

AT = datetime(2026, 1, 15, tzinfo=UTC)
KEY = ChargeKey(7, datetime(2026, 1, 1, tzinfo=UTC), "calls")
OTHER = ChargeKey(8, datetime(2026, 1, 1, tzinfo=UTC), "calls")


def grant(grant_id: int, left: str, unit: str | None = "calls", scope: Scope = EVERYTHING) -> OpenGrant:
    currency = "USD" if unit is None else None
    return OpenGrant(
        grant_id, 1, 100, True, 100, scope, datetime(2026, 1, 1, tzinfo=UTC), None, D(left), currency, unit
    )


def purse(*grants: OpenGrant, standing: dict[ChargeKey, list[tuple[int, D]]] | None = None) -> Purse:
    ids = [one.grant_id for one in grants]
    return Purse(
        UnitGrants({1: grants}, standing or {}, dict.fromkeys(ids, "w"), dict.fromkeys(ids, D("0.1")))
    )


def paid(held: Purse, wanted: str, key: ChargeKey = KEY, meter: str = "calls") -> list[tuple[int, D]] | None:
    with exact():
        found = held.pay(key, 1, meter, D(wanted), AT)
    return None if found is None else list(found.parts)


def test_only_units_of_the_meter_pay_and_only_what_a_grant_covers() -> None:
    held = purse(
        grant(1, "5", unit="tokens"), grant(2, "7", unit=None), grant(3, "9", scope=Scope((), ("other",)))
    )
    assert paid(held, "4") == []
    assert paid(purse(grant(1, "5")), "0") is None
    assert paid(purse(grant(1, "5"), grant(2, "5")), "7.5") == [UnitPart(1, D(5)), UnitPart(2, D("2.5"))]


def test_what_stands_stays_and_the_last_payer_gets_back_first() -> None:
    standing = {KEY: [(1, D(5)), (2, D(2))]}
    assert paid(purse(grant(1, "0"), grant(2, "3"), standing=standing), "9") == [(1, D(5)), (2, D(4))]
    held = purse(grant(1, "0"), grant(2, "3"), standing=standing)
    assert paid(held, "4") == [(1, D(4))]
    assert paid(held, "100", OTHER) == [(1, D(1)), (2, D(5))], "what one gave back, the next finds"


def test_what_came_to_nothing_is_found_by_the_next() -> None:
    held = purse(grant(1, "5"), standing={KEY: [(1, D(2))]})
    assert paid(held, "6") == [(1, D(6))]
    with exact():
        held.undo(KEY, 1)
    assert paid(held, "100", OTHER) == [(1, D(5))]
    assert paid(held, "1") == [(1, D(1))]


def test_moves_are_what_changes() -> None:
    with exact():
        assert moves([(1, D(5)), (2, D(2))], [(1, D(4)), (3, D(1))]) == [(1, D(-1)), (2, D(-2)), (3, D(1))]
