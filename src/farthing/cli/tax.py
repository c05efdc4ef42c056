"""`farthing tax`."""

from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.documents import read_bytes, read_document
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, plural, print_facts, print_json, print_table, printable
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import parse_date
from farthing.tax.content import facts_json, rate_json, rows_of_csv, treatment_json
from farthing.tax.model import STANDARD, TaxRate
from farthing.tax.service import get_facts, import_rates, list_rates, put_facts, treatment_now

LIMIT_MAX = 100

app = new_app(help="Tax: the table of rates, tax ids and exemptions of customers.", no_args_is_help=True)

Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The key of the customer.")]

_IMPORT = """\b
Example:
  $ farthing tax import rates.csv

\b
A CSV with a header, or YAML or JSON with a list `rates` of the same fields:
  country,region,category,rate,name,from,until,adds
  DE,,standard,19,VAT,2021-01-01,,
  DE,,reduced,7,VAT,2021-01-01,,
  CA,,standard,5,GST,2008-01-01,,
  CA,QC,standard,9.975,QST,2013-01-01,,yes     # on top of the country's

\b
Load the rates of the places where you collect tax; elsewhere none is collected."""


@app.command("import", epilog=_IMPORT)
def load(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, YAML or JSON; - for YAML on standard input.")
    ],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Load a table of tax rates, all of it or nothing. Loading it again changes nothing.

    Invoices that are issued from now on bear it; issued ones stay as they are.
    """
    raw: object = rows_of_csv(read_bytes(file)) if file.lower().endswith(".csv") else read_document(file)
    with opened(data, tenant) as house:
        changed, unchanged = import_rates(house.books, house.tenant_id, raw, house.clock())
    if as_json:
        print_json({"changed": changed, "unchanged": unchanged})
    else:
        print(f"{plural(changed, 'rate')} loaded, {number(unchanged)} stood already.")


@app.command(epilog="\b\nExample:\n  $ farthing tax rates --country DE --on 2026-11-30")
def rates(
    country: Annotated[str | None, typer.Option(metavar="CC", help="Only this country's.")] = None,
    on: Annotated[str | None, typer.Option(metavar="DAY", help="Only what holds on that day.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Begin behind so many.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List the table of tax rates."""
    day = None if on is None else parse_date(on, "--on")
    with opened(data, tenant, make=False) as house:
        found = list_rates(house.books, house.tenant_id, after, limit + 1, country=country, day=day)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"rates": [rate_json(rate) for _, rate in page], "more": more})
        return
    if not page:
        print("There are no such tax rates.")
        return
    columns = [Column("Country"), Column("Region"), Column("Category"), Column("Rate", "right")]
    columns += [Column("Name"), Column("From", whole=True), Column("Until", whole=True)]
    print_table(columns, [_row(rate) for _, rate in page])
    if more:
        print(f"There are more: --after {page[-1][0]}")


_CUSTOMER = """\b
Examples:
  $ farthing tax customer acme --tax-id DE:DE136695976
  $ farthing tax customer acme --exempt "Charity" --certificate 4711
  $ farthing tax customer acme"""


@app.command(epilog=_CUSTOMER)
def customer(
    key: Customer,
    tax_id: Annotated[
        list[str] | None, typer.Option(metavar="CC:NUMBER", help="Country and number; may be repeated.")
    ] = None,
    exempt: Annotated[str | None, typer.Option(metavar="REASON", help="It bears no tax.")] = None,
    country: Annotated[
        list[str] | None, typer.Option(metavar="CC", help="Exempt only there; may be repeated.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Exempt before that day only.")] = None,
    certificate: Annotated[str | None, typer.Option(metavar="TEXT", help="That proves it.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget tax ids and exemption.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what is known of a customer for tax, in place of what was; or show it."""
    said: dict[str, Any] = {}
    if tax_id:
        said["tax_ids"] = [_tax_id(text) for text in tax_id]
    if exempt is not None:
        fields = {"reason": exempt, "countries": country, "until": until, "certificate": certificate}
        said["exemption"] = {name: value for name, value in fields.items() if value}
    elif country or until or certificate:
        raise InvalidInput(
            "invalid_options", "--country, --until and --certificate go with --exempt", path="--exempt"
        )
    with opened(data, tenant, make=False) as house:
        if said or clear:
            facts = put_facts(house.books, house.tenant_id, key, said, house.clock())[0]
        else:
            facts = get_facts(house.books, house.tenant_id, key)
    document = facts_json(facts)
    if as_json:
        print_json(document)
        return
    exemption = facts.exemption
    shown = {one.country: one.number + ("" if one.checked else " (not checked)") for one in facts.tax_ids}
    print_facts(
        {"Customer": key}
        | {f"Tax id {country}": number_ for country, number_ in shown.items()}
        | ({} if exemption is None else {"Exempt": _exemption(document["exemption"])})
    )


@app.command(epilog="\b\nExample:\n  $ farthing tax explain acme --category reduced")
def explain(
    key: Customer,
    category: Annotated[str, typer.Option(metavar="CATEGORY", help="Of the rate card.")] = STANDARD,
    on: Annotated[str | None, typer.Option(metavar="DAY", help="Today if left out.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what a supply to a customer bears, by the code that issues invoices."""
    from farthing.invoicing.service import get_seller

    day = None if on is None else parse_date(on, "--on")
    with opened(data, tenant, make=False) as house:
        seller = get_seller(house.books, house.tenant_id)
        said = treatment_json(
            treatment_now(house.books, house.tenant_id, key, category, day or house.clock().date(), seller)
        )
    if as_json:
        print_json(said)
        return
    taxes = ", ".join(f"{tax['name']} {number(tax['rate'])} %" for tax in said["taxes"])
    print_facts(
        {
            "Treatment": f"{said['treatment'].replace('_', ' ')} ({said['code']})",
            "Place": said["country"] or "not known",
            "Taxes": taxes,
        }
        | ({"Note": said["note"]} if said["note"] else {})
    )


def _tax_id(text: str) -> dict[str, str]:
    country, colon, number_ = text.partition(":")
    if not colon:
        raise InvalidInput(
            "invalid_tax_id", f"{printable(text[:40])} must be like DE:DE136695976", path="--tax-id"
        )
    return {"country": country.strip().upper(), "number": number_.strip()}


def _exemption(said: dict[str, Any]) -> str:
    text = str(said["reason"])
    if "countries" in said:
        text += f", in {', '.join(said['countries'])}"
    if "until" in said:
        text += f", until {said['until']}"
    return text + (f", certificate {said['certificate']}" if "certificate" in said else "")


def _row(rate: TaxRate) -> list[str]:
    percent = ("+ " if rate.adds else "") + number(rate.percent)
    until = "-" if rate.valid_until is None else rate.valid_until.isoformat()
    return [
        rate.country,
        rate.region or "-",
        rate.category,
        percent,
        rate.name,
        rate.valid_from.isoformat(),
        until,
    ]
