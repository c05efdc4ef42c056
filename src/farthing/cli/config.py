"""`farthing config`: the table of settings."""

import os
import sys

from farthing.app import read_settings, settings_in_force, unknown_variables, without_password
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant
from farthing.cli.output import Column, print_json, print_table, printable

app = new_app()


@app.command(epilog="\b\nExample:\n  $ FARTHING_PORT=9000 farthing config")
def config(as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show the settings in force and where each one comes from, and check all of them."""
    flags = {"data_dir": None if data is None else str(data), "tenant": tenant}
    found = settings_in_force(os.environ, flags)
    if as_json:
        print_json(
            {
                "settings": [
                    {
                        "name": one.setting.name,
                        "value": without_password(one.text),
                        "source": one.source,
                        "variable": one.setting.variable,
                        "default": one.setting.default,
                        "meaning": one.setting.meaning,
                    }
                    for one in found
                ],
                "unknown_variables": unknown_variables(os.environ),
            }
        )
    else:
        rows = [
            [
                one.setting.variable,
                without_password(one.text),
                "" if one.source == one.setting.variable else one.source,
                one.setting.meaning,
            ]
            for one in found
        ]
        columns = [
            Column("Variable", whole=True),
            Column("Value"),
            Column("From", whole=True),
            Column("Meaning"),
        ]
        print_table(columns, rows)
        for name in unknown_variables(os.environ):
            print(f"warning: {printable(name)} is set and is no setting of Farthing", file=sys.stderr)
    read_settings(os.environ, flags)
