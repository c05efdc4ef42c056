"""`farthing backup`."""

from pathlib import Path
from typing import Annotated

import typer

from farthing import __version__
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_OK
from farthing.cli.options import AsJson, Data, NoTenant, opened
from farthing.cli.output import number, plural, print_json, printable
from farthing.cli.progress import progress_bar
from farthing.keeping.backup import take_backup
from farthing.keeping.model import BackupReport
from farthing.kernel.instant import format_instant

app = new_app()

_EXAMPLE = """\b
Examples:
  $ farthing backup /mnt/backups
  $ farthing restore /mnt/backups --check     read the newest again, all of it
  $ farthing restore /mnt/backups --data /srv/farthing-again

Each backup is a directory of its own, named by its time (UTC), and complete as it is; files that
never change are shared with the one before it as hard links. Remove old ones with rm -r."""


@app.command(epilog=_EXAMPLE)
def backup(
    place: Annotated[Path, typer.Argument(metavar="DIR", help="Where backups are kept.")],
    as_json: AsJson = False,
    data: Data = None,
    _tenant: NoTenant = None,
) -> int:
    """Copy everything, of every tenant, into a new directory in DIR: books, log, segments, id index, secrets.

    A server may be running, and events may come in. What was acknowledged before is in it.
    """
    with opened(data, None, make=False) as house, progress_bar("backup", "bytes") as bar:
        report = take_backup(house.books, house.settings.data_dir, place, __version__, house.clock(), bar)
    if as_json:
        print_json(_document(report))
        return EXIT_OK
    manifest = report.manifest
    print(
        f"{printable(str(report.path))}: {plural(manifest.events, 'event')} and {plural(manifest.rows, 'row')} "
        f"of {plural(manifest.tenants, 'tenant')},"
    )
    print(
        f"{number(manifest.size_bytes)} bytes in {plural(len(manifest.files) + len(manifest.tables), 'file')}, "
        f"{number(report.linked_bytes)} of them shared with the backup before."
    )
    return EXIT_OK


def _document(report: BackupReport) -> dict[str, object]:
    manifest = report.manifest
    return {
        "backup": str(report.path),
        "taken_at": format_instant(manifest.taken_at),
        "tenants": manifest.tenants,
        "events": manifest.events,
        "rows": manifest.rows,
        "files": len(manifest.files) + len(manifest.tables),
        "size_bytes": manifest.size_bytes,
        "linked_bytes": report.linked_bytes,
    }
