"""What units can pay for is said when they are asked for, not when they lie unused. Pure, but for what it reads.

Units are of one meter. They pay for rate cards that count that meter alone, where it sums or counts events and the
price looks at the quantity alone: what is left to be priced must be a quantity of the same usage. A price of several
meters has no such rest, one that tells usage apart by dimensions, times or single events has several.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from farthing.catalog.model import Meter, RateCard
from farthing.catalog.store import select_meters_after, select_plan_versions
from farthing.customers.store import select_subscriptions_of
from farthing.customers.timeline import lives_of
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import shown
from farthing.wallets.model import Scope, Wallet
from farthing.wallets.schedule import ADDING_UP, takes_units

UNITS_NOT_USABLE = "units_not_usable"


def refuse_uncountable(meter: Meter) -> None:
    """Raises InvalidInput `units_not_usable` for a meter of which no usage can be paid with units."""
    if meter.aggregation not in ADDING_UP:
        said = f"is a {meter.aggregation.value}: units are of meters that sum or count events"
        raise InvalidInput.of(UNITS_NOT_USABLE, [Fault("unit", said)])


def refuse_unusable(
    conn: BooksConnection, tenant_id: int, wallet: Wallet, scope: Scope, now: datetime
) -> None:
    """Raises InvalidInput `units_not_usable` where units with this scope could pay for nothing that the customer is
    charged for now or later. Where none of it is about them, a subscription may yet come that is."""
    assert wallet.unit is not None
    if scope.meters and wallet.unit not in scope.meters and not scope.rate_cards:
        said = f"do not name {shown(wallet.unit)}, which these units are of"
        raise InvalidInput.of(UNITS_NOT_USABLE, [Fault("meters", said)])
    meters = {meter.key: meter for meter in select_meters_after(conn, tenant_id, None, None)}
    cards = [
        card
        for card in _charged(conn, tenant_id, wallet.customer_id, now)
        if card.meters and (card.key in scope.rate_cards if scope.rate_cards else wallet.unit in card.meters)
    ]
    if cards and not any(_pays(wallet.unit, card, meters) for card in cards):
        names = ", ".join(sorted({card.key for card in cards}))
        said = (
            f"would pay for nothing: of {names} none counts {shown(wallet.unit)} alone, by a price that looks at the "
            "quantity alone"
        )
        raise InvalidInput.of(UNITS_NOT_USABLE, [Fault("rate_cards" if scope.rate_cards else "", said)])


def _pays(unit: str, card: RateCard, meters: Mapping[str, Meter]) -> bool:
    return takes_units(card, meters) and card.meters[0] == unit


def _charged(conn: BooksConnection, tenant_id: int, customer_id: int, now: datetime) -> Sequence[RateCard]:
    """The rate cards of a customer's subscriptions, as they are and as they will be."""
    stretches = [
        stretch
        for subscription in select_subscriptions_of(conn, tenant_id, [customer_id])
        for life in lives_of(subscription)
        for stretch in life.stretches
        if stretch.end is None or stretch.end > now
    ]
    plans = select_plan_versions(conn, tenant_id, {one.plan_version_id for one in stretches})
    return [card for one in stretches for card in one.rate_cards(plans[one.plan_version_id].plan)]
