"""The engine as a process of the server: it seals the event log, and does all that Farthing does by itself."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from farthing.api.process import Orders, Ready, stop_signal
from farthing.app import (
    HAND_OVER_SECONDS,
    Settings,
    open_sealing_store,
    open_store,
    read_settings,
    wall_clock,
)
from farthing.db import Books, open_books
from farthing.db.tenants import list_tenants
from farthing.events.engine import run_engine, seal_what_waits
from farthing.events.log.files import LogWriter
from farthing.events.sealing.memory import keep_freed_memory
from farthing.events.store.duckdb import EventStore
from farthing.finance.service import recognise_revenue
from farthing.invoicing.accrued.service import charge_accrued
from farthing.invoicing.accruing import accrue
from farthing.invoicing.drafts.service import bill_by_itself
from farthing.invoicing.late.correcting import keep_corrected
from farthing.keeping.erasing.service import carry_on
from farthing.keeping.service import remove_expired
from farthing.kernel.errors import Corrupt
from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id
from farthing.payments.collecting.service import collect
from farthing.payments.gateways.setup import GatewaysInUse, open_gateways
from farthing.payments.paying_out.service import sync_all
from farthing.wallets.holds.upkeep import append_again, expire_holds
from farthing.wallets.upkeep import keep_up
from farthing.workflows.duties import Duty, begin_duties

RETENTION_SECONDS = 3600
"""How often it is looked for events that are older than they are kept."""
ERASE_SECONDS = 10
"""How often erasures that are under way are carried on."""
SEAL_WAIT_SECONDS = 60
"""How long a duty waits for what stands in the log to be sealed."""
CHARGE_EVERY_SECONDS = 3.0
"""How often the engine looks whether accrued spend is to be charged."""
BILL_EVERY_SECONDS = 300
"""How often the engine looks for invoices whose grace is over."""
ENGINE_CONNECTIONS = 24
"""Connections that the engine opens at most: sealing has one or two, and so has each duty."""
CORRECT_EVERY_SECONDS = 300
"""How often what late corrections take off issued invoices is given back, for tenants who want that at once."""
COLLECT_SECONDS = 30
"""How often due invoices are charged and calls that nobody answered are asked about."""
PAYOUTS_SECONDS = 3600
"""How often gateways are asked what they paid out."""


def run_engine_process(orders: Orders, ready: Ready) -> int:
    """The engine as a process of the server: seals the event log and does its duties until it is told to stop.

    What the supervisor's flags may have said is in the orders; the rest it reads as the supervisor did.
    """
    keep_freed_memory()
    stop = stop_signal()
    ordered = orders.settings
    flags = {"data_dir": str(ordered.data_dir), "database_url": ordered.database_url}
    settings = read_settings(os.environ, flags)
    sys.setswitchinterval(HAND_OVER_SECONDS)
    with open_books(
        settings.data_dir, settings.database_url, now=wall_clock(), pool_size=ENGINE_CONNECTIONS
    ) as books:
        sealing = open_sealing_store(settings, books)
        store = open_store(settings, books, threads=settings.threads)

        def tenant_ids() -> list[int]:
            return [tenant.tenant_id for tenant in list_tenants(books)]

        by_itself = begin_duties(duties(settings, books, store), tenant_ids, wall_clock, stop)
        try:
            ready()
            run_engine(
                books, sealing, settings.lateness, stop, wall_clock, tenant_ids, settings.keep_log_seconds
            )
        except (Corrupt, OSError):  # it has said what; the supervisor sees the code and tries again
            return 1
        finally:
            stop.set()
            for thread in by_itself:
                thread.join()
            store.close()
            sealing.close()
    return 0


def duties(settings: Settings, books: Books, store: EventStore) -> list[Duty]:
    """What the engine does by itself beside sealing."""

    def append(tenant_id: int, now: datetime) -> None:
        append_again(books, tenant_id, now, lambda: open_own_log(settings.data_dir, now))

    def seal() -> None:
        seal_what_waits(books, store, settings.lateness, wall_clock, SEAL_WAIT_SECONDS)

    gateways = GatewaysInUse(books, open_gateways(settings.gateways, wall_clock))
    return [
        Duty("wallets", 15, lambda tenant, now: keep_up(books, tenant, now)),
        Duty("accruals", 30, lambda tenant, now: accrue(books, store, tenant, now)),
        Duty(
            "billing",
            BILL_EVERY_SECONDS,
            lambda tenant, now: bill_by_itself(books, store, tenant, now),
        ),
        Duty("revenue recognition", 3600, lambda tenant, now: recognise_revenue(books, tenant, now, now)),
        Duty("retention", RETENTION_SECONDS, lambda tenant, now: remove_expired(books, store, tenant, now)),
        Duty("erasures", ERASE_SECONDS, lambda tenant, _: carry_on(books, store, tenant, seal, wall_clock)),
        Duty("authorisations that expire", 1, lambda tenant, now: expire_holds(books, tenant, now)),
        Duty("settled events that are not counted", 5, append),
        Duty(
            "charging what has accrued",
            CHARGE_EVERY_SECONDS,
            lambda tenant, now: charge_accrued(books, store, tenant, now),
        ),
        Duty(
            "corrections given back at once",
            CORRECT_EVERY_SECONDS,
            lambda tenant, now: keep_corrected(books, store, tenant, now),
        ),
        Duty(
            "collect", COLLECT_SECONDS, lambda tenant, now: collect(books, tenant, gateways.of(tenant), now)
        ),
        Duty(
            "payouts", PAYOUTS_SECONDS, lambda tenant, now: sync_all(books, tenant, gateways.of(tenant), now)
        ),
    ]


@contextmanager
def open_own_log(data_dir: Path, now: datetime) -> Iterator[LogWriter]:
    """A writer of the event log with files of its own, for what the engine itself puts into it."""

    # Never used before: the books remember log files by name for good.
    name = time_ordered_id("engine", int(now.timestamp() * 1000), os.urandom(ENTROPY_BYTES))
    log = LogWriter(data_dir / "log", name)
    try:
        yield log
    finally:
        log.close()
