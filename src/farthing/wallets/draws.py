"""Drawing: charges become draws, in the transaction of whoever makes the usage count.

    charges -> open grants, locked -> who pays (drawing.py) -> draws, funding -> transfers, what to announce

One pass for all customers of a batch. The transfers are given back, because the caller posts everything that its
transaction books at once, last.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import ZERO, exact
from farthing.ledger.facts import WalletDrawn
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import WALLETS_AT_ONCE, wallets_drawn
from farthing.wallets import draw_store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.drawing import OWED, Drawing
from farthing.wallets.model import Cause, ChargeKey, OpenGrant, Settlement, UsageCharge


@dataclass(slots=True)
class Drawn:
    """What drawing came to: transfers to post, and for settlements what wallets pay of each, in their order."""

    transfers: list[Transfer] = field(default_factory=list)
    paid: list[Decimal] = field(default_factory=list)


def draw_charges(
    conn: BooksConnection,
    tenant_id: int,
    charges: Sequence[UsageCharge],
    cause: Cause,
    reference: str,
    now: datetime,
) -> list[Transfer]:
    """Pay for charges from the wallets of their customers, those of invoiced periods aside; the transfers to post.

    Usage that comes after its invoice is on no invoice, so nothing is drawn for it either.
    """
    rows.hold_invoicing(conn, tenant_id)
    periods = {(charge.key.subscription_id, charge.key.period_start) for charge in charges}
    invoiced = rows.select_invoiced(conn, tenant_id, periods)
    if invoiced:
        charges = [_unless_invoiced(charge, invoiced) for charge in charges]
        charges = [charge for charge in charges if charge.amount or charge.settled]
    if not charges:
        return []
    falling = {
        (charge.key.subscription_id, charge.key.period_start) for charge in charges if charge.amount < 0
    }
    standing = rows.select_funding(conn, tenant_id, falling) if falling else None
    grants = rows.lock_open_grants(conn, tenant_id, {charge.customer_id for charge in charges})
    with exact():
        drawing = Drawing(grants, standing)
        for charge in charges:
            drawing.charge(charge)
        owners = {charge.key: charge.customer_id for charge in charges}
        return _written(conn, tenant_id, drawing, grants, owners, cause, reference, now)


def draw_to(
    conn: BooksConnection, tenant_id: int, totals: Sequence[UsageCharge], now: datetime
) -> list[Transfer]:
    """Bring what was charged to these totals, drawing or giving back the difference; the transfers to post."""
    rows.hold_accruing(conn, tenant_id)
    periods = {(total.key.subscription_id, total.key.period_start) for total in totals}
    standing = rows.select_funding(conn, tenant_id, periods)
    with exact():
        moved = [
            replace(
                total, amount=total.amount - sum((amount for _, amount in standing.get(total.key, ())), ZERO)
            )
            for total in totals
        ]
    moved = [charge for charge in moved if charge.amount]
    return draw_charges(conn, tenant_id, moved, Cause.ACCRUED, "", now) if moved else []


def _unless_invoiced(charge: UsageCharge, invoiced: Collection[tuple[int, datetime]]) -> UsageCharge:
    """The charge; of an invoiced period a charge of nothing, so that what was set aside for it is let go."""
    if (charge.key.subscription_id, charge.key.period_start) in invoiced:
        return replace(charge, amount=ZERO)
    return charge


def settle_periods(
    conn: BooksConnection, tenant_id: int, settlements: Sequence[Settlement], now: datetime
) -> Drawn:
    """Bring what was drawn for periods to what their invoices say, and say what wallets pay of each.

    For the transaction that issues the invoices, which holds the issuing of others. A settlement without totals, of
    which nothing is payable, gives back all that was drawn for its period.
    """
    periods = {(one.subscription_id, one.period_start) for one in settlements}
    standing = rows.select_funding(conn, tenant_id, periods)
    grants = rows.lock_open_grants(conn, tenant_id, {one.customer_id for one in settlements})
    with exact():
        drawing = Drawing(grants, standing)
        paid = [drawing.settle(settlement) for settlement in settlements]
        owner_of = {(one.subscription_id, one.period_start): one.customer_id for one in settlements}
        keys = {*drawing.owed, *(part.charge.key for part in drawing.parts)}
        owners = {key: owner_of[key.subscription_id, key.period_start] for key in keys}
        return Drawn(_written(conn, tenant_id, drawing, grants, owners, Cause.INVOICED, "", now), paid)


def _written(
    conn: BooksConnection,
    tenant_id: int,
    drawing: Drawing,
    grants: Mapping[int, Sequence[OpenGrant]],
    owners: Mapping[ChargeKey, int],
    cause: Cause,
    reference: str,
    now: datetime,
) -> list[Transfer]:
    """Keep what drawing came to, and say what it means for the ledger."""
    funding: dict[tuple[ChargeKey, int], Decimal] = {}
    for part in drawing.parts:
        place = (part.charge.key, part.grant_id)
        funding[place] = funding.get(place, ZERO) + part.amount
    for key, amount in drawing.owed.items():
        funding[key, OWED] = funding.get((key, OWED), ZERO) + amount
    funding = {place: amount for place, amount in funding.items() if amount}
    draw_id = 0
    transfers: list[Transfer] = []
    if drawing.parts:
        paid_grants = {one.grant_id: one.paid for own in grants.values() for one in own}
        closed = {part.grant_id for part in drawing.parts} - paid_grants.keys()
        if closed:
            paid_grants |= rows.reopen_grants(conn, tenant_id, closed)
        draw_id = rows.insert_draws(conn, tenant_id, drawing.parts, cause, reference, now)
        transfers = _transfers(drawing, paid_grants, draw_id, now)
        touched = {part.charge.customer_id for part in drawing.parts}
        watch_balances(conn, tenant_id, _available(drawing, touched, now), now)
    if funding:
        added = [(key, grant_id, owners[key], amount) for (key, grant_id), amount in funding.items()]
        rows.add_funding(conn, tenant_id, added, draw_id)
    return transfers


def _available(drawing: Drawing, customer_ids: Iterable[int], now: datetime) -> dict[int, Decimal]:
    found: dict[int, Decimal] = {}
    for customer_id in customer_ids:
        if customer_id in drawing.funds:
            found |= drawing.funds[customer_id].available(now)
    return found


def _transfers(
    drawing: Drawing, paid_grants: Mapping[int, bool], draw_id: int, now: datetime
) -> list[Transfer]:
    """How much of prepaid and of promotional funds became revenue, of each customer; many of them in one transfer."""
    sums: dict[tuple[int, str], list[Decimal]] = {}
    for part in drawing.parts:
        charge = part.charge
        both = sums.setdefault((charge.customer_id, charge.currency), [ZERO, ZERO])
        both[not paid_grants[part.grant_id]] += part.amount
    facts: dict[str, list[WalletDrawn]] = {}
    for (customer_id, currency), (paid, promotional) in sums.items():
        if paid or promotional:
            named = f"{draw_id}:{customer_id}"
            fact = WalletDrawn(named, customer_id, currency, paid, promotional, now)
            facts.setdefault(currency, []).append(fact)
    return [
        wallets_drawn(some[0].draw, some)
        for of_currency in facts.values()
        for begin in range(0, len(of_currency), WALLETS_AT_ONCE)
        if (some := of_currency[begin : begin + WALLETS_AT_ONCE])
    ]
