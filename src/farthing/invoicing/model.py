"""The nouns of the room."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from farthing.catalog.model import TAX_CATEGORY_DEFAULT, Plan, Proration, RateCard
from farthing.customers.billable import Term
from farthing.customers.model import Customer, OneOffCharge, Subscription
from farthing.customers.terms.model import NO_TERMS, Terms
from farthing.customers.timeline import Stretch
from farthing.kernel.period import Period
from farthing.kernel.quantity import ZERO
from farthing.kernel.value import value
from farthing.rating import Charge, Measure, Price
from farthing.tax.model import TaxId, TaxLine
from farthing.wallets.units import UnitsPaid


class Reason(StrEnum):
    """Why a subscription is invoiced: it starts with something to pay in advance, a period of it is over, a
    change says so, it ended after its last period was invoiced and its commitments are to be settled or usage
    came late, or enough has accrued to be charged before its period is over (`interim.py`).
    """

    START = "start"
    PERIOD = "period"
    CHANGE = "change"
    SETTLEMENT = "settlement"
    INTERIM = "interim"


class Because(StrEnum):
    """Why an interim invoice is issued: so much has accrued, or it has waited so long."""

    THRESHOLD = "threshold"
    DAYS = "charge_within_days"


@dataclass(frozen=True, slots=True)
class Interim:
    """Which of the interim invoices of its period one is, from 1, and why it is issued.

    threshold: what could accrue before a charge at that time, if there was a bound.
    """

    sequence: int
    because: Because
    threshold: Decimal | None = None


@value
class BillKey:
    """What an invoice is for. There is never a second one for the same key.

    sequence: which of the interim invoices of the period it is, from 1, or how many settlements there were before
    it; 0 for every other invoice.
    """

    subscription_id: int
    period_start: datetime
    reason: Reason
    sequence: int = 0


class Gathering(StrEnum):
    """Whether a bill leaves what it comes to to the last one of its day, or is the last, which asks for it all."""

    LEAVES = "leaves"
    ASKS = "asks"


@value
class FeePeriod:
    """A period that fees are for: the part that is billed, and the full one of the grid that it is a share of."""

    part: Period
    full: Period


@value
class Bill:
    """An invoice that is due, before anything is known of its lines.

    plan, plan_version_id, version: what is in force when the period ends (at a start: when it begins).
    stretches: of the subscription, those that its own and the coming period meet; plans: theirs, by version id.
    own: the period as one that fees are for; None where only credits are due, after the end.
    coming: the period whose fees in advance stand on this bill, if there is one.
    terms: of the subscription, all of them.
    credits_until: what was billed for later than that stays as it is; None: nothing does.
    one_offs: the charges of the subscription that are billed here.
    interim: of an interim invoice, whose period is the one that it is in, up to the moment of the charge.
    settled_before: of a settlement, how many there were before it.
    corrections: what events that came late make of earlier periods, as lines of this bill.
    credited_at_once: how many corrections of its subscription credit notes had given back when those were told.
    last: whether the subscription has ended with it, as far as is known.
    gathering: its part in the collective invoice of its day, where its customer gets one.
    units: what units of wallets pay of its usage, before that is priced.
    """

    subscription: Subscription
    customer: Customer
    plan: Plan
    reason: Reason
    period: Period
    plan_version_id: int
    version: int
    stretches: tuple[Stretch, ...]
    plans: Mapping[int, Plan]
    terms: tuple[Term, ...]
    own: FeePeriod | None
    coming: FeePeriod | None = None
    credits_until: datetime | None = None
    one_offs: tuple[OneOffCharge, ...] = ()
    interim: Interim | None = None
    settled_before: int = 0
    corrections: tuple["Line", ...] = ()
    credited_at_once: int = 0
    last: bool = False
    gathering: Gathering | None = None
    units: tuple[UnitsPaid, ...] = ()

    @property
    def key(self) -> BillKey:
        sequence = self.settled_before if self.interim is None else self.interim.sequence
        return BillKey(self.subscription.subscription_id, self.period.start, self.reason, sequence)

    @property
    def bills_usage(self) -> bool:
        """Whether usage stands on it: that of its period."""
        return self.reason in (Reason.PERIOD, Reason.INTERIM)

    @property
    def due_since(self) -> datetime:
        """The moment from which on it can be issued."""
        over = self.reason in (Reason.PERIOD, Reason.SETTLEMENT, Reason.INTERIM)
        return self.period.end if over else self.period.start

    @property
    def plans_met(self) -> list[Plan]:
        """The plans of its stretches, one after the other."""
        return [self.plans[stretch.plan_version_id] for stretch in self.stretches]


@value
class FeeKey:
    """What decides what a fixed fee owes for a time: with the same key it is the same fee.

    plan: its key; empty for an add-on, which no plan decides about.
    amount: of one, for the full period.
    """

    rate_card: str
    plan: str
    amount: Decimal
    quantity: Decimal
    full: Period
    proration: Proration


@dataclass(frozen=True, slots=True)
class FeeSource:
    """Where a fee comes from: the plan version, and its rate card at the price that holds for the customer.

    own_price: that price is not the plan version's: the customer's own, or an add-on's.
    """

    plan: str
    plan_name: str
    version: int
    card: RateCard
    own_price: bool


@value
class Cover:
    """What one line bills of a fee: a time, charged (+1) or credited (-1).

    amount, taken: of a charge, and how much of it coupons took off on its invoice.
    """

    key: FeeKey
    period: Period
    sign: int
    source: FeeSource
    amount: Decimal = ZERO
    taken: Decimal = ZERO


class LineKind(StrEnum):
    """What a line is: usage or a fixed fee of a rate card, or something made of such lines.

    coupon        what a coupon takes off
    commitment    what counts toward a minimum commitment; its amount is zero
    prepaid       a prepaid commitment, paid up front
    drawdown      usage that a prepaid commitment has paid for
    overage       what usage beyond a commitment costs more, or less, than usual
    true_up       what is missing to a minimum commitment at its end
    lapse         what is left of a prepaid commitment at its end; its amount is zero
    minimum       what is missing to the plan's minimum
    billed        what an interim invoice of the same period has billed
    carried       the part of a minor unit that an interim invoice leaves to the next one
    correction    what usage that came after the invoice of its period makes of that invoice's line
    carried_forward   what a bill below the smallest amount worth an invoice comes to, left to the next one
    brought_forward   what the invoice before carried forward
    """

    USAGE = "usage"
    FEE = "fee"
    COUPON = "coupon"
    COMMITMENT = "commitment"
    PREPAID = "prepaid"
    DRAWDOWN = "drawdown"
    OVERAGE = "overage"
    TRUE_UP = "true_up"
    LAPSE = "lapse"
    MINIMUM = "minimum"
    BILLED = "billed"
    CARRIED = "carried"
    CORRECTION = "correction"
    CARRIED_FORWARD = "carried_forward"
    BROUGHT_FORWARD = "brought_forward"


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a line something was made of: the line's number on its invoice, and the amount."""

    line: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a correction is of, where that is not what a rate card charges: the coupon, commitment or plan.

    invoices: on how many invoices more (or less) that did something. ahead: whether it is of what was charged in
    advance, for a period that comes after the one of the corrected invoice.
    """

    kind: LineKind
    key: str
    invoices: int = 0
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a line that no rate card charges is, of which coupon, commitment, plan or invoice, and made of what.

    term, committed, before: of a commitment; how much of it was used before this invoice.
    since: of a correction, the moment from which on events are late; key: the number of the invoice that it corrects.
    corrected: what of that invoice, where that is not what its rate card charges.
    Of what is carried forward the key is the tax category; of what is brought forward, the number of the invoice that
    carried it (empty until that has one).
    """

    kind: LineKind
    key: str
    of: tuple[Share, ...] = ()
    term: Period | None = None
    committed: Decimal | None = None
    before: Decimal | None = None
    since: datetime | None = None
    corrected: Corrected | None = None


@value
class Line:
    """What one rate card owes for its service period, or one combination of dimensions of it; or an
    adjustment, which has no rate card and no meter.

    The charges sum to the exact amount, which keeps every digit; what the line shows in the currency's
    minor unit is decided with the invoice's total. The quantity of a line of a commitment is money: how
    much of it counts, is drawn, lies beyond or lapses.

    measure: what the quantity is counted in: things, seconds, or an amount of money.
    quantities: how much of each meter, where the price counts several; `quantity` is then 1 for the period.
    adjusts: whether it is no usage's own, but what a price adds to all its usage: a minimum, a discount.
    fee, source: of a fixed fee; a credit has a quantity below zero.
    plan: where the line's is not the invoice's: (key, version, name).
    price: the one it was rated by, where that is not the plan version's own.
    parts: the times that its usage is from, where they are not the whole service period.
    unbilled: why its usage costs nothing: paused, or trial.
    one_off: the key of the one-off charge that it bills.
    tax_category: of its rate card.
    shown: the amount in the minor unit where that is not decided with the invoice's total: of what is brought forward.
    subscription: whose it is, where that is not the invoice's: of what is carried and brought forward.
    """

    rate_card: str | None
    description: str
    meter: str | None
    dimensions: Mapping[str, str]
    service_period: Period
    quantity: Decimal
    amount_exact: Decimal
    charges: tuple[Charge, ...]
    measure: Measure = Measure.QUANTITY
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    adjusts: bool = False
    adjustment: Adjustment | None = None
    fee: FeeKey | None = None
    source: FeeSource | None = None
    plan: tuple[str, int, str] | None = None
    price: Price | None = None
    parts: tuple[Period, ...] = ()
    unbilled: str | None = None
    one_off: str | None = None
    tax_category: str = TAX_CATEGORY_DEFAULT
    shown: Decimal | None = None
    subscription: str | None = None

    @property
    def kind(self) -> LineKind:
        if self.adjustment is not None:
            return self.adjustment.kind
        return LineKind.USAGE if self.meter is not None or self.quantities else LineKind.FEE


@value
class Totals:
    """The amounts of an invoice in the currency's minor unit, and what each line shows. They add up."""

    amounts: tuple[Decimal, ...]
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    total_exact: Decimal


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a coupon or commitment is used, in sums over the lines of one kind on issued invoices.

    quantity: money that counted, was drawn or lapsed (see `Line`); invoices: how many have such a line.
    """

    quantity: Decimal
    amount: Decimal
    invoices: int


NOTHING_REACHED = Reached(ZERO, ZERO, 0)

LineId = tuple[str | None, tuple[tuple[str, str], ...], datetime, bool]
"""What tells a line of usage from the others of its period: rate card, dimensions, since when, and whether it
only adjusts others."""


@dataclass(frozen=True, slots=True)
class BilledBefore:
    """An interim invoice, as the invoices after it in its period take it into account.

    total: what it billed, tax aside: whole minor units. until: of the usage on it.
    of: how much of that is of which line; it need not be all.
    """

    number: str
    sequence: int
    total: Decimal
    until: datetime
    of: tuple[tuple[LineId, Decimal], ...]


@dataclass(frozen=True, slots=True)
class CarriedPart:
    """What of a carried amount is of one subscription (its key) and one tax category.

    amount_exact: to the last digit; amount: in minor units, as it was shown.
    """

    subscription: str
    tax_category: str
    amount_exact: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CarriedForward:
    """What a bill left to the next one of its customer and currency.

    of: the bill; number: of its invoice, once it has one. period: of that bill.
    """

    of: BillKey
    period: Period
    parts: tuple[CarriedPart, ...]
    number: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a bill's adjustments are computed from beside its lines: it must stand still until the issue.

    reached: by kind of line and key of coupon or commitment, over the earlier invoices.
    ahead: what earlier invoices charged in advance for service in the bill's period.
    billed: the interim invoices of the bill's period, in order.
    carried: what the bill before of the same customer and currency left to this one.
    smallest: the smallest amount that is worth an invoice, where there is one.
    gathering: its part in a collective invoice, where it may have one.
    """

    terms: Terms = NO_TERMS
    reached: Mapping[tuple[LineKind, str], Reached] = field(default_factory=dict)
    ahead: Decimal = ZERO
    billed: tuple[BilledBefore, ...] = ()
    carried: CarriedForward | None = None
    smallest: Decimal | None = None
    gathering: Gathering | None = None

    def of(self, kind: LineKind, key: str) -> Reached:
        return self.reached.get((kind, key), NOTHING_REACHED)


NO_BASIS = Basis()


@value
class LineTax:
    """What of a line a tax line is on, and how much tax that is. tax_line: its place, from zero.

    amount: what the line shows of it, which contains the tax where prices include it.
    """

    tax_line: int
    amount: Decimal
    tax: Decimal


@value
class InvoiceTax:
    """The taxes of an invoice, and what of them falls upon each of its lines.

    of_lines: for each line its parts, one for each treatment: the place of a tax line, what of the line it is on,
    and how much it is. inclusive: whether what lines show contains it.
    """

    lines: tuple[TaxLine, ...]
    of_lines: tuple[tuple[LineTax, ...], ...]
    inclusive: bool
    tax_ids: tuple[TaxId, ...] = ()


@value
class Draft:
    """An invoice that lacks only its number.

    tax: None where no table of rates is loaded.
    paid: what of it wallets pay, in whole minor units; known once it is about to be issued.
    """

    bill: Bill
    lines: tuple[Line, ...]
    totals: Totals
    basis: Basis = NO_BASIS
    tax: InvoiceTax | None = None
    paid: Decimal = ZERO


@dataclass(slots=True)
class BillingResult:
    """What a billing run did: numbers issued, in order, and what it passed over and why.

    A skipped entry names the customer, subscription and period of the invoice that was not issued, what
    it would have been for (`invoice`: start, period, change, settlement or interim), and the `reason`: already_issued,
    nothing_to_bill, in_grace, subscription_changed, earlier_bill_missing, or the code of the error that its rating
    raised. in_grace: the bills that are drafts.
    """

    issued: list[str] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    in_grace: list[Bill] = field(default_factory=list)
