"""`farthing customers`: erasing one, and what was erased. `farthing apply` makes and changes them."""

import sys
from typing import Annotated

import msgspec
import typer

from farthing.app import App
from farthing.cli.bill import SEAL_WAIT_SECONDS
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, Tenant, opened, say
from farthing.cli.output import Column, moment, print_facts, print_json, print_table
from farthing.events.engine import seal_what_waits
from farthing.keeping.erasing.model import Erasure, Stage, erasure_json
from farthing.keeping.erasing.service import (
    carry_on,
    get_erasure,
    kept_erasures,
    list_erasures,
    request_erasure,
)
from farthing.kernel.errors import InvalidInput

LIMIT_MAX = 10_000

app = new_app(help="Customers: erase one's personal data; erasures: how far they came.", no_args_is_help=True)

_NEXT = {
    Stage.EVENTS: "its events are being replaced",
    Stage.BOOKS: "its rows are being replaced",
    Stage.CLEANING: "files that were replaced are waited for: a server removes them after an hour",
    Stage.DOCUMENTS_KEPT: "all but its issued documents is erased; those are kept as long as the law wants them",
    Stage.COMPLETE: "complete",
}

_EXAMPLE = """\b
Examples:
  $ farthing customers erase acme
  $ farthing customers erase acme --documents --yes      its invoices' buyer as well, at once

Usage, amounts, invoice numbers, the ledger and taxes stay to the last digit. A server may be running: it
carries on what takes time. Remove backups from before (docs/operations/erasing.md)."""


@app.command(epilog=_EXAMPLE)
def erase(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The customer's key.")],
    documents: Annotated[
        bool,
        typer.Option(
            "--documents",
            help="Its issued documents at once as well, not ten years after the last one's year.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Replace everything that identifies a customer by a pseudonym. It cannot be undone.

    Its subscriptions must have ended and be billed, its payments be settled. Events that come for it
    later do not count. Asked for again, it goes on where it was. With --json nothing is done without --yes.
    """
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise InvalidInput("not_confirmed", "erasing cannot be undone: say --yes", path="--yes")
        if not typer.confirm(f"Erase {key} for good?", default=False):
            return EXIT_NO
    with opened(data, tenant, make=False) as house:
        seal(house)  # What was accepted before counts.
        erasure, _ = request_erasure(
            house.books, house.store, house.tenant_id, key, house.clock(), documents=documents
        )
        say("erasing")
        _carry_on(house)
        erasure = get_erasure(house.books, house.tenant_id, erasure.erasure_id)
    if as_json:
        print_json(erasure_json(erasure))
    else:
        _print(erasure)
    return EXIT_OK


@app.command(epilog="\b\nExample:\n  $ farthing customers erasures")
def erasures(
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List erasures and how far they came, in the order in which they were asked for. They name nobody.

    With --json it is the list that `farthing restore --erasures` takes: keep it beside old backups.
    """
    with opened(data, tenant, make=False) as house:
        _carry_on(house)
        found = list_erasures(house.books, house.tenant_id, 0, limit)
        kept = {one.pseudonym: one for one in kept_erasures(house.books, house.tenant_id)}
    if as_json:
        said = [erasure_json(one) | msgspec.to_builtins(kept[one.pseudonym]) for one in found]
        print_json({"erasures": said})
        return
    print_table(
        [
            Column("Erasure", "right"),
            Column("Pseudonym", whole=True),
            Column("Since", whole=True),
            Column("Stage"),
        ],
        [[str(one.erasure_id), one.pseudonym, moment(one.requested_at), one.stage().value] for one in found],
    )


def seal(house: App) -> None:
    """Have everything sealed that stands in the log."""
    seal_what_waits(house.books, house.store, house.settings.lateness, house.clock, SEAL_WAIT_SECONDS)


def _carry_on(house: App) -> None:
    carry_on(house.books, house.store, house.tenant_id, lambda: seal(house), house.clock)


def _print(erasure: Erasure) -> None:
    print_facts(
        {
            "Erasure": str(erasure.erasure_id),
            "Pseudonym": erasure.pseudonym,
            "Stage": _NEXT[erasure.stage()],
            "Documents": "erased" if erasure.documents_at else f"kept until {moment(erasure.documents_from)}",
        }
    )
