"""What tax a drafted invoice bears. Pure.

    draft -> lines, parted by category -> questions -> treatments -> tax of each line -> totals with tax
                                                       tax/engine    tax/amounts

- The day that decides which rates hold is the last day of the service, or the day on which the invoice falls due
  where that is earlier (fees in advance), by the customer's calendar. So it does not depend on when billing runs.
- What a coupon takes off, and what a prepaid commitment pays for, is taxed as the lines that it is made of. Another
  adjustment (a minimum, a true-up, a prepaid commitment itself) bears the standard rate.
- What is carried forward bears no tax until an invoice brings it forward, by the day of the bill that carried it last.
- What interim invoices billed is taken off with the tax that stands on them. Where the same tax does not apply any more
  (the customer became exempt), what is taken off is taxed as the lines are now.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from farthing.catalog.model import RoundingScope
from farthing.invoicing.drafting.shares import category_of, is_made_of_others, parted_by
from farthing.invoicing.model import Draft, InvoiceTax, Line, LineKind, LineTax, Totals
from farthing.kernel.instant import zone_named
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact
from farthing.kernel.rounding import allocate
from farthing.kernel.value import value
from farthing.tax.amounts import tax_amounts
from farthing.tax.engine import TaxEngine
from farthing.tax.model import Place, Question, TaxAmounts, TaxedPart, TaxTerms, Treatment

_MOMENT = timedelta(microseconds=1)

TaxName: TypeAlias = tuple[Any, ...]
"""What tells the taxes of an invoice apart: country, category, treatment, name, percentage and region."""
BilledTaxes: TypeAlias = Mapping[str, Mapping[TaxName, Decimal]]
"""By the number of an interim invoice, how much of each tax stands on it."""


@value
class _Part:
    """What of a line's shown amount is of one category. line: its place, from zero."""

    line: int
    amount: Decimal
    question: Question


def taxed(
    drafts: Sequence[Draft],
    terms: TaxTerms,
    seller: Place,
    engine: TaxEngine,
    billed: BilledTaxes | None = None,
) -> list[Draft]:
    """These drafts with their tax.

    terms: what is known of their customers. billed: the taxes of the interim invoices that they take off.
    """
    parts = [list(_parts(draft, terms, seller)) for draft in drafts]
    # Lines that are asked for alike share their question (`_parts`): it is asked once.
    questions = {id(part.question): part.question for some in parts for part in some}
    answers = dict(zip(questions, engine.treatments(list(questions.values())), strict=True))
    return [
        _with_tax(
            draft,
            some,
            _taxed_parts(draft, some, [answers[id(part.question)] for part in some], billed or {}),
            terms,
        )
        for draft, some in zip(drafts, parts, strict=True)
    ]


def _taxed_parts(
    draft: Draft, parts: Sequence[_Part], treatments: Sequence[Treatment], billed: BilledTaxes
) -> list[TaxedPart]:
    """The parts with their treatments; of what an interim invoice billed with the taxes that it has."""
    found = [TaxedPart(part.amount, treatment) for part, treatment in zip(parts, treatments, strict=True)]
    for line, places in _by_line(draft, parts).items():
        adjustment = draft.lines[line].adjustment
        assert adjustment is not None
        left = dict(billed.get(adjustment.key, {}))
        known = {
            place: tuple(left.pop(name, ZERO).copy_negate() for name in _names(treatments[place]))
            for place in places
        }
        if adjustment.key in billed and not any(left.values()):
            for place, amounts in known.items():
                found[place] = replace(found[place], known=amounts)
    return found


def _by_line(draft: Draft, parts: Sequence[_Part]) -> dict[int, list[int]]:
    """The places of the parts of each line that takes off what was billed."""
    places: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        if draft.lines[part.line].kind is LineKind.BILLED:
            places.setdefault(part.line, []).append(place)
    return places


def _names(treatment: Treatment) -> list[TaxName]:
    common = (treatment.country, treatment.category, treatment.kind.value)
    return [(*common, duty.name, duty.percent, duty.region) for duty in treatment.duties]


def _with_tax(
    draft: Draft, parts: Sequence[_Part], taxed_parts: Sequence[TaxedPart], terms: TaxTerms
) -> Draft:
    plan = draft.bill.plan
    inclusive = plan.prices_include_tax
    amounts = tax_amounts(
        taxed_parts,
        inclusive=inclusive,
        by_line=plan.rounding is RoundingScope.LINE,
        minor_units=MINOR_UNITS[plan.currency],
        mode=plan.rounding_mode,
    )
    facts = terms.of(draft.bill.customer.customer_id)
    of_lines = _of_lines(len(draft.lines), parts, amounts)
    tax = InvoiceTax(amounts.lines, of_lines, inclusive, facts.tax_ids)
    charged = amounts.tax
    if any(line.kind is LineKind.CARRIED_FORWARD for line in draft.lines):
        tax, charged = _carried_with_tax(draft, tax), charged - charged
    return replace(draft, totals=_totals(draft.totals, charged, inclusive=inclusive), tax=tax)


def _carried_with_tax(draft: Draft, tax: InvoiceTax) -> InvoiceTax:
    """What is carried forward takes its tax with it, all there is: the invoice that brings it decides on it."""
    of_lines = list(tax.of_lines)
    for place, line in enumerate(draft.lines):
        if line.kind is not LineKind.CARRIED_FORWARD:
            continue
        assert line.adjustment is not None
        sums: dict[int, tuple[Decimal, Decimal]] = {}
        with exact():
            for one in (one for share in line.adjustment.of for one in tax.of_lines[share.line - 1]):
                if tax.lines[one.tax_line].treatment.category == line.tax_category:
                    amount, taken = sums.get(one.tax_line, (ZERO, ZERO))
                    sums[one.tax_line] = amount - one.amount, taken - one.tax
        of_lines[place] = tuple(LineTax(number, *both) for number, both in sums.items())
    nothing = tuple(replace(one, net=one.net - one.net, amount=one.amount - one.amount) for one in tax.lines)
    return replace(tax, lines=nothing, of_lines=tuple(of_lines))


def _totals(totals: Totals, tax: Decimal, *, inclusive: bool) -> Totals:
    """Tax comes on top of the lines, or is contained in them: then the total is theirs."""
    if inclusive:
        return replace(totals, tax=tax)
    with exact():
        return replace(totals, tax=tax, total=totals.subtotal + tax, total_exact=totals.total_exact + tax)


def _of_lines(count: int, parts: Sequence[_Part], amounts: TaxAmounts) -> tuple[tuple[LineTax, ...], ...]:
    found: list[list[LineTax]] = [[] for _ in range(count)]
    for part, taxes in zip(parts, amounts.of_parts, strict=True):
        found[part.line] += [LineTax(tax.tax_line, part.amount, tax.amount) for tax in taxes]
    return tuple(map(tuple, found))


def _parts(draft: Draft, terms: TaxTerms, seller: Place) -> Iterator[_Part]:
    """Each line, or where it is made of lines of several categories and days, each part of it."""
    bill = draft.bill
    address = bill.customer.address
    buyer = Place(address.country, address.region)
    facts = terms.of(bill.customer.customer_id)
    days = [_tax_day(draft, line) for line in draft.lines]
    questions: dict[tuple[str, date], Question] = {}
    for place, (line, amount) in enumerate(zip(draft.lines, draft.totals.amounts, strict=True)):
        if line.kind is LineKind.CARRIED_FORWARD:
            continue
        for category, day, share in _shares(draft, place, days):
            part = amount if share is None else share
            question = questions.get((category, day))
            if question is None:
                question = questions[category, day] = Question(seller, buyer, facts, category, day)
            yield _Part(place, part, question)


def _shares(draft: Draft, place: int, days: Sequence[date]) -> list[tuple[str, date, Decimal | None]]:
    """What of a line is of which category and day; the whole of it (None) where that is one."""
    line = draft.lines[place]
    if not is_made_of_others(line):
        return [(category_of(line), days[place], None)]
    sums = parted_by(draft.lines, place, lambda other: (draft.lines[other].tax_category, days[other]))
    if len(sums) == 1:
        return [(*next(iter(sums)), None)]
    shown = allocate(list(sums.values()), draft.totals.amounts[place], MINOR_UNITS[draft.bill.plan.currency])
    return [(*named, part) for named, part in zip(sums, shown, strict=True)]


def _tax_day(draft: Draft, line: Line) -> date:
    end, due_since = line.service_period.end, draft.bill.due_since
    return _local_day(end - _MOMENT if end <= due_since else due_since, draft.bill.customer.timezone)


@lru_cache(maxsize=1024)
def _local_day(moment: datetime, timezone: str) -> date:
    # A billing run asks for the same few moments over and over.
    return moment.astimezone(zone_named(timezone)).date()
