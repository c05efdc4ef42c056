"""What a credit note gives back, of what is left. Pure.

    all        every line and tax, to what is left of it; where some was written off, the amount that is left
    lines      of each line what is left, an amount as it shows it, or a quantity: its share, rounded half up
    an amount  with tax, of all lines alike: in the ratio of what is left of them

Tax comes back at the invoice's own rates: the bundle's tax in the ratio of what is given back of its lines, rounded
half up; with the last of its lines, all that is left of it. So several credit notes that give back everything give
back each tax to the cent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from farthing.invoicing.credit_notes.model import (
    Bundle,
    Credit,
    Creditable,
    CreditableLine,
    CreditedLine,
    CreditedTax,
    CreditWanted,
    LineWanted,
)
from farthing.kernel.errors import Conflict, Fault, InvalidInput
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.rounding import Direction, apportion, divide_rounded, round_money


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is given back of a bundle: of each of its taxes, and of each of its lines by number."""

    taxes: tuple[Decimal, ...]
    lines: dict[int, Decimal]


def credit_of(wanted: CreditWanted, creditable: Creditable) -> Credit:
    """The credit note that is wanted.

    Raises:
        Conflict: `nothing_to_credit`, where nothing is left; `credit_over_invoice`, where more is wanted than that.
        InvalidInput: `unknown_line`, `invalid_amount`, `invalid_quantity`.
    """
    if creditable.left <= 0:
        raise Conflict(
            "nothing_to_credit", f"nothing is left to give back of {wanted.invoice}", path="invoice"
        )
    with exact():
        if wanted.lines:
            taken = _of_lines(wanted.lines, creditable)
        elif wanted.amount is not None:
            taken = _of_amount(wanted.amount, creditable)
        elif creditable.whole:
            taken = _of_all(creditable)
        else:
            taken = _of_amount(creditable.left, creditable)
        credit = _credit(wanted, creditable, taken)
    if credit.total <= 0:
        raise Conflict("nothing_to_credit", "what is wanted comes to nothing", path="invoice")
    if credit.total > creditable.left:
        raise _over(credit.total, creditable, "lines")
    return credit


def _of_all(creditable: Creditable) -> list[_Taken]:
    return [
        _Taken(bundle.tax_left, {line.number: line.left for line in _lines(creditable, place)})
        for place, bundle in enumerate(creditable.bundles)
    ]


def _of_lines(wanted: Sequence[LineWanted], creditable: Creditable) -> list[_Taken]:
    by_number = {line.number: line for line in creditable.lines}
    amounts: dict[int, Decimal] = {}
    for place, one in enumerate(wanted):
        line = by_number.get(one.line)
        if line is None:
            complaint = "is no line that can be given back; what is made of other lines comes with those"
            raise InvalidInput.of("unknown_line", [Fault(f"lines[{place}].line", complaint)])
        amounts[one.line] = _of_line(one, line, creditable.currency, f"lines[{place}]")
    found: list[_Taken] = []
    for at, bundle in enumerate(creditable.bundles):
        mine = {
            line.number: amounts[line.number] for line in _lines(creditable, at) if line.number in amounts
        }
        found.append(_Taken(_taxes(bundle, sum(mine.values(), ZERO), creditable), mine))
    return found


def _of_line(wanted: LineWanted, line: CreditableLine, currency: str, path: str) -> Decimal:
    """What is wanted of one line, as the line shows it."""
    digits = MINOR_UNITS[currency]
    amount = line.left
    if wanted.amount is not None:
        amount = checked_amount(wanted.amount, currency, f"{path}.amount")
    elif wanted.quantity is not None:
        if line.quantity <= 0 or wanted.quantity > line.quantity:
            complaint = f"must be at most {plain(line.quantity)}, the line's"
            raise InvalidInput.of("invalid_quantity", [Fault(f"{path}.quantity", complaint)])
        size = divide_rounded(
            line.billed.copy_abs() * wanted.quantity, line.quantity, digits, Direction.HALF_UP
        )
        amount = size.copy_sign(line.billed)
        # The last of several quantities may be a cent more than is left, by their rounding.
        if amount.copy_abs() > line.left.copy_abs() and amount.copy_abs() - line.left.copy_abs() <= Decimal(
            1
        ).scaleb(-digits):
            amount = line.left
    if (amount and (amount > 0) != (line.left > 0)) or amount.copy_abs() > line.left.copy_abs():
        complaint = f"{plain(line.left)} is left to give back of line {line.number}, not {plain(amount)}"
        raise Conflict("credit_over_invoice", complaint, path=path)
    return amount


def _of_amount(amount: Decimal, creditable: Creditable) -> list[_Taken]:
    """Of each bundle, and of each of its lines, in the ratio of what is left; credits among them stay."""
    digits = MINOR_UNITS[creditable.currency]
    checked_amount(amount, creditable.currency, "amount")
    if amount > creditable.left:
        raise _over(amount, creditable, "amount")
    if amount == creditable.left and creditable.whole:
        return _of_all(creditable)
    gross = [max(_gross_left(bundle, creditable), ZERO) for bundle in creditable.bundles]
    found: list[_Taken] = []
    for place, (bundle, part) in enumerate(
        zip(creditable.bundles, apportion(amount, gross, digits), strict=True)
    ):
        taxes = _taxes_within(bundle, part, creditable)
        base = part if creditable.inclusive else part - sum(taxes, ZERO)
        lines = _lines(creditable, place)
        shares = apportion(base, [max(line.left, ZERO) for line in lines], digits) if base else []
        found.append(
            _Taken(taxes, {line.number: share for line, share in zip(lines, shares, strict=False) if share})
        )
    return found


def _gross_left(bundle: Bundle, creditable: Creditable) -> Decimal:
    return bundle.left if creditable.inclusive else bundle.left + sum(bundle.tax_left, ZERO)


def _taxes(bundle: Bundle, amount: Decimal, creditable: Creditable) -> tuple[Decimal, ...]:
    """What of the bundle's taxes comes back with this amount of its lines."""
    if amount == bundle.left:
        return bundle.tax_left
    return _ratio(bundle, amount, bundle.billed, creditable)


def _taxes_within(bundle: Bundle, gross: Decimal, creditable: Creditable) -> tuple[Decimal, ...]:
    """What of the bundle's taxes is in this amount that includes them."""
    if gross == _gross_left(bundle, creditable):
        return bundle.tax_left
    if creditable.inclusive:
        return _ratio(bundle, gross, bundle.billed, creditable)
    taxes = list(_ratio(bundle, gross, bundle.billed + sum(bundle.tax_billed, ZERO), creditable))
    # Where earlier roundings left less of the lines than that, the rest is tax.
    over = gross - sum(taxes, ZERO) - bundle.left
    for place, left in enumerate(bundle.tax_left):
        if over > 0:
            more = min(over, left - taxes[place])
            taxes[place] += more
            over -= more
    return tuple(taxes)


def _ratio(bundle: Bundle, part: Decimal, whole: Decimal, creditable: Creditable) -> tuple[Decimal, ...]:
    """Of each tax as much as `part` is of `whole`, and no more than is left of it."""
    digits = MINOR_UNITS[creditable.currency]
    found = []
    for billed, left in zip(bundle.tax_billed, bundle.tax_left, strict=True):
        share = ZERO
        if whole:
            dividend = (billed * part).copy_abs()
            size = divide_rounded(dividend, whole.copy_abs(), digits, Direction.HALF_UP)
            share = size if (billed * part >= 0) == (whole > 0) else -size
        found.append(min(max(share, min(left, ZERO)), max(left, ZERO)))
    return tuple(found)


def _credit(wanted: CreditWanted, creditable: Creditable, taken: Sequence[_Taken]) -> Credit:
    digits = MINOR_UNITS[creditable.currency]
    quantities = {one.line: one for one in wanted.lines}
    lines: list[CreditedLine] = []
    taxes: list[CreditedTax] = []
    zero = round_money(ZERO, digits)
    for place, (bundle, part) in enumerate(zip(creditable.bundles, taken, strict=True)):
        base = sum(part.lines.values(), ZERO)
        tax = sum(part.taxes, ZERO)
        net = base - tax if creditable.inclusive else base
        if base or tax:
            taxes += [
                CreditedTax(at, zero + net, zero + amount)
                for at, amount in zip(bundle.taxes, part.taxes, strict=True)
            ]
        mine = [line for line in _lines(creditable, place) if part.lines.get(line.number)]
        on_lines = _tax_of_lines([part.lines[line.number] for line in mine], tax, digits)
        for line, on_line in zip(mine, on_lines, strict=True):
            amount = part.lines[line.number]
            asked = quantities.get(line.number)
            quantity = asked.quantity if asked is not None and asked.quantity is not None else None
            if quantity is None and amount == line.billed:
                quantity = line.quantity
            lines.append(CreditedLine(line, zero + amount, zero + on_line, quantity))
    subtotal = zero + sum((line.amount for line in lines), ZERO)
    tax = zero + sum((one.amount for one in taxes), ZERO)
    total = subtotal if creditable.inclusive else subtotal + tax
    return Credit(tuple(sorted(lines, key=lambda one: one.line.number)), tuple(taxes), subtotal, tax, total)


def _tax_of_lines(amounts: Sequence[Decimal], tax: Decimal, digits: int) -> list[Decimal]:
    """The tax of a bundle on its lines, in the ratio of their sizes."""
    sizes = [amount.copy_abs() for amount in amounts]
    if not tax or not any(sizes):
        return [ZERO for _ in amounts]
    parts = apportion(tax.copy_abs(), sizes, digits)
    return [part.copy_sign(tax) if part else part for part in parts]


def _lines(creditable: Creditable, place: int) -> list[CreditableLine]:
    return [line for line in creditable.lines if line.bundle == place]


def net_of(line: CreditedLine, creditable: Creditable) -> Decimal:
    """What is given back of a line without the tax that is in it."""
    with exact():
        return line.amount - line.tax if creditable.inclusive else line.amount


def checked_amount(amount: Decimal, currency: str, path: str) -> Decimal:
    """An amount that the currency can have. Raises InvalidInput `invalid_amount`."""
    digits = MINOR_UNITS[currency]
    if amount == 0 or round_money(amount, digits) != amount:
        complaint = f"must not be zero, and have at most {digits} decimals, those of {currency}"
        raise InvalidInput.of("invalid_amount", [Fault(path, complaint)])
    return amount


def _over(amount: Decimal, creditable: Creditable, path: str) -> Conflict:
    complaint = f"{plain(creditable.left)} is left to give back of the invoice, not {plain(amount)}"
    return Conflict("credit_over_invoice", complaint, path=path)
