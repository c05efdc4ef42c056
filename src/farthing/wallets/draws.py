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
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.ledger.chart import Code
from farthing.ledger.facts import DrawnTogether, WalletDrawn
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import WALLETS_AT_ONCE, drawn_together
from farthing.wallets import draw_store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.drawing import Drawing
from farthing.wallets.model import (
    Cause,
    ChargeKey,
    Charges,
    LoneGrants,
    OpenGrant,
    Settlement,
    Standing,
    UsageCharge,
)


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
    standing: Mapping[ChargeKey, Standing] | None = None,
) -> list[Transfer]:
    """Pay for charges from the wallets of their customers, those of invoiced periods aside; the transfers to post.

    Usage that comes after its invoice is on no invoice, so nothing is drawn for it either.
    standing: where the money for what shrinks came from so far, for whoever had to ask before it locked grants.
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
    if falling and standing is None:
        standing = rows.select_funding(conn, tenant_id, falling)
    grants = rows.lock_open_grants(conn, tenant_id, {charge.customer_id for charge in charges})
    with exact():
        drawing = Drawing(grants, standing)
        for charge in charges:
            drawing.charge(charge)
        owners = {charge.key: charge.customer_id for charge in charges}
        return _written(conn, tenant_id, drawing, grants, owners, cause, reference, now)


def draw_sealed(
    conn: BooksConnection,
    tenant_id: int,
    charges: Charges,
    settled: Sequence[UsageCharge],
    reference: str,
    now: datetime,
) -> tuple[list[DrawnTogether], list[Transfer]]:
    """Pay for the charges of batches that are sealed together; what is to be posted of it.

    reference: the last of their seals. settled: what settled holds have set aside for their events, as charges.
    """
    rows.hold_invoicing(conn, tenant_id)
    falling = {
        (key.subscription_id, key.period_start)
        for key, amount in zip(charges.keys, charges.amounts, strict=True)
        if amount < ZERO
    }
    standing = rows.select_funding(conn, tenant_id, falling) if falling else None
    drawn, rest = _draw_lone_grants(
        conn, tenant_id, charges, {one.customer_id for one in settled}, reference, now
    )
    if settled:
        rest = with_settled(rest, settled, set(charges.keys))
    if not rest:
        return drawn, []
    return drawn, draw_charges(conn, tenant_id, rest, Cause.SEALED, reference, now, standing)


def with_settled(
    charges: Sequence[UsageCharge], settled: Sequence[UsageCharge], told: Collection[ChargeKey]
) -> list[UsageCharge]:
    """The charges, each with the settled holds of its own.

    Where the batch tells what usage costs, a hold is taken up by that, if by nothing. Where usage is reckoned up later,
    what was settled is drawn now, and corrected by then.
    """
    left: dict[ChargeKey, list[UsageCharge]] = {}
    for one in settled:
        left.setdefault(one.key, []).append(one)
    found = []
    for charge in charges:
        own = left.pop(charge.key, None)
        if own is None:
            found.append(charge)
        else:
            found.append(replace(charge, settled=tuple(hold for one in own for hold in one.settled)))
    for key, some in left.items():
        found += [replace(one, amount=ZERO) if key in told else one for one in some]
    return found


def _draw_lone_grants(
    conn: BooksConnection,
    tenant_id: int,
    charges: Charges,
    apart: Collection[int],
    reference: str,
    now: datetime,
) -> tuple[list[DrawnTogether], list[UsageCharge]]:
    """Pay for the charges that leave no choice, in columns, which is nearly all of them; what is to be posted of it.
    And the charges that are left, those of nothing aside.

    A customer's charges leave no choice where all are above zero, no period of theirs is invoiced, the only open grant
    of theirs covers them, and nothing is to be said of the wallet then. All grants of all customers are locked here, in
    their order. apart: customers whose charges are left in any case.
    """
    invoiced = rows.select_invoiced(
        conn, tenant_id, {(key.subscription_id, key.period_start) for key in charges.keys}
    )
    totals: dict[int, Decimal] = {}
    hard = set(apart)
    with exact():
        for key, customer_id, amount in zip(charges.keys, charges.customer_ids, charges.amounts, strict=True):
            if amount:
                totals[customer_id] = totals.get(customer_id, ZERO) + amount
            if amount < ZERO or (invoiced and (key.subscription_id, key.period_start) in invoiced):
                hard.add(customer_id)
    if not totals:
        return [], []
    first, last = min(now, *charges.as_of), max(now, *charges.as_of)
    lone = rows.lock_lone_grants(conn, tenant_id, totals, first, last)
    with exact():
        paying = {
            customer_id: place
            for place, (customer_id, left, changes_at) in enumerate(
                zip(lone.customer_ids, lone.left, lone.changes_at, strict=True)
            )
            if customer_id not in hard and left - totals[customer_id] > changes_at
        }
        for customer_id, currency in zip(charges.customer_ids, charges.currencies, strict=True):
            place = paying.get(customer_id)
            if place is not None and lone.currencies[place] != currency:
                del paying[customer_id]
    kept = [place for place, amount in enumerate(charges.amounts) if amount]
    easy = [place for place in kept if charges.customer_ids[place] in paying]
    rest = [charges.at(place) for place in kept if charges.customer_ids[place] not in paying]
    if not easy:
        return [], rest
    draw_id = rows.insert_draws(
        conn, tenant_id, _parts_of(charges, easy, lone, paying), Cause.SEALED, reference, now
    )
    return _of_lone_grants(lone, paying, totals, draw_id, now), rest


def _parts_of(
    charges: Charges, places: Sequence[int], lone: LoneGrants, paying: Mapping[int, int]
) -> rows.PartColumns:
    keys = [charges.keys[place] for place in places]
    customer_ids = [charges.customer_ids[place] for place in places]
    return rows.PartColumns(
        list(map(str, customer_ids)),
        [str(key.subscription_id) for key in keys],
        rows.moments(key.period_start for key in keys),
        [key.rate_card for key in keys],
        [str(lone.grant_ids[paying[customer_id]]) for customer_id in customer_ids],
        [trimmed(charges.amounts[place]) for place in places],
        ["0"] * len(places),
    )


def _of_lone_grants(
    lone: LoneGrants, paying: Mapping[int, int], totals: Mapping[int, Decimal], draw_id: int, now: datetime
) -> list[DrawnTogether]:
    """How much of prepaid and of promotional funds became revenue, for each currency."""
    of_currency: dict[str, list[int]] = {}
    for customer_id, place in paying.items():
        of_currency.setdefault(lone.currencies[place], []).append(customer_id)
    return [
        DrawnTogether(
            str(draw_id),
            currency,
            customer_ids,
            [Code.PREPAID if lone.paid[paying[one]] else Code.PROMOTIONAL_CREDIT for one in customer_ids],
            [totals[one] for one in customer_ids],
            [lone.account_ids[paying[one]] for one in customer_ids],
            now,
        )
        for currency, customer_ids in of_currency.items()
    ]


def draw_to(
    conn: BooksConnection, tenant_id: int, totals: Sequence[UsageCharge], now: datetime
) -> list[Transfer]:
    """Bring what was charged to these totals, drawing or giving back the difference; the transfers to post."""
    rows.hold_invoicing(conn, tenant_id)  # before it is summed up where the money came from
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
    draw_id = 0
    transfers: list[Transfer] = []
    if drawing.parts:
        paid_grants = {one.grant_id: one.paid for own in grants.values() for one in own}
        closed = {part.grant_id for part in drawing.parts} - paid_grants.keys()
        if closed:
            paid_grants |= rows.reopen_grants(conn, tenant_id, closed)
        draw_id = rows.insert_draws(
            conn, tenant_id, rows.PartColumns.of(drawing.parts), cause, reference, now
        )
        transfers = _transfers(drawing, paid_grants, draw_id, now)
        touched = {part.charge.customer_id for part in drawing.parts}
        watch_balances(conn, tenant_id, _available(drawing, touched, now), now)
    owed = [(key, owners[key], amount) for key, amount in drawing.owed.items() if amount]
    if owed:
        rows.add_owed(conn, tenant_id, owed, draw_id)
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
        drawn_together(some[0].draw, some)
        for of_currency in facts.values()
        for begin in range(0, len(of_currency), WALLETS_AT_ONCE)
        if (some := of_currency[begin : begin + WALLETS_AT_ONCE])
    ]
