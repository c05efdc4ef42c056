"""`farthing keys`: API keys."""

from collections.abc import Iterator
from typing import Annotated

import typer

from farthing.api.keys import create_key, list_keys, revoke_key
from farthing.api.store import ApiKey
from farthing.app import App, wall_clock
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, print_json, print_table
from farthing.db.secret import load_secret
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import parse_text

PAGE = 1000

app = new_app(help="API keys: with one, a program acts for the tenant.", no_args_is_help=True)


@app.command(epilog="\b\nExample:\n  $ farthing keys create --name gateway\n  fk_...")
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Make a key and print it: this is the only time that it can be read."""
    parse_text(name, "--name")
    with opened(data, tenant) as house:
        pepper = load_secret(house.settings.data_dir)
        text = create_key(house.books, pepper, house.tenant_id, name, wall_clock())
    if as_json:
        print_json({"key": text, "name": name})
    else:
        print(text)


@app.command("list", epilog="\b\nExample:\n  $ farthing keys list")
def list_all(as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """List the keys, revoked ones included. The keys themselves cannot be read again."""
    with opened(data, tenant, make=False) as house:
        found = list(_all_keys(house))
    if as_json:
        print_json({"keys": [_document(key) for key in found]})
        return
    rows = [
        [key.api_key_id, key.name, moment(key.created_at), moment(key.revoked_at) if key.revoked_at else ""]
        for key in found
    ]
    print_table(
        [
            Column("Id", whole=True),
            Column("Name"),
            Column("Created", whole=True),
            Column("Revoked", whole=True),
        ],
        rows,
    )


@app.command(epilog="\b\nExample:\n  $ farthing keys revoke 3vx8k2m9q1w7z5t4")
def revoke(
    api_key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id, as `farthing keys list` shows it.")
    ],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Refuse a key from now on, everywhere, after at most a second."""
    with opened(data, tenant, make=False) as house:
        revoked = revoke_key(house.books, house.tenant_id, api_key_id, wall_clock())
    if as_json:
        print_json(_document(revoked))
    else:
        print(f"The key {revoked.api_key_id} ({revoked.name}) is revoked.")


def _all_keys(house: App) -> Iterator[ApiKey]:
    after = ""
    while page := list_keys(house.books, house.tenant_id, after, PAGE):
        yield from page
        after = page[-1].api_key_id


def _document(key: ApiKey) -> dict[str, str | None]:
    return {
        "api_key_id": key.api_key_id,
        "name": key.name,
        "created_at": format_instant(key.created_at),
        "revoked_at": format_instant(key.revoked_at) if key.revoked_at else None,
    }
