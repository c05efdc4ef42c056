"""The nouns of the room."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from farthing.catalog.model import TAX_CATEGORY_DEFAULT
from farthing.kernel.value import value

STANDARD = TAX_CATEGORY_DEFAULT
"""The category of what nobody gave another: it bears the usual rate of its place."""
ZERO_RATED = "zero"
EXEMPT = "exempt"
"""Two categories that need no row in the table: taxed at zero, and not taxed by law."""


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A row of the table: what supplies of a category bear in a country, or in a region of it.

    region: as it stands in addresses, in capital letters; None: the whole country.
    percent: of the net amount. valid_until: the first day on which it no longer holds; None: until a later row.
    adds: of a region, whether it comes on top of the country's rate, or in its place.
    """

    country: str
    region: str | None
    category: str
    percent: Decimal
    name: str
    valid_from: date
    valid_until: date | None = None
    adds: bool = False


@dataclass(frozen=True, slots=True)
class TaxId:
    """A tax identification number: of which country, in its canonical form, and whether its form was checked.

    checked: length, form and check digits are right. Whether the authority knows it is another question.
    """

    country: str
    number: str
    checked: bool


@dataclass(frozen=True, slots=True)
class Exemption:
    """Why a customer bears no tax, in which countries (none: everywhere), and until when (the first day after)."""

    reason: str
    countries: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None
    certificate: str | None = None

    def holds(self, country: str, day: date) -> bool:
        """Whether it is in force for a supply in this country on this day."""
        return (
            (not self.countries or country in self.countries)
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_until is None or day < self.valid_until)
        )


@dataclass(frozen=True, slots=True)
class TaxFacts:
    """What is known of a customer for tax beside its address."""

    tax_ids: tuple[TaxId, ...] = ()
    exemption: Exemption | None = None


NO_FACTS = TaxFacts()


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is established, as far as it is known."""

    country: str | None = None
    region: str | None = None


@value
class Question:
    """A supply that tax is asked for. day: on which it counts as made, by the customer's calendar."""

    seller: Place
    buyer: Place
    facts: TaxFacts
    category: str
    day: date


class TreatmentKind(StrEnum):
    """What tax law makes of a supply.

    taxed           it bears the rates of its place
    zero            it is taxable, at zero percent
    exempt          the law, or the customer's status, takes it out of tax
    reverse_charge  the customer accounts for the tax itself
    not_collected   the seller collects no tax in that place: the table has no rate for it
    """

    TAXED = "taxed"
    ZERO = "zero"
    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"
    NOT_COLLECTED = "not_collected"


CODES: Mapping[TreatmentKind, str] = {
    TreatmentKind.TAXED: "S",
    TreatmentKind.ZERO: "Z",
    TreatmentKind.EXEMPT: "E",
    TreatmentKind.REVERSE_CHARGE: "AE",
    TreatmentKind.NOT_COLLECTED: "O",
}
"""The codes of EN 16931 (UNTDID 5305) for what a treatment is."""


@dataclass(frozen=True, slots=True)
class Duty:
    """One tax that a treatment asks for: its name, whose it is, and the percentage of the net amount."""

    name: str
    percent: Decimal
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a supply bears, and the note that the law wants on the invoice. duties: at least one, also at zero."""

    kind: TreatmentKind
    country: str | None
    category: str
    duties: tuple[Duty, ...]
    note: str | None = None

    @property
    def code(self) -> str:
        return CODES[self.kind]


@value
class TaxedPart:
    """An amount in the currency's minor unit that one treatment is for: a line of an invoice, or a part of it.

    known: what each duty of it was on an invoice before, which this one takes off; None: it is to be computed.
    """

    amount: Decimal
    treatment: Treatment
    known: tuple[Decimal, ...] | None = None


@value
class TaxLine:
    """One tax of an invoice: what it is on, and how much it is. Both in the currency's minor unit."""

    treatment: Treatment
    duty: Duty
    net: Decimal
    amount: Decimal


@value
class PartTax:
    """How much of a tax line falls upon a part. tax_line: its place, from zero."""

    tax_line: int
    amount: Decimal


@value
class TaxAmounts:
    """The taxes of an invoice, by line and in all, and of each of its parts. They add up."""

    lines: tuple[TaxLine, ...]
    of_parts: tuple[tuple[PartTax, ...], ...]
    tax: Decimal


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """What a table and the customers' facts say, read at one moment for some customers. customers: by id."""

    rates: tuple[TaxRate, ...]
    customers: Mapping[int, TaxFacts] = field(default_factory=dict)

    def of(self, customer_id: int) -> TaxFacts:
        return self.customers.get(customer_id, NO_FACTS)
