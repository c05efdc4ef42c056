"""When the money of a period is asked for: at its end, or as soon as enough has accrued.

    {"mode": "pay_as_you_go", "threshold": "50", "charge_within_days": 7}
    {"mode": "pay_as_you_go", "least": "5", "most": "500",
     "threshold": {"computed": {"fee_per_charge": "0.30", "cost_percent_per_day": "0.1"}}}
    {"mode": "at_period_end"}

`threshold` is what may accrue, in the plan's currency, before it is charged. A computed one follows each
customer's own spend (`invoicing/accrued/threshold.py` derives it): `fee_per_charge` is what a payment costs
however large it is, `cost_percent_per_day` what it costs to be owed money, in percent of it a day (what is
lost to those who never pay, and the interest). It is never below `least` nor above `most`.

`charge_within_days` is how long accrued spend waits at most, as long as a card authorisation holds; what has
accrued by then is charged, however little it is.

These terms stand on a plan, where they are part of its version, or on a subscription, where they replace those
of its plan.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import Faults, Fields, parse_choice, parse_count

INVALID_COLLECTION = "invalid_collection"
CHARGE_WITHIN_DAYS_MAX = 366
AMOUNT_MAX = Decimal(10) ** 15
SCALE_MAX = 12
"""Most digits after the point of an amount or a percentage here."""
_HUNDRED = Decimal(100)


class CollectionMode(StrEnum):
    """Whether a period is charged for while it lasts."""

    AT_PERIOD_END = "at_period_end"
    PAY_AS_YOU_GO = "pay_as_you_go"


@dataclass(frozen=True, slots=True)
class ComputedThreshold:
    """What a threshold follows from, beside the customer's spend.

    fee_per_charge: in the plan's currency. cost_percent_per_day: of what is owed, in percent.
    """

    fee_per_charge: Decimal
    cost_percent_per_day: Decimal
    least: Decimal
    most: Decimal


@dataclass(frozen=True, slots=True)
class Collection:
    """How the spend of a subscription is collected.

    threshold: none where only `charge_within_days` asks for charges, or nothing does.
    """

    mode: CollectionMode = CollectionMode.AT_PERIOD_END
    threshold: Decimal | ComputedThreshold | None = None
    charge_within_days: int | None = None

    @property
    def as_you_go(self) -> bool:
        return self.mode is CollectionMode.PAY_AS_YOU_GO


AT_PERIOD_END = Collection()


def parse_collection(raw: object, path: str = "") -> Collection:
    """Terms of collection. Raises InvalidInput `invalid_collection` with every fault."""
    faults = Faults(INVALID_COLLECTION)
    fields = Fields(raw, path, faults)
    mode = fields.required("mode", _parse_mode)
    threshold = fields.optional("threshold", _parse_threshold, None)
    least = fields.optional("least", _parse_amount, None)
    most = fields.optional("most", _parse_amount, None)
    within = fields.optional("charge_within_days", _parse_days, None)
    fields.refuse_unknown()
    if fields.is_object and mode is CollectionMode.AT_PERIOD_END:
        for name in ("threshold", "least", "most", "charge_within_days"):
            if name in fields:
                faults.add(fields.at(name), "stands beside the mode pay_as_you_go, and only there")
    elif fields.is_object and mode is CollectionMode.PAY_AS_YOU_GO:
        if "threshold" not in fields and "charge_within_days" not in fields:
            faults.add(fields.at("threshold"), "or charge_within_days must be given")
        computed = isinstance(raw, dict) and isinstance(raw.get("threshold"), dict)
        for name in ("least", "most"):
            if computed != (name in fields):
                faults.add(fields.at(name), "stands beside a computed threshold, and must stand there")
    if least is not None and most is not None and most < least:
        faults.add(fields.at("most"), "must not be less than least")
    faults.refuse()
    if isinstance(threshold, tuple):
        assert least is not None
        assert most is not None
        return Collection(mode, ComputedThreshold(*threshold, least, most), within)
    return Collection(mode, threshold, within)


def collection_json(collection: Collection) -> dict[str, object]:
    """The terms in their canonical form, as they are stored and shown; `parse_collection` reads them back."""
    said: dict[str, object] = {"mode": collection.mode.value}
    match collection.threshold:
        case ComputedThreshold() as computed:
            said["threshold"] = {
                "computed": {
                    "fee_per_charge": trimmed(computed.fee_per_charge),
                    "cost_percent_per_day": trimmed(computed.cost_percent_per_day),
                }
            }
            said |= {"least": trimmed(computed.least), "most": trimmed(computed.most)}
        case Decimal() as fixed:
            said["threshold"] = trimmed(fixed)
    if collection.charge_within_days is not None:
        said["charge_within_days"] = collection.charge_within_days
    return said


def _parse_mode(raw: object, path: str) -> CollectionMode:
    return CollectionMode(parse_choice(raw, path, tuple(CollectionMode), code=INVALID_COLLECTION))


def _parse_threshold(raw: object, path: str) -> Decimal | tuple[Decimal, Decimal]:
    """An amount, or fee and cost of a computed one."""
    if not isinstance(raw, dict):
        return _parse_amount(raw, path)
    faults = Faults(INVALID_COLLECTION)
    fields = Fields(raw, path, faults)
    computed = fields.required("computed", _parse_computed)
    fields.refuse_unknown()
    faults.refuse()
    return computed


def _parse_computed(raw: object, path: str) -> tuple[Decimal, Decimal]:
    faults = Faults(INVALID_COLLECTION)
    fields = Fields(raw, path, faults)
    fee = fields.required("fee_per_charge", _parse_amount)
    cost = fields.required("cost_percent_per_day", _parse_percent)
    fields.refuse_unknown()
    faults.refuse()
    return fee, cost


def _parse_amount(raw: object, path: str) -> Decimal:
    amount = _parse_positive(raw, path)
    if amount > AMOUNT_MAX:
        raise _refused(path, f"must be at most {AMOUNT_MAX}")
    return amount


def _parse_percent(raw: object, path: str) -> Decimal:
    percent = _parse_positive(raw, path)
    if percent > _HUNDRED:
        raise _refused(path, "must be at most 100")
    return percent


def _parse_positive(raw: object, path: str) -> Decimal:
    number = parse_decimal(raw, path, code=INVALID_COLLECTION)
    if number <= 0:
        raise _refused(path, "must be greater than zero")
    if len(trimmed(number).partition(".")[2]) > SCALE_MAX:
        raise _refused(path, f"has more than {SCALE_MAX} digits after the point")
    return number


def _parse_days(raw: object, path: str) -> int:
    return parse_count(raw, path, least=1, most=CHARGE_WITHIN_DAYS_MAX, code=INVALID_COLLECTION)


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput.of(INVALID_COLLECTION, [Fault(path, message)])
