"""`farthing tenants`: whose books these are, and who their invoices come from."""

from typing import Annotated

import typer

from farthing.app import wall_clock
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, plural, print_facts, print_json, print_table
from farthing.db.tenants import Tenant as TenantRow
from farthing.db.tenants import create_tenant, list_tenants
from farthing.kernel.errors import InvalidInput
from farthing.kernel.instant import format_instant

app = new_app(
    help="Tenants: sellers who bill with this installation. One, `default`, is always there.",
    no_args_is_help=True,
)


@app.command(epilog='\b\nExample:\n  $ farthing tenants create acme --name "Acme Inc."')
def create(
    key: Annotated[str, typer.Argument(metavar="KEY", help="What commands and settings call it, for ever.")],
    name: Annotated[str | None, typer.Option(help="Its name; the key if left out.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Create a tenant."""
    with opened(data, tenant) as house:
        tenant_id = create_tenant(house.books, key, name or key, wall_clock())
        (made,) = [row for row in list_tenants(house.books) if row.tenant_id == tenant_id]
    if as_json:
        print_json(_document(made))
    else:
        print(f"Created the tenant {made.key}. Use it with --tenant {made.key} or FARTHING_TENANT.")


@app.command("list", epilog="\b\nExample:\n  $ farthing tenants list")
def list_all(as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """List the tenants, oldest first."""
    with opened(data, tenant, make=False) as house:
        found = list_tenants(house.books)
    if as_json:
        print_json({"tenants": [_document(row) for row in found]})
        return
    print_table(
        [Column("Tenant"), Column("Name"), Column("Since", whole=True)],
        [[row.key, row.name, moment(row.created_at)] for row in found],
    )


_SELLER_EXAMPLE = """\b
Example:
  $ farthing tenants seller seller.yaml

\b
The file, YAML or JSON; only the name is required:
  name: Northwind AI GmbH
  address: {line1: Torstr. 33, postcode: "10119", city: Berlin, country: DE}
  email: accounts@northwind.example
  website: northwind.example
  tax_id: VAT DE 123 456 789
  note: Please pay to IBAN DE00 0000 0000 0000 0000 00
  paper: a4                   # or us-letter
  logo_svg: <svg ...>         # or logo_png, in base64"""


@app.command(epilog=_SELLER_EXAMPLE)
def seller(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="What to say from now on; - for standard input.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say who invoices come from, or show it: name, address, tax id, logo.

    Issued invoices keep what they say; only logo and paper of their PDF follow.
    """
    from farthing.cli.documents import read_document
    from farthing.invoicing.service import get_seller, put_seller

    raw = None if file is None else read_document(file)
    with opened(data, tenant, make=False) as house:
        if file is None:
            said = get_seller(house.books, house.tenant_id)
        else:
            said = put_seller(house.books, house.tenant_id, raw)
    if as_json:
        print_json(said)
        return
    address = ", ".join(said.get("address", {}).values())
    shown = {name: value for name, value in said.items() if not name.startswith("logo")}
    shown |= {"address": address} if address else {}
    print_facts({name.replace("_", " ").capitalize(): str(value) for name, value in shown.items()})
    if len(shown) < len(said):
        print("With a logo.")


@app.command(epilog="\b\nExample:\n  $ farthing tenants keep --days 400 --tenant acme")
def keep(
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", help="Remove events so many days after their time.")
    ] = None,
    for_ever: Annotated[bool, typer.Option("--for-ever", help="Remove none any more.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Remove what is due at once, as a server does hourly.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say for how long a tenant's events are kept, or show it and what is old enough.

    Removed are segments whose every event is older, and on an invoice where it is to be billed. Their ids
    stay, so that a repeat still counts once. It cannot be undone.
    """
    from farthing.keeping.service import keep_days, remove_expired, set_keep_days

    if days is not None and for_ever:
        raise InvalidInput("invalid_usage", "say --days or --for-ever, not both")
    with opened(data, tenant, make=False) as house:
        if days is not None or for_ever:
            set_keep_days(house.books, house.tenant_id, days, wall_clock())
        kept = keep_days(house.books, house.tenant_id)
        found = remove_expired(house.books, house.store, house.tenant_id, wall_clock(), pretend=not now)
    if as_json:
        print_json(
            {
                "keep_days": kept,
                "removed": now,
                "segments": found.segments,
                "events": found.events,
                "unbilled_segments": found.unbilled_segments,
            }
        )
        return
    print("Events are kept for ever." if kept is None else f"Events are kept for {plural(kept, 'day')}.")
    if kept is not None:
        what = "Removed" if now else "Old enough and billed"
        print(f"{what}: {plural(found.events, 'event')} in {plural(found.segments, 'segment')}.")
    if found.unbilled_segments:
        print(
            f"Old enough, and with events to be billed still: {plural(found.unbilled_segments, 'segment')}."
        )


def _document(row: TenantRow) -> dict[str, str]:
    return {"key": row.key, "name": row.name, "created_at": format_instant(row.created_at)}
