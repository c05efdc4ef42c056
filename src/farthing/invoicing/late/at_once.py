"""What of a correction below zero a credit note gives back at once, instead of the next invoice. Pure.

Line by line of the corrected invoice, net of what coupons and commitments made of each, and never more than is left of
it: what was billed of it on a later invoice, as a correction itself, is for the next invoice again. A credit note is
rounded as an invoice is: each line once, half up; the exact difference counts as given back, so that nothing of a minor
unit is left to anybody.

Where a minimum or a true-up takes part of it back, nothing is given at once: the two belong on one document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from farthing.invoicing.credit_notes.model import Creditable, CreditableLine, LineWanted
from farthing.invoicing.model import Line
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import round_money

Named = tuple[str | None, tuple[tuple[str, str], ...], str, str]
"""What a line of an invoice is of: rate card and dimensions, or kind and key of what no rate card charges."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Part of a correction that a credit note gives back, exactly: as the line of the correction, or less of it."""

    line: Line
    quantity: Decimal
    amount_exact: Decimal


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What a credit note is to give back of an invoice, and what of its correction is settled by that."""

    lines: tuple[LineWanted, ...]
    given: tuple[GivenBack, ...]


def credited_at_once(corrections: Sequence[Line], creditable: Creditable) -> AtOnce:
    """What of these corrections of one invoice is given back at once; nothing where nothing can be."""
    groups: dict[Named, list[Line]] = {}
    for line in corrections:
        groups.setdefault(_named(line), []).append(line)
    wanted: list[LineWanted] = []
    given: list[GivenBack] = []
    with exact():
        nets = {named: sum((line.amount_exact for line in some), ZERO) for named, some in groups.items()}
        if any(net > 0 for named, net in nets.items() if named[0] is None):
            return AtOnce((), ())
        for named, some in groups.items():
            if nets[named] < 0:
                lines, settled = _of_group(-nets[named], some, _lines_of(named, creditable), creditable)
                wanted += lines
                given += settled
    return AtOnce(tuple(wanted), tuple(given))


def _of_group(
    net: Decimal, corrections: Sequence[Line], lines: Sequence[CreditableLine], creditable: Creditable
) -> tuple[list[LineWanted], list[GivenBack]]:
    """The lines of the invoice that give this much back, in their order, as far as they go."""
    asked = round_money(net, MINOR_UNITS[creditable.currency])
    left, wanted = asked, list[LineWanted]()
    for line in lines:
        part = min(left, line.left)
        if part > 0:
            wanted.append(LineWanted(line.number, amount=part))
            left -= part
    if not wanted:
        return [], []
    if not left:
        return wanted, [GivenBack(line, line.quantity, line.amount_exact) for line in corrections]
    # Only a part of it: of what the rate card charges, or of the commitment or minimum.
    first = next((line for line in corrections if _own(line)), corrections[0])
    return wanted, [GivenBack(first, ZERO, left - asked)]


def _own(line: Line) -> bool:
    return line.adjustment is not None and line.adjustment.corrected is None


def _named(line: Line) -> Named:
    assert line.adjustment is not None
    corrected = line.adjustment.corrected
    if line.rate_card is not None or corrected is None:
        return line.rate_card, tuple(sorted(line.dimensions.items())), "", ""
    return None, (), corrected.kind.value, corrected.key


def _lines_of(named: Named, creditable: Creditable) -> list[CreditableLine]:
    return [line for line in creditable.lines if _said(line.said) == named]


def _said(said: Mapping[str, Any]) -> Named:
    if "adjustment" not in said:
        return said["rate_card"], tuple(sorted(said["dimensions"].items())), "", ""
    # A correction on it is one of another invoice, and named as no part of this one is.
    return None, (), said["kind"], said["adjustment"]["key"]
