"""`farthing doctor`."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from farthing.app import App
from farthing.cli.commands import new_app
from farthing.cli.errors import EXIT_NO, EXIT_OK
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, plural, print_json, print_table, printable
from farthing.cli.progress import Bar, progress_bar
from farthing.db.checks import check_row_security
from farthing.db.tenants import list_tenants
from farthing.events.checks import (
    check_conservation,
    check_corrections,
    check_counted_once,
    check_files,
    check_sealed_log,
    check_waiting_log,
    cut_off,
    debris,
)
from farthing.events.ids.checks import check_index, check_segments_hold
from farthing.events.sealing.sealer import repair_index
from farthing.events.service import account
from farthing.invoicing.checks import (
    check_booked,
    check_carried,
    check_documents,
    check_numbers,
    check_sums,
    check_terms,
)
from farthing.invoicing.credit_notes.checks import check_credited
from farthing.invoicing.interim.checks import check_interims
from farthing.invoicing.service import book_past_invoices
from farthing.kernel.checked import Checked
from farthing.kernel.errors import Corrupt
from farthing.ledger.checks import check_balances, check_transfers_balance
from farthing.payments.checks import check_payments
from farthing.payments.credit_checks import check_credit
from farthing.usage.unclaimed import Unclaimed, unclaimed_usage
from farthing.wallets.checks import check_counters, check_overspent, check_prepaid
from farthing.wallets.holds.checks import check_holds

UNCLAIMED_SHOWN = 20

app = new_app()

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Check:
    """One check: what must hold, the tenant it is about where it is about one, and how to ask."""

    law: str
    tenant: str | None
    ask: Callable[[Progress], Checked]


@app.command(epilog="\b\nExample:\n  $ farthing doctor && echo all is well")
def doctor(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First make the id index anew where it is damaged (with no server running), and book what the "
            "ledger lacks.",
        ),
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Check the laws on live data and print what is off. Without --repair it changes nothing.

    Looks at every tenant, or at the one that --tenant names. A server may be running. A segment that is
    damaged can only be put back from a copy. Exit code 1: something is off.
    """
    with opened(data, tenant, make=False) as house:
        tenants = {
            row.tenant_id: row.key
            for row in list_tenants(house.books)
            if tenant is None or row.tenant_id == house.tenant_id
        }
        with progress_bar("doctor") as bar:
            repaired = _repaired(house, tenants, bar) if repair else []
            results = [(check, _asked(check, bar)) for check in _checks(house, tenants)]
            bar(0, None, "notes")
            notes, unclaimed = _notes(house, tenants)
            notes = repaired + notes
    well = not any(result.findings for _, result in results)
    if as_json:
        print_json(_document(results, notes, unclaimed, well=well))
    else:
        _print(results, notes, unclaimed, well=well)
    return EXIT_OK if well else EXIT_NO


def examine(house: App, bar: Bar) -> list[str]:
    """Ask every check of every tenant. Gives what is off."""
    tenants = {row.tenant_id: row.key for row in list_tenants(house.books)}
    return [
        f"{check.law}: {finding}"
        for check in _checks(house, tenants)
        for finding in _asked(check, bar).findings
    ]


def _checks(house: App, tenants: dict[int, str]) -> Iterator[_Check]:
    books, data_dir = house.books, house.settings.data_dir
    yield _Check("tenants are apart", None, lambda _: check_row_security(books))
    yield _Check(
        "what was sealed stands in the log",
        None,
        lambda told: check_sealed_log(books, house.log_dir, list(tenants), told),
    )
    yield _Check("what waits in the log is whole", None, lambda _: check_waiting_log(books, house.log_dir))
    for tenant_id, key in tenants.items():
        yield from _tenant_checks(house, tenant_id, key, data_dir)


def _tenant_checks(house: App, tenant_id: int, key: str, data_dir: Path) -> Iterator[_Check]:
    books = house.books
    yield _Check("every event is accounted for", key, lambda _: check_conservation(books, tenant_id))
    yield _Check(
        "files are as they were written", key, lambda told: check_files(books, data_dir, tenant_id, told)
    )
    yield _Check("every event counts once", key, lambda _: check_counted_once(books, house.store, tenant_id))
    yield _Check(
        "a repeat would be known", key, lambda told: check_index(books, house.store, tenant_id, told)
    )
    yield _Check(
        "segments hold what the books say",
        key,
        lambda told: check_segments_hold(books, house.store, tenant_id, told),
    )
    yield _Check("corrections are in effect", key, lambda _: check_corrections(books, house.store, tenant_id))
    yield _Check("lines sum to totals", key, lambda _: check_sums(books, tenant_id))
    yield _Check("no invoice number is missing", key, lambda _: check_numbers(books, tenant_id))
    yield _Check("coupons and commitments are kept to", key, lambda _: check_terms(books, tenant_id))
    yield _Check("what is carried forward is booked", key, lambda _: check_carried(books, tenant_id))
    yield _Check("interim invoices are taken off once", key, lambda _: check_interims(books, tenant_id))
    yield _Check("documents say what was issued", key, lambda told: check_documents(books, tenant_id, told))
    yield _Check("every transfer balances", key, lambda _: check_transfers_balance(books, tenant_id))
    yield _Check("balances are the sum of entries", key, lambda _: check_balances(books, tenant_id))
    yield _Check("no grant is overspent", key, lambda _: check_overspent(books, tenant_id))
    yield _Check("grants say what was drawn", key, lambda _: check_counters(books, tenant_id))
    yield _Check("prepaid is what is undrawn", key, lambda _: check_prepaid(books, tenant_id))
    yield _Check("authorisations hold what they say", key, lambda _: check_holds(books, tenant_id))
    yield _Check("every invoice is in the ledger", key, lambda told: check_booked(books, tenant_id, told))
    yield _Check(
        "no more is given back than billed, and booked", key, lambda _: check_credited(books, tenant_id)
    )
    yield _Check("payments are in the ledger as they stand", key, lambda _: check_payments(books, tenant_id))
    yield _Check("receivables are what is open less credit", key, lambda _: check_credit(books, tenant_id))


def _repaired(house: App, tenants: dict[int, str], bar: Bar) -> list[str]:
    """Make damaged id indexes anew, and book invoices of the time before the ledger.

    Where a damaged segment stands in the way, the checks will say so.
    """
    said = []
    for tenant_id, key in tenants.items():
        bar(0, None, f"the id index of {key}")
        with suppress(Corrupt):
            ids = repair_index(house.books, house.store, tenant_id, house.clock())
            if ids is not None:
                said.append(f"{key}: the id index was damaged and has been made anew: {plural(ids, 'id')}")
        if booked := book_past_invoices(house.books, tenant_id, house.clock()):
            said.append(f"{key}: {plural(booked, 'invoice')} of before were booked in the ledger")
    return said


def _asked(check: _Check, bar: Bar) -> Checked:
    """The answer of a check; damage that stands in the way of asking is a finding, too."""
    bar(0, None, check.law)
    try:
        return check.ask(lambda done, total: bar(done, total, check.law))
    except (duckdb.Error, Corrupt) as error:
        return Checked("", (f"cannot be checked: {str(error).splitlines()[0]}",))


def _notes(house: App, tenants: dict[int, str]) -> tuple[list[str], dict[str, tuple[int, list[Unclaimed]]]]:
    """What is worth knowing and breaks no law. Where damage hides it, the checks have said so."""
    notes = []
    unclaimed = {}
    for tenant_id, key in tenants.items():
        with suppress(duckdb.Error, Corrupt):
            unclaimed[key] = unclaimed_usage(house.books, house.store, tenant_id, UNCLAIMED_SHOWN)
            if waiting := account(house.books, house.log_dir, tenant_id).waiting:
                notes.append(f"{key}: {plural(waiting, 'event')} in the log wait to be sealed")
    notes += [
        f"{log_file} ends in {plural(size, 'byte')} of a write that was cut off and not acknowledged"
        for log_file, size in cut_off(house.books, house.log_dir).items()
    ]
    everybody = [row.tenant_id for row in list_tenants(house.books)]
    if left := debris(house.books, house.settings.data_dir, everybody, house.clock()):
        size = sum(path.stat().st_size for path in left if path.exists())
        notes.append(
            f"{plural(len(left), 'file')} ({size:,} bytes) that nothing needs; a running server removes them"
        )
    return notes, unclaimed


def _document(
    results: list[tuple[_Check, Checked]],
    notes: list[str],
    unclaimed: dict[str, tuple[int, list[Unclaimed]]],
    *,
    well: bool,
) -> dict[str, Any]:
    return {
        "ok": well,
        "checks": [
            {
                "law": check.law,
                "tenant": check.tenant,
                "looked_at": result.looked_at,
                "ok": not result.findings,
                "findings": list(result.findings),
            }
            for check, result in results
        ],
        "notes": notes,
        "unclaimed": [
            {
                "tenant": tenant,
                "events": events,
                "groups": [
                    {
                        "type": group.event_type,
                        "subject": group.subject,
                        "events": group.events,
                        "without_customer": group.without_customer,
                        "without_meter": group.without_meter,
                    }
                    for group in groups
                ],
            }
            for tenant, (events, groups) in unclaimed.items()
        ],
    }


def _print(
    results: list[tuple[_Check, Checked]],
    notes: list[str],
    unclaimed: dict[str, tuple[int, list[Unclaimed]]],
    *,
    well: bool,
) -> None:
    several = len({check.tenant for check, _ in results if check.tenant}) > 1
    rows = [
        [
            check.law,
            *([check.tenant or ""] if several else []),
            result.looked_at,
            "ok" if not result.findings else "OFF",
        ]
        for check, result in results
    ]
    tenant = [Column("Tenant")] if several else []
    print_table([Column("Law"), *tenant, Column("Looked at", "right"), Column("")], rows)
    for check, result in results:
        for finding in result.findings:
            where = f"{check.tenant}: " if several and check.tenant else ""
            print(f"OFF: {check.law}: {where}{printable(finding)}")
    for note in notes:
        print(f"Note: {printable(note)}")
    for key, (events, groups) in unclaimed.items():
        if events:
            print(
                f"\nUnclaimed usage of {printable(key)}: {plural(events, 'event')} that nobody is billed for"
            )
            print_table(
                [Column("Type"), Column("Subject"), Column("Events", "right"), Column("Lacks")],
                [
                    [group.event_type, group.subject or "-", number(group.events), _lacks(group)]
                    for group in groups
                ],
            )
    found = sum(len(result.findings) for _, result in results)
    print("\nAll is well." if well else f"\n{plural(found, 'thing is', 'things are')} off.")


def _lacks(group: Unclaimed) -> str:
    return " and ".join(
        what
        for what, lacking in (("a customer", group.without_customer), ("a meter", group.without_meter))
        if lacking
    )
