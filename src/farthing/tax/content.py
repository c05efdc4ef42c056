"""How a table of rates, and what is known of a customer for tax, are read and written. Pure.

A table is CSV with a header, or YAML or JSON of the same fields:

    country,region,category,rate,name,from,until,adds
    DE,,standard,19,VAT,2021-01-01,,
    CA,QC,standard,9.975,QST,2013-01-01,,yes

    rates:
      - {country: DE, category: standard, rate: "19", name: VAT, from: 2021-01-01}

`category` is standard unless given, `name` is Tax, `from` is 1900-01-01, `until` is the first day on which the rate no
longer holds. A customer:

    {"tax_ids": [{"country": "DE", "number": "DE136695976"}],
     "exemption": {"reason": "Charity", "countries": ["DE"], "until": "2027-01-01", "certificate": "4711"}}
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from farthing.kernel.errors import Fault, InvalidInput, LimitExceeded
from farthing.kernel.instant import YEAR_MIN, parse_date
from farthing.kernel.quantity import parse_decimal, trimmed
from farthing.kernel.reading import (
    Faults,
    Fields,
    parse_choice,
    parse_key,
    parse_list,
    parse_text,
)
from farthing.tax.identification import TAX_IDS_MAX, parse_country, parse_tax_id, tax_id_json
from farthing.tax.model import STANDARD, Exemption, TaxFacts, TaxId, TaxRate, Treatment
from farthing.tax.table import region_key

RATES_MAX = 20_000
PERCENT_MAX = 1000
PERCENT_SCALE_MAX = 6
COUNTRIES_MAX = 250
COLUMNS = ("country", "region", "category", "rate", "name", "from", "until", "adds")

_EARLIEST = date(YEAR_MIN, 1, 1)
_FLAGS = {"yes": True, "true": True, "no": False, "false": False}


def parse_rates(raw: object) -> list[TaxRate]:
    """A table. Raises InvalidInput `invalid_tax_table` with every fault: `rates[3].rate`."""
    faults = Faults("invalid_tax_table")
    if isinstance(raw, dict):
        fields = Fields(raw, "", faults)
        rates = fields.required("rates", lambda rows, path: _rates(rows, path, faults))
        fields.refuse_unknown()
    else:
        rates = _rates(raw, "rates", faults)
    faults.refuse()
    return rates


def rows_of_csv(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file; an empty field is one that is not there. Raises InvalidInput `malformed_csv`."""
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows: list[dict[str, str]] = []
        for row in reader:
            if None in row or None in row.values():
                raise InvalidInput(
                    "malformed_csv", f"line {reader.line_num} has not as many fields as the header"
                )
            rows.append({name.strip(): field.strip() for name, field in row.items() if field.strip()})
            if len(rows) > RATES_MAX:
                raise LimitExceeded("too_many_rates", f"a table has at most {RATES_MAX} rows")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("malformed_csv", f"the table is not CSV in UTF-8: {error}") from None
    return rows


def rate_json(rate: TaxRate) -> dict[str, Any]:
    """A row as it is shown; `parse_rates` reads it back."""
    return {
        "country": rate.country,
        "region": rate.region,
        "category": rate.category,
        "rate": trimmed(rate.percent),
        "name": rate.name,
        "from": rate.valid_from.isoformat(),
        "until": None if rate.valid_until is None else rate.valid_until.isoformat(),
        "adds": rate.adds,
    }


def parse_facts(raw: object) -> TaxFacts:
    """What is known of a customer. Raises InvalidInput `invalid_tax_facts`, or the code of its parts."""
    faults = Faults("invalid_tax_facts")
    fields = Fields(raw, "", faults)
    tax_ids = fields.optional("tax_ids", _parse_tax_ids, ())
    exemption = fields.optional("exemption", _parse_exemption, None)
    fields.refuse_unknown()
    faults.refuse()
    return TaxFacts(tax_ids, exemption)


def facts_json(facts: TaxFacts) -> dict[str, Any]:
    """What is known of a customer, as it is shown."""
    exemption = facts.exemption
    return {
        "tax_ids": [tax_id_json(tax_id) for tax_id in facts.tax_ids],
        "exemption": None if exemption is None else exemption_json(exemption),
    }


def exemption_json(exemption: Exemption) -> dict[str, Any]:
    """An exemption as it is kept and shown, without what it does not say."""
    said: dict[str, Any] = {"reason": exemption.reason}
    if exemption.countries:
        said["countries"] = list(exemption.countries)
    if exemption.valid_from is not None:
        said["from"] = exemption.valid_from.isoformat()
    if exemption.valid_until is not None:
        said["until"] = exemption.valid_until.isoformat()
    if exemption.certificate is not None:
        said["certificate"] = exemption.certificate
    return said


def treatment_json(treatment: Treatment) -> dict[str, Any]:
    """What a supply bears, as it is shown."""
    return {
        "treatment": treatment.kind.value,
        "code": treatment.code,
        "country": treatment.country,
        "category": treatment.category,
        "taxes": [
            {"name": duty.name, "region": duty.region, "rate": trimmed(duty.percent)}
            for duty in treatment.duties
        ],
        "note": treatment.note,
    }


def facts_of(tax_ids: Sequence[Mapping[str, Any]], exemption: Mapping[str, Any] | None) -> TaxFacts:
    """What `facts_json` wrote."""
    return TaxFacts(
        tuple(TaxId(one["country"], one["number"], one["checked"]) for one in tax_ids),
        None if exemption is None else _parse_exemption(dict(exemption), "exemption"),
    )


def _rates(raw: object, path: str, faults: Faults) -> list[TaxRate]:
    if raw == []:
        faults.add(path, "must have at least one item")
    rates = parse_list(raw, path, _parse_rate, most=RATES_MAX, faults=faults)
    first_at: dict[tuple[object, ...], int] = {}
    if not len(faults):
        for index, rate in enumerate(rates):
            named = (rate.country, rate.region, rate.category, rate.valid_from)
            if first_at.setdefault(named, index) != index:
                faults.add(
                    f"{path}[{index}]", f"is for the same as {path}[{first_at[named]}] from the same day"
                )
    return rates


def _parse_rate(raw: object, path: str) -> TaxRate:
    faults = Faults("invalid_tax_table")
    fields = Fields(raw, path, faults)
    country = fields.required("country", parse_country)
    region = region_key(fields.optional("region", parse_text, None))
    category = fields.optional("category", parse_key, STANDARD)
    percent = fields.required("rate", _parse_percent)
    name = fields.optional("name", parse_text, "Tax")
    valid_from = fields.optional("from", parse_date, _EARLIEST)
    valid_until = fields.optional("until", parse_date, None)
    adds = fields.optional("adds", _parse_flag, False)
    fields.refuse_unknown()
    if valid_until is not None and valid_from is not None and valid_until <= valid_from:
        faults.add(fields.at("until"), "must be later than from")
    if adds and region is None:
        faults.add(fields.at("adds"), "is for a region: only its rate can come on top of the country's")
    faults.refuse()
    return TaxRate(country, region, category, percent, name, valid_from, valid_until, adds)


def _parse_percent(raw: object, path: str) -> Decimal:
    percent = Decimal(trimmed(parse_decimal(raw, path, code="invalid_tax_rate")))
    exponent = percent.as_tuple().exponent
    assert isinstance(exponent, int)
    if not 0 <= percent <= PERCENT_MAX or exponent < -PERCENT_SCALE_MAX:
        complaint = f"must be a percentage from 0 to {PERCENT_MAX} with at most {PERCENT_SCALE_MAX} decimals"
        raise InvalidInput.of("invalid_tax_rate", [Fault(path, complaint)])
    return percent


def _parse_flag(raw: object, path: str) -> bool:
    if isinstance(raw, bool):
        return raw
    return _FLAGS[parse_choice(raw, path, tuple(_FLAGS), code="invalid_tax_table")]


def _parse_tax_ids(raw: object, path: str) -> tuple[TaxId, ...]:
    faults = Faults("invalid_tax_facts")
    tax_ids = parse_list(raw, path, parse_tax_id, most=TAX_IDS_MAX, faults=faults)
    if len({tax_id.country for tax_id in tax_ids}) < len(tax_ids):
        faults.add(path, "must not have two of one country")
    faults.refuse()
    return tuple(tax_ids)


def _parse_exemption(raw: object, path: str) -> Exemption:
    faults = Faults("invalid_exemption")
    fields = Fields(raw, path, faults)
    reason = fields.required("reason", parse_text)
    countries = fields.optional("countries", _parse_countries, ())
    valid_from = fields.optional("from", parse_date, None)
    valid_until = fields.optional("until", parse_date, None)
    certificate = fields.optional("certificate", parse_text, None)
    fields.refuse_unknown()
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        faults.add(fields.at("until"), "must be later than from")
    faults.refuse()
    return Exemption(reason, countries, valid_from, valid_until, certificate)


def _parse_countries(raw: object, path: str) -> tuple[str, ...]:
    faults = Faults("invalid_exemption")
    countries = parse_list(raw, path, parse_country, most=COUNTRIES_MAX, faults=faults)
    faults.refuse()
    return tuple(sorted(set(countries)))
