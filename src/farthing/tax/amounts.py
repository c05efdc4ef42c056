"""How much tax there is on amounts, and what of it falls upon each. Pure.

Amounts come in the currency's minor unit, as lines show them. Those of one treatment are taxed together:

    exclusive   tax = net * percent / 100                      net 100.00, 19 %:  19.00
    inclusive   tax = gross * percent / (100 + percents)       gross 100.00, 19 %: 15.97, net 84.03

By default the tax of each rate is rounded once, on the sum (EN 16931, BR-CO-17), and shared out among the lines by
largest remainder. Rounding by line rounds the tax of each line, and the tax of the rate is their sum. Either way the
tax of lines sums to the tax of the invoice.

What is taken off because an invoice before billed it takes off the tax that stands there, after rounding: so the taxes
of those invoices sum to the tax of one, to the cent.
"""

from collections.abc import Sequence
from decimal import Decimal

from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import Direction, Rounding, allocate, divide_rounded, quotient, round_money
from farthing.tax.model import Duty, PartTax, TaxAmounts, TaxedPart, TaxLine, Treatment

HUNDRED = Decimal(100)


def tax_amounts(
    parts: Sequence[TaxedPart], *, inclusive: bool, by_line: bool, minor_units: int, mode: Rounding
) -> TaxAmounts:
    """The taxes of these parts, in the order in which their treatments first come."""
    groups = _by_treatment(parts)
    lines: list[TaxLine] = []
    of_parts: list[list[PartTax]] = [[] for _ in parts]
    for treatment, places in groups.items():
        amounts = [parts[place].amount for place in places]
        divisor = _divisor(treatment, inclusive=inclusive)
        own = [part.amount for place in places if (part := parts[place]).known is None]
        shares = [
            _with_known(
                [parts[place].known for place in places],
                number,
                _shares(own, duty, divisor, minor_units, mode, by_line=by_line) if own else [],
            )
            for number, duty in enumerate(treatment.duties)
        ]
        sums = [_sum(of_duty) for of_duty in shares]
        net = _sum([*amounts, *(amount.copy_negate() for amount in sums)] if inclusive else amounts)
        for duty, of_duty, amount in zip(treatment.duties, shares, sums, strict=True):
            for place, share in zip(places, of_duty, strict=True):
                of_parts[place].append(PartTax(len(lines), share))
            lines.append(TaxLine(treatment, duty, net, amount))
    zero = round_money(ZERO, minor_units)
    return TaxAmounts(
        tuple(lines), tuple(map(tuple, of_parts)), _sum([zero, *(line.amount for line in lines)])
    )


def _by_treatment(parts: Sequence[TaxedPart]) -> dict[Treatment, list[int]]:
    """The places of the parts of each treatment."""
    groups: dict[Treatment, list[int]] = {}
    last: Treatment | None = None
    places: list[int] = []
    for place, part in enumerate(parts):
        if part.treatment is not last:  # Most invoices have one, and to find it by its value is costly.
            last = part.treatment
            places = groups.setdefault(last, [])
        places.append(place)
    return groups


def _divisor(treatment: Treatment, *, inclusive: bool) -> Decimal:
    with exact():
        return HUNDRED + sum((duty.percent for duty in treatment.duties), ZERO) if inclusive else HUNDRED


def _with_known(
    known: Sequence[tuple[Decimal, ...] | None], duty: int, computed: Sequence[Decimal]
) -> list[Decimal]:
    """What a duty is on each part: what is known of it, and what was computed for the others, in their order."""
    others = iter(computed)
    return [next(others) if one is None else one[duty] for one in known]


def _shares(
    amounts: Sequence[Decimal],
    duty: Duty,
    divisor: Decimal,
    minor_units: int,
    mode: Rounding,
    *,
    by_line: bool,
) -> list[Decimal]:
    """What one duty is on each of these amounts."""
    direction = Direction(mode.value)
    with exact():
        dividends = [amount * duty.percent for amount in amounts]
    if by_line:
        return [divide_rounded(dividend, divisor, minor_units, direction) for dividend in dividends]
    total = divide_rounded(_sum(dividends), divisor, minor_units, direction)
    if divisor is HUNDRED:  # Nearly every invoice; the point moves, and nothing is lost.
        with exact():
            shares = [dividend / HUNDRED for dividend in dividends]
    else:
        shares = [quotient(dividend, divisor) for dividend in dividends]
    return allocate(shares, total, minor_units)


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    with exact():
        return sum(amounts, ZERO)
