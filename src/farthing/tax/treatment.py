"""What tax law makes of a supply: (seller, customer, category, day, table) -> treatment. Pure.

The services sold here are supplied where the customer is established (for businesses, Directive 2006/112/EC Article 44;
for consumers of electronic services, Article 58; elsewhere by rules of the same effect); where that is not known,
where the seller is. Asked in this order:

    the customer is exempt in that country on that day             exempt, for the customer's reason
    the rate card's category is `exempt` or `zero`                 exempt, zero
    a business of another member state of the European Union       reverse charge (Article 196)
    the table has rates for the place                              taxed
    it has none                                                    not collected

A business is a customer with a tax id that was checked. Under reverse charge the seller may be anywhere but in the
customer's country. A seller that collects in a country loads its rates; one that does not leaves them out: so the
table also says where the seller is registered.
"""

from datetime import date

from farthing.kernel.quantity import ZERO
from farthing.tax.european_union import is_member
from farthing.tax.model import (
    EXEMPT,
    ZERO_RATED,
    Duty,
    Place,
    Question,
    TaxFacts,
    Treatment,
    TreatmentKind,
)
from farthing.tax.table import TaxTable

REVERSE_CHARGE_NOTE = (
    "Reverse charge: VAT is to be accounted for by the recipient (Article 196 of Directive 2006/112/EC)."
)
NO_TAX_NAME = "Tax"
VAT_NAME = "VAT"


def treatment_of(question: Question, table: TaxTable) -> Treatment:
    """The treatment of one supply."""
    place = question.buyer if question.buyer.country is not None else question.seller
    country = place.country
    if country is None:
        note = "No tax is collected: neither the seller's country nor the customer's is known."
        return _untaxed(TreatmentKind.NOT_COLLECTED, None, question, note)
    exemption = question.facts.exemption
    if exemption is not None and exemption.holds(country, question.day):
        number = "" if exemption.certificate is None else f" (certificate {exemption.certificate})"
        return _untaxed(
            TreatmentKind.EXEMPT, country, question, f"Exempt from tax: {exemption.reason}{number}"
        )
    if question.category == EXEMPT:
        return _untaxed(TreatmentKind.EXEMPT, country, question, "Exempt from tax.")
    if question.category == ZERO_RATED:
        return _untaxed(TreatmentKind.ZERO, country, question, "Zero-rated.")
    if _is_reverse_charged(question.seller, country, question.facts, question.day):
        return _untaxed(TreatmentKind.REVERSE_CHARGE, country, question, REVERSE_CHARGE_NOTE, VAT_NAME)
    return _by_table(question, place, country, table)


def _by_table(question: Question, place: Place, country: str, table: TaxTable) -> Treatment:
    rates = table.rates(country, place.region, question.category, question.day)
    if not rates:
        note = f"No tax is collected by the seller in {country}."
        return _untaxed(TreatmentKind.NOT_COLLECTED, country, question, note)
    duties = tuple(Duty(rate.name, rate.percent, rate.region) for rate in rates)
    if not any(duty.percent for duty in duties):
        return Treatment(TreatmentKind.ZERO, country, question.category, duties, "Zero-rated.")
    return Treatment(TreatmentKind.TAXED, country, question.category, duties)


def _is_reverse_charged(seller: Place, country: str, facts: TaxFacts, day: date) -> bool:
    """Whether a business of the union buys from abroad. A number of the seller's own country proves nothing."""
    if seller.country is None or seller.country == country or not is_member(country, day):
        return False
    return any(
        tax_id.checked and tax_id.country != seller.country and is_member(tax_id.country, day)
        for tax_id in facts.tax_ids
    )


def _untaxed(
    kind: TreatmentKind, country: str | None, question: Question, note: str, name: str = NO_TAX_NAME
) -> Treatment:
    return Treatment(kind, country, question.category, (Duty(name, ZERO),), note)
