"""The shapes of tax, for the OpenAPI description (see `shapes.py`)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from farthing.api.documents.shapes import Body, Count, Exact, Key, Text
from farthing.tax.model import TreatmentKind

Country = Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166, two letters.")]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]


class TaxRateBody(Body):
    """A row of the table of rates."""

    country: Country
    region: Text | None = Field(None, description="As it stands in addresses; none: the whole country.")
    category: Key = Field("standard", description="The one that rate cards name.")
    rate: Exact = Field(description="In percent of the net amount.")
    name: Text = Field("Tax", examples=["VAT"])
    from_: Day = Field("1900-01-01", alias="from", description="The first day on which it holds.")
    until: Day | None = Field(
        None, description="The first day on which it no longer holds; none: until a later row."
    )
    adds: bool = Field(False, description="Of a region: on top of the country's rate, not in its place.")


class TaxRatesBody(Body):
    """Rows to load. A row for the same place, category and first day takes the place of the one that stands."""

    rates: list[TaxRateBody]


class TaxRatesLoaded(BaseModel):
    """What loading did."""

    changed: Count
    unchanged: Count


class TaxRatePage(BaseModel):
    """A page of the table, in order of place, category and day."""

    items: list[TaxRateBody]
    next_cursor: str | None


class TaxIdBody(Body):
    """A tax identification number. It is refused where it fails the checks of its country."""

    country: Country
    number: Text = Field(examples=["DE136695976"])


class TaxIdDocument(TaxIdBody):
    """A tax identification number in its canonical form."""

    checked: bool = Field(description="Whether the rules of its country are known, and it keeps to them.")


class ExemptionBody(Body):
    """Why a customer bears no tax."""

    reason: Text = Field(description="It stands on invoices.")
    countries: list[Country] = Field([], description="None: everywhere.")
    from_: Day | None = Field(None, alias="from")
    until: Day | None = Field(None, description="The first day after it.")
    certificate: Text | None = None


class CustomerTaxBody(Body):
    """What is known of a customer for tax, beside its address."""

    tax_ids: list[TaxIdBody] = Field([])
    exemption: ExemptionBody | None = None


class CustomerTaxDocument(BaseModel):
    """What is known of a customer for tax."""

    tax_ids: list[TaxIdDocument]
    exemption: ExemptionBody | None


class DutyDocument(BaseModel):
    """One tax of a supply."""

    name: str
    region: str | None = None
    rate: Exact


class TreatmentDocument(BaseModel):
    """What a supply bears, and the note that stands on the invoice."""

    treatment: TreatmentKind
    code: Literal["S", "Z", "E", "AE", "O"] = Field(description="Of EN 16931.")
    country: Country | None
    category: Key
    taxes: list[DutyDocument]
    note: str | None


class TaxDocument(BaseModel):
    """One tax of an invoice: what it is on, and how much it is."""

    name: str
    country: str | None
    region: str | None = None
    category: Key
    treatment: TreatmentKind
    code: Literal["S", "Z", "E", "AE", "O"] = Field(description="Of EN 16931.")
    rate: Exact
    net: Exact
    amount: Exact
    note: str | None = None


class LineTaxDocument(BaseModel):
    """What of a line bears a tax of the invoice (`tax`: its place in `taxes`, from 1 on), and how much."""

    tax: int
    of: Exact
    amount: Exact
