"""What writing to the catalog would do: the wanted definitions beside those that stand."""

from collections.abc import Mapping, Sequence

from farthing.catalog.model import Meter, Outcome, Plan, PlanVersion
from farthing.kernel.errors import Conflict, Fault


def meter_outcomes(
    standing: Mapping[str, Meter], wanted: Sequence[Meter], path: str = "meters"
) -> list[Outcome]:
    """For each wanted meter: created or unchanged.

    Raises Conflict `meter_immutable` naming every meter that stands with another definition: what
    was counted under a key must mean the same for ever. (Write a meter with a new key.)
    """
    faults = [
        Fault(f"{path}[{index}]" if path else "", f"{meter.key!r} stands with another definition")
        for index, meter in enumerate(wanted)
        if meter.key in standing and standing[meter.key] != meter
    ]
    if faults:
        message = "; ".join(str(fault) for fault in faults) + " (a meter never changes: use a new key)"
        raise Conflict("meter_immutable", message, faults=faults)
    return [Outcome.UNCHANGED if meter.key in standing else Outcome.CREATED for meter in wanted]


def plan_outcome(latest: PlanVersion | None, wanted: Plan) -> Outcome:
    """created, unchanged from its latest version, or a new version."""
    if latest is None:
        return Outcome.CREATED
    return Outcome.UNCHANGED if latest.plan == wanted else Outcome.NEW_VERSION
