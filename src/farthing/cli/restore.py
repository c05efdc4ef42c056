"""`farthing restore`."""

from pathlib import Path
from typing import Annotated

import typer

from farthing.app import open_app, wall_clock
from farthing.cli.commands import new_app
from farthing.cli.customers import seal
from farthing.cli.doctor import examine
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, NoTenant, say, settings_from
from farthing.cli.output import plural, print_json, printable
from farthing.cli.progress import progress_bar
from farthing.db.tenants import list_tenants
from farthing.keeping.erasing.restored import read_erasures
from farthing.keeping.erasing.service import carry_on
from farthing.keeping.model import Manifest
from farthing.keeping.restore import check_backup
from farthing.keeping.restore import restore as bring_back
from farthing.kernel.instant import format_instant

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing restore /mnt/backups --data /srv/farthing-again      the newest of the backups there
  $ farthing restore /mnt/backups/20261130T020000Z --data /srv/farthing-again
  $ farthing restore /mnt/backups --check

With FARTHING_DATABASE_URL the books go into that database, which must be empty."""


@app.command(epilog=_EXAMPLE)
def restore(
    backup: Annotated[Path, typer.Argument(metavar="DIR", help="A backup, or where backups are kept.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only read all of it and compare it with what was written.")
    ] = False,
    erasures: Annotated[
        Path | None,
        typer.Option(
            "--erasures",
            metavar="FILE",
            help="Customers to erase again: what `farthing customers erasures --json` printed.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    _tenant: NoTenant = None,
) -> int:
    """Bring a backup back as a new data directory, and check the laws on it as `farthing doctor` does.

    The data directory must not be there, or be empty. A backup that is incomplete or damaged is refused.
    Customers that were erased since are erased again, as far as newer backups in DIR or --erasures tell.
    Exit code 1: it is back as it was, and something was off already.
    """
    if check:
        with progress_bar("check", "bytes") as bar:
            found, manifest = check_backup(backup, bar)
        _print(found, manifest, "is what was written", as_json, None)
        return EXIT_OK
    settings = settings_from(data, None)
    with progress_bar("restore", "bytes") as bar:
        found, manifest = bring_back(
            backup,
            settings.data_dir,
            settings.database_url,
            wall_clock(),
            bar,
            say,
            [] if erasures is None else read_erasures(erasures.read_bytes()),
        )
    with open_app(settings, wall_clock, make=False, on_wait=say) as house, progress_bar("doctor") as bar:
        for tenant in list_tenants(house.books):
            carry_on(house.books, house.store, tenant.tenant_id, lambda: seal(house), house.clock)
        findings = examine(house, bar)
    _print(found, manifest, f"is back in {settings.data_dir}", as_json, findings)
    return EXIT_NO if findings else EXIT_OK


def _print(backup: Path, manifest: Manifest, what: str, as_json: bool, findings: list[str] | None) -> None:
    if as_json:
        print_json(
            {
                "backup": str(backup),
                "taken_at": format_instant(manifest.taken_at),
                "tenants": manifest.tenants,
                "events": manifest.events,
                "rows": manifest.rows,
                "restored": findings is not None,
                "findings": findings or [],
            }
        )
        return
    print(
        f"{printable(str(backup))} {printable(what)}: {plural(manifest.events, 'event')} and "
        f"{plural(manifest.rows, 'row')} of {plural(manifest.tenants, 'tenant')}, "
        f"as of {format_instant(manifest.taken_at)}."
    )
    if findings is not None:
        for finding in findings:
            print(f"OFF: {printable(finding)}")
        print("All is well." if not findings else f"{plural(len(findings), 'thing is', 'things are')} off.")
