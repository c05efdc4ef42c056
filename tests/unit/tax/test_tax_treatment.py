"""What tax law makes of a supply, case by case."""

from datetime import date
from decimal import Decimal

import pytest

from farthing.tax.engine import TableEngine
from farthing.tax.model import Exemption, Place, Question, TaxFacts, TaxId, TaxRate, TreatmentKind
from farthing.tax.table import TaxTable
from farthing.tax.treatment import REVERSE_CHARGE_NOTE, treatment_of

DAY = date(2026, 11, 30)
EARLY = date(1990, 1, 1)
TABLE = TaxTable(
    TaxRate(country, region, category, Decimal(percent), name, EARLY)
    for country, region, category, percent, name in (
        ("DE", None, "standard", "19", "VAT"),
        ("DE", None, "reduced", "7", "VAT"),
        ("FR", None, "standard", "20", "VAT"),
        ("ES", "CANARIAS", "standard", "0", "IGIC"),
        ("GB", None, "standard", "20", "VAT"),
        ("US", "NY", "standard", "4", "Sales tax"),
    )
)
GERMAN, FRENCH = TaxId("DE", "DE136695976", checked=True), TaxId("FR", "FR40303265045", checked=True)
BRITISH = TaxId("GB", "980780684", checked=True)


def treated(
    buyer: str | None, *tax_ids: TaxId, seller: str | None = "DE", category: str = "standard",
    day: date = DAY, region: str | None = None, exemption: Exemption | None = None,
) -> tuple[str, str]:  # fmt: skip
    question = Question(Place(seller), Place(buyer, region), TaxFacts(tax_ids, exemption), category, day)
    found = treatment_of(question, TABLE)
    assert bool(found.note) == (found.kind is not TreatmentKind.TAXED)
    return found.kind.value, " + ".join(f"{duty.name} {duty.percent}" for duty in found.duties)


@pytest.mark.parametrize(
    ("found", "kind", "duties"),
    [
        (treated("DE"), "taxed", "VAT 19"),
        (treated("DE", category="reduced"), "taxed", "VAT 7"),
        (treated("DE", category="zero"), "zero", "Tax 0"),
        (treated("DE", category="exempt"), "exempt", "Tax 0"),
        # At home a tax id changes nothing.
        (treated("DE", GERMAN), "taxed", "VAT 19"),
        # A consumer elsewhere bears the rate of its place, a business accounts for it itself.
        (treated("FR"), "taxed", "VAT 20"),
        (treated("FR", FRENCH), "reverse_charge", "VAT 0"),
        (treated("FR", FRENCH, category="reduced"), "reverse_charge", "VAT 0"),
        # Also where the seller has no rates of that place, and where the seller is outside of the union.
        (treated("IT", FRENCH), "reverse_charge", "VAT 0"),
        (treated("FR", FRENCH, seller="US"), "reverse_charge", "VAT 0"),
        # A number of the seller's own country, of none of the union, or unchecked, proves no business abroad.
        (treated("FR", GERMAN), "taxed", "VAT 20"),
        (treated("FR", BRITISH), "taxed", "VAT 20"),
        (treated("FR", TaxId("FR", "FR1", checked=False)), "taxed", "VAT 20"),
        (treated("FR", FRENCH, seller=None), "taxed", "VAT 20"),
        # The United Kingdom was a member until 2020.
        (treated("GB", BRITISH), "taxed", "VAT 20"),
        (treated("GB", BRITISH, day=date(2020, 12, 31)), "reverse_charge", "VAT 0"),
        (treated("IT"), "not_collected", "Tax 0"),
        (treated("JP"), "not_collected", "Tax 0"),
        (treated("US", region="ny"), "taxed", "Sales tax 4"),
        (treated("US", region="TX"), "not_collected", "Tax 0"),
        (treated("ES", region="Canarias"), "zero", "IGIC 0"),
        # Whose place is not known is served where the seller is.
        (treated(None), "taxed", "VAT 19"),
        (treated(None, seller=None), "not_collected", "Tax 0"),
    ],
)
def test_examples(found: tuple[str, str], kind: str, duties: str) -> None:
    assert found == (kind, duties)


@pytest.mark.parametrize(
    ("exemption", "kind"),
    [
        (Exemption("Charity"), "exempt"),
        (Exemption("Charity", ("DE", "FR")), "exempt"),
        (Exemption("Charity", ("FR",)), "taxed"),
        (Exemption("Charity", valid_until=date(2026, 12, 1)), "exempt"),
        (Exemption("Charity", valid_until=DAY), "taxed"),
        (Exemption("Charity", valid_from=date(2026, 12, 1)), "taxed"),
    ],
)
def test_an_exemption_holds_where_and_when_it_says(exemption: Exemption, kind: str) -> None:
    assert treated("DE", exemption=exemption)[0] == kind


def test_the_notes_are_those_of_the_law() -> None:
    question = Question(Place("DE"), Place("FR"), TaxFacts((FRENCH,)), "standard", DAY)
    assert treatment_of(question, TABLE).note == REVERSE_CHARGE_NOTE
    assert treatment_of(question, TABLE).code == "AE"
    exempt = Question(
        Place("DE"), Place("DE"), TaxFacts((), Exemption("Charity", certificate="4711")), "standard", DAY
    )
    assert treatment_of(exempt, TABLE).note == "Exempt from tax: Charity (certificate 4711)"


def test_the_engine_of_the_table_answers_in_order() -> None:
    questions = [
        Question(Place("DE"), Place(country), TaxFacts(), "standard", DAY)
        for country in ("DE", "JP", "FR", "DE")
    ]
    answers = TableEngine(TABLE).treatments(questions)
    assert list(answers) == [treatment_of(question, TABLE) for question in questions]
