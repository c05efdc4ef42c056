"""`farthing tenants`: whose books these are."""

from typing import Annotated

import typer

from farthing.app import wall_clock
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, print_json, print_table
from farthing.db.tenants import Tenant as TenantRow
from farthing.db.tenants import create_tenant, list_tenants
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


def _document(row: TenantRow) -> dict[str, str]:
    return {"key": row.key, "name": row.name, "created_at": format_instant(row.created_at)}
