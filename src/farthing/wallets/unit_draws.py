"""Drawing units, in the transaction of whoever says what usage comes to: a bill that is issued, an open period.

    what a draft says units pay -> the same, found again among locked grants -> draws, funding -> transfers
    what settled holds set aside -> draws, funding -> transfers        in the sealer's transaction

A unit that was paid for is revenue when it is drawn, at the price that was paid for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.facts import WalletDrawn
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import wallet_drawn
from farthing.wallets import draw_store, unit_store
from farthing.wallets import store as wallet_rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.model import Cause, ChargeKey, DrawPart, UsageCharge
from farthing.wallets.units import Purse, UnitGrants, UnitsPaid, moves


@dataclass(frozen=True, slots=True)
class UnitDraft:
    """What units pay of the usage of a subscription in a period, by what is drafted of it."""

    subscription_id: int
    period_start: datetime
    customer_id: int
    currency: str
    paid: tuple[UnitsPaid, ...]

    @property
    def period(self) -> tuple[int, datetime]:
        return self.subscription_id, self.period_start

    def key(self, rate_card: str) -> ChargeKey:
        return ChargeKey(self.subscription_id, self.period_start, rate_card)


def draw_units(
    conn: BooksConnection, tenant_id: int, drafts: Sequence[UnitDraft], cause: Cause, now: datetime
) -> tuple[list[bool], list[Transfer]]:
    """Draw what these say, those that still stand: which do, and the transfers to post.

    What stands is found again among the grants as they are now: a draft whose units went elsewhere meanwhile, or
    ended, is no longer what would be drafted, and neither are later ones of its subscription. The same holds where
    something was drawn meanwhile: usage that was authorised has been sealed that the draft does not know. A draft that
    says that units pay nothing of a rate card gives back what was drawn for it. The grants of all their customers must
    be locked (`unit_store.lock_grants_of`).
    """
    periods = {one.period for one in drafts}
    customers = {one.customer_id for one in drafts}
    held = unit_store.select_unit_grants(conn, tenant_id, customers, periods)
    drawn = held.cards_drawn
    stand: list[bool] = []
    parts: list[DrawPart] = []
    fallen: set[int] = set()
    with exact():
        purse = Purse(held)
        for draft in drafts:
            found = tuple(
                purse.pay(draft.key(one.rate_card), draft.customer_id, one.meter, one.wanted, one.as_of)
                for one in draft.paid
            )
            said = {one.rate_card for one in draft.paid}
            known = found == draft.paid and drawn.get(draft.period, frozenset()) <= said
            stand.append(known and draft.subscription_id not in fallen)
            if stand[-1]:
                parts += _moved(draft, held)
            else:
                fallen.add(draft.subscription_id)
        return stand, _written(conn, tenant_id, parts, held, cause, now)


def draw_settled_units(
    conn: BooksConnection, tenant_id: int, settled: Sequence[UsageCharge], seal_id: str, now: datetime
) -> list[Transfer]:
    """Draw the units that settled holds set aside for events that are sealed now; the transfers to post.

    They pay for the very usage that they were held for; the rest of its period is decided by whoever drafts that next.
    What was set aside for events that had counted before, or of periods that are invoiced, is let go. The grants of all
    their customers must be locked.
    """
    draw_store.hold_invoicing(conn, tenant_id)
    periods = {(one.key.subscription_id, one.key.period_start) for one in settled}
    invoiced = draw_store.select_invoiced(conn, tenant_id, periods)
    held = unit_store.select_unit_grants(conn, tenant_id, {one.customer_id for one in settled}, periods)
    parts = [
        DrawPart(one, hold.grant_id, hold.amount if one.amount and not late else ZERO, hold.amount)
        for one in settled
        for late in [(one.key.subscription_id, one.key.period_start) in invoiced]
        for hold in one.settled
    ]
    with exact():
        return _written(conn, tenant_id, parts, held, Cause.SEALED, now, seal_id)


def give_units_back(
    conn: BooksConnection,
    tenant_id: int,
    subscription_id: int,
    period_start: datetime,
    customer_id: int,
    currency: str,
    now: datetime,
) -> list[Transfer]:
    """All units that were drawn for a period go back to their wallets; the transfers to post."""
    nothing = UnitDraft(subscription_id, period_start, customer_id, currency, ())
    held = unit_store.select_unit_grants(conn, tenant_id, {customer_id}, {(subscription_id, period_start)})
    with exact():
        return _written(conn, tenant_id, _moved(nothing, held), held, Cause.INVOICED, now)


def _moved(draft: UnitDraft, held: UnitGrants) -> list[DrawPart]:
    """What is drawn and given back so that what stands for a period is what the draft says, by rate card."""
    said = {draft.key(one.rate_card): one for one in draft.paid}
    own = [
        key
        for key in held.standing
        if (key.subscription_id, key.period_start) == (draft.subscription_id, draft.period_start)
    ]
    found = []
    for key in dict.fromkeys([*said, *own]):
        one = said.get(key)
        meters = () if one is None else (one.meter,)
        charge = UsageCharge(key, draft.customer_id, draft.currency, meters, ZERO, draft.period_start)
        for grant_id, quantity in moves(held.standing.get(key, ()), () if one is None else one.parts):
            found.append(DrawPart(charge, grant_id, quantity))
    return found


def _written(
    conn: BooksConnection,
    tenant_id: int,
    parts: Sequence[DrawPart],
    held: UnitGrants,
    cause: Cause,
    now: datetime,
    reference: str = "",
) -> list[Transfer]:
    if not parts:
        return []
    _reopen(conn, tenant_id, {part.grant_id for part in parts if part.amount < ZERO})
    draw_id = draw_store.insert_draws(
        conn, tenant_id, draw_store.PartColumns.of(parts), cause, reference, now
    )
    funding = [
        (part.charge.key, part.grant_id, part.charge.customer_id, part.amount)
        for part in parts
        if part.amount
    ]
    if funding:
        unit_store.add_unit_funding(conn, tenant_id, funding, draw_id)
    worth: dict[tuple[int, str], Decimal] = {}
    for part in parts:
        place = (part.charge.customer_id, part.charge.currency)
        worth[place] = worth.get(place, ZERO) + part.amount * held.price_of[part.grant_id]
    wallets = unit_store.select_wallets_among(conn, tenant_id, {part.grant_id for part in parts})
    balances = wallet_rows.select_balances(conn, tenant_id, wallets, now)
    watch_balances(conn, tenant_id, {one: row["available"] for one, row in balances.items()}, now)
    return [
        wallet_drawn(WalletDrawn(f"{draw_id}:{customer_id}", customer_id, currency, amount, ZERO, now))
        for (customer_id, currency), amount in worth.items()
        if amount
    ]


def _reopen(conn: BooksConnection, tenant_id: int, grant_ids: Collection[int]) -> None:
    if grant_ids:
        draw_store.reopen_grants(conn, tenant_id, grant_ids)
