"""The composition root: settings are read here and nowhere else, and the rooms are put together here.

    settings = read_settings(os.environ, {"data_dir": "/srv/farthing"})
    with open_app(settings, now) as app:
        list_invoices(app.books, app.tenant_id, ...)

A setting comes from its flag, else from its environment variable, else from its default. All of
them are checked at once, so that one look is enough to put them right.
"""

import gc
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farthing.kernel.errors import Corrupt, Fault, InvalidInput, NotFound
from farthing.kernel.reading import Faults, shown

if TYPE_CHECKING:
    # What these bring with them takes longer to import than many a command takes to run.
    from farthing.api.process import Orders, Ready, ServerSettings
    from farthing.db import Books, OnWait
    from farthing.events.log.files import LogWriter
    from farthing.events.store.duckdb import EventStore, Lateness
    from farthing.payments.bank.creditor import Creditor
    from farthing.payments.gateway import Gateway
    from farthing.payments.gateways.setup import GatewaysInUse
    from farthing.workflows.duties import Duty

SECONDS_MAX = 100 * 366 * 86_400
PREFIX = "FARTHING_"
ROOT_DATA_DIR = "/var/lib/farthing/default"
USER_DATA_DIR = "~/.farthing"
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
COLLECT_AFTER = (20_000, 20, 20)
"""Garbage collection, less often than Python's default: what a billing run makes it keeps, next to none in cycles."""
HAND_OVER_SECONDS = 0.0005
"""How long a thread that has its answer from a database waits for one that computes, at most. Python's default is ten
times that: of a billing run, a tenth of its time."""
ENGINE_ENTRY = "farthing.app:run_engine_process"

_MEMORY = re.compile(r"\d{1,6}(\.\d{1,3})? ?[KMGT]i?B", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@|(?<=[?&]password=)[^&\s]*", re.IGNORECASE)
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, read and checked. `SETTINGS` says what each one means."""

    data_dir: Path
    database_url: str | None
    tenant: str
    host: str
    port: int
    workers: int
    drain_seconds: int
    log_level: str
    threads: int
    memory_limit: str
    too_late_seconds: int
    too_early_seconds: int
    keep_log_seconds: int
    gateways: Path | None

    @property
    def lateness(self) -> "Lateness":
        """How far an event's time may lie from its receipt."""
        from farthing.events.store.duckdb import Lateness

        return Lateness(self.too_late_seconds, self.too_early_seconds)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings. `default` is text, as an environment variable would be."""

    name: str
    variable: str
    default: str
    meaning: str
    parse: Callable[[str, str], Any]


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting, the text it was read from, and where that came from: a flag, a variable or the default."""

    setting: Setting
    text: str
    source: str


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def parse(text: str, path: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most:
            return int(text)
        raise _fault(path, f"must be a whole number from {least} to {most}, not {shown(text)}")

    return parse


def _data_dir(text: str, path: str) -> Path:
    directory = Path(os.path.abspath(os.path.expanduser(text)))
    if directory.exists() and not directory.is_dir():
        raise _fault(path, f"{shown(text)} is not a directory")
    return directory


def _file(text: str, path: str) -> Path | None:
    if not text:
        return None
    file = Path(os.path.abspath(os.path.expanduser(text)))
    if not file.is_file():
        raise _fault(path, f"there is no file {shown(text)}")
    return file


def _database_url(text: str, path: str) -> str | None:
    if not text or text.startswith(("postgresql://", "postgres://")):
        return text or None
    raise _fault(path, "must begin with postgresql://")


def _name(text: str, path: str) -> str:
    if 1 <= len(text) <= 256 and text.isprintable() and text == text.strip():
        return text
    raise _fault(path, f"{shown(text)} is not a name of 1 to 256 characters")


def _memory(text: str, path: str) -> str:
    if _MEMORY.fullmatch(text):
        return text
    raise _fault(path, f"must be an amount of memory like 2GB, not {shown(text)}")


def _log_level(text: str, path: str) -> str:
    if text.upper() in _LOG_LEVELS:
        return text.upper()
    raise _fault(path, f"must be one of {', '.join(_LOG_LEVELS)}, not {shown(text)}")


def _fault(path: str, message: str) -> InvalidInput:
    return InvalidInput.of("invalid_settings", [Fault(path, message)])


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "data_dir",
        "FARTHING_DATA",
        ROOT_DATA_DIR if os.geteuid() == 0 else USER_DATA_DIR,
        "where the event log, the event store and the embedded PostgreSQL lie",
        _data_dir,
    ),
    Setting(
        "database_url",
        "FARTHING_DATABASE_URL",
        "",
        "a PostgreSQL (15 or newer) to keep the books in; empty: the embedded one",
        _database_url,
    ),
    Setting("tenant", "FARTHING_TENANT", "default", "the key of the tenant that commands work for", _name),
    Setting("host", "FARTHING_HOST", "127.0.0.1", "the address that the server listens on", _name),
    Setting("port", "FARTHING_PORT", "8080", "its port; 0: any that is free", _whole(0, 65_535)),
    Setting("workers", "FARTHING_WORKERS", "2", "processes that answer requests", _whole(1, 256)),
    Setting(
        "drain_seconds",
        "FARTHING_DRAIN_SECONDS",
        "30",
        "how long requests may take to finish once the server was told to stop",
        _whole(0, 3600),
    ),
    Setting("log_level", "FARTHING_LOG_LEVEL", "WARNING", "DEBUG, INFO, WARNING or ERROR", _log_level),
    Setting(
        "threads", "FARTHING_THREADS", "2", "threads that one process queries events with", _whole(1, 256)
    ),
    Setting("memory_limit", "FARTHING_MEMORY_LIMIT", "2GB", "memory that one process queries with", _memory),
    Setting(
        "too_late_seconds",
        "FARTHING_TOO_LATE_SECONDS",
        str(10 * 366 * 86_400),
        "events older than this when they arrive go to quarantine (ten years)",
        _whole(0, SECONDS_MAX),
    ),
    Setting(
        "too_early_seconds",
        "FARTHING_TOO_EARLY_SECONDS",
        "3600",
        "events further in the future than this go to quarantine",
        _whole(0, SECONDS_MAX),
    ),
    Setting(
        "keep_log_seconds",
        "FARTHING_KEEP_LOG_SECONDS",
        "86400",
        "how long a log file is kept once all of it is sealed",
        _whole(0, SECONDS_MAX),
    ),
    Setting(
        "gateways",
        "FARTHING_GATEWAYS",
        "",
        "the file with payment gateways and their secrets, readable by its owner alone",
        _file,
    ),
)


def settings_in_force(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> list[SettingInForce]:
    """Each setting as text, and where it was found. An empty variable counts as not set."""
    found = []
    for setting in SETTINGS:
        flag = flags.get(setting.name)
        if flag is not None:
            found.append(SettingInForce(setting, flag, flag_of(setting)))
        elif text := environ.get(setting.variable, "").strip():
            found.append(SettingInForce(setting, text, setting.variable))
        else:
            found.append(SettingInForce(setting, setting.default, "default"))
    return found


def read_settings(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """The settings in force. Raises InvalidInput `invalid_settings` that names every faulty one."""
    faults = Faults("invalid_settings")
    values: dict[str, Any] = {}
    for found in settings_in_force(environ, flags):
        path = found.setting.variable if found.source == "default" else found.source
        try:
            values[found.setting.name] = found.setting.parse(found.text, path)
        except InvalidInput as error:
            faults.absorb(error)
    faults.refuse()
    return Settings(**values)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: a misspelt one would otherwise go unnoticed."""
    known = {setting.variable for setting in SETTINGS}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def flag_of(setting: Setting) -> str:
    """The flag that sets it, where a command has one: `--data`."""
    return "--data" if setting.name == "data_dir" else "--" + setting.name.replace("_", "-")


def without_password(text: str) -> str:
    """A database URL as it may be shown."""
    return _PASSWORD_IN_URL.sub(lambda found: f"{found[1]}:***@" if found[0].endswith("@") else "***", text)


class App:
    """The rooms of one installation, opened for one tenant."""

    def __init__(
        self, settings: Settings, books: "Books", tenant_id: int, clock: Callable[[], datetime]
    ) -> None:
        self.settings = settings
        self.books = books
        self.tenant_id = tenant_id
        self.clock = clock

    @property
    def log_dir(self) -> Path:
        """Where the event log lies."""
        return self.settings.data_dir / "log"

    @cached_property
    def gateways(self) -> "Mapping[str, Gateway]":
        """The payment gateways of the tenant."""
        return self._gateways_in_use.of(self.tenant_id)

    @property
    def creditor(self) -> "Creditor | None":
        """Who draws direct debits, if the tenant does."""
        return self._gateways_in_use.file.creditors.get(self.settings.tenant)

    @cached_property
    def _gateways_in_use(self) -> "GatewaysInUse":
        from farthing.payments.gateways.setup import GatewaysInUse, open_gateways

        return GatewaysInUse(self.books, open_gateways(self.settings.gateways, self.clock))

    @cached_property
    def store(self) -> "EventStore":
        """The event store; opened when somebody asks for it."""
        return open_store(self.settings, self.books, threads=self.settings.threads)

    @cached_property
    def sealing_store(self) -> "EventStore":
        """The same, for a process that seals much."""
        return open_sealing_store(self.settings, self.books)

    def close(self) -> None:
        """Let the event stores go that were opened."""
        for name in ("store", "sealing_store"):
            if name in self.__dict__:
                self.__dict__[name].close()


def open_sealing_store(settings: Settings, books: "Books") -> "EventStore":
    """The event store of a process that seals much.

    Pieces of the log are under way beside each other, so each of them needs one thread; and a thread of DuckDB that
    waits has glibc give back the memory that the next piece needs (`keep_freed_memory`).
    """
    return open_store(settings, books, threads=1)


def open_store(settings: Settings, books: "Books", *, threads: int) -> "EventStore":
    """The event store of the data directory; whoever seals with it draws from wallets."""
    from farthing.events.store.duckdb import EventStore
    from farthing.wallets.holds.counting import settled_charges
    from farthing.wallets.sealing import WalletDraws

    store = EventStore(settings.data_dir, threads=threads, memory_limit=settings.memory_limit)
    store.beside_sealing = WalletDraws(books, store, settled_charges)
    return store


@contextmanager
def open_app(
    settings: Settings,
    clock: Callable[[], datetime],
    *,
    make: bool = True,
    on_wait: "OnWait | None" = None,
) -> Iterator[App]:
    """Everything, opened for the tenant of the settings; closed again at the end of the block.

    make: whether a data directory that is not there is made. One who only reads has mistyped.
    """
    from farthing.db import open_books
    from farthing.db.tenants import tenant_id

    if not make and not settings.data_dir.is_dir():
        raise NotFound(
            "data_directory_not_found",
            f"there is no data directory {settings.data_dir} (`farthing apply` makes one)",
            path="--data",
        )
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(HAND_OVER_SECONDS)
    with open_books(
        settings.data_dir, settings.database_url, now=clock(), on_wait=on_wait, pool_size=4
    ) as books:
        app = App(settings, books, tenant_id(books, settings.tenant), clock)
        try:
            yield app
        finally:
            app.close()


def server_settings(settings: Settings) -> "ServerSettings":
    """What the server needs of the settings."""
    from farthing.api.process import ServerSettings

    return ServerSettings(
        data_dir=settings.data_dir,
        database_url=settings.database_url,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        drain_seconds=settings.drain_seconds,
        engine=ENGINE_ENTRY,
        log_level=settings.log_level,
        query_threads=settings.threads,
        query_memory=settings.memory_limit,
        gateways=settings.gateways,
    )


def run_engine_process(orders: "Orders", ready: "Ready") -> int:
    """The engine as a process of the server: seals the event log and does its duties until it is told to stop.

    What the supervisor's flags may have said is in the orders; the rest it reads as the supervisor did.
    """
    from farthing.api.process import stop_signal
    from farthing.db import open_books
    from farthing.db.tenants import list_tenants
    from farthing.events.engine import run_engine
    from farthing.events.sealing.memory import keep_freed_memory
    from farthing.workflows.duties import begin_duties

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


def duties(settings: Settings, books: "Books", store: "EventStore") -> "list[Duty]":
    """What the engine does by itself beside sealing."""
    from farthing.events.engine import seal_what_waits
    from farthing.finance.service import recognise_revenue
    from farthing.invoicing.accrued.service import charge_accrued
    from farthing.invoicing.accruing import accrue
    from farthing.invoicing.drafts.service import bill_by_itself
    from farthing.invoicing.late.correcting import keep_corrected
    from farthing.keeping.erasing.service import carry_on
    from farthing.keeping.service import remove_expired
    from farthing.payments.collecting.service import collect
    from farthing.payments.gateways.setup import GatewaysInUse, open_gateways
    from farthing.payments.paying_out.service import sync_all
    from farthing.wallets.holds.upkeep import append_again, expire_holds
    from farthing.wallets.upkeep import keep_up
    from farthing.workflows.duties import Duty

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
def open_own_log(data_dir: Path, now: datetime) -> "Iterator[LogWriter]":
    """A writer of the event log with files of its own, for what the engine itself puts into it."""
    from farthing.events.log.files import LogWriter
    from farthing.kernel.ids import ENTROPY_BYTES, time_ordered_id

    # Never used before: the books remember log files by name for good.
    name = time_ordered_id("engine", int(now.timestamp() * 1000), os.urandom(ENTROPY_BYTES))
    log = LogWriter(data_dir / "log", name)
    try:
        yield log
    finally:
        log.close()


def wall_clock() -> datetime:
    """Now. The rooms never ask; they are told."""
    return datetime.now(UTC)
