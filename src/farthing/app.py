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

from farthing.kernel.errors import Fault, InvalidInput, NotFound
from farthing.kernel.reading import Faults, shown

if TYPE_CHECKING:
    # What these bring with them takes longer to import than many a command takes to run.
    from farthing.api.process import ServerSettings
    from farthing.db import Books, OnWait
    from farthing.events.store.duckdb import EventStore, Lateness
    from farthing.payments.bank.creditor import Creditor
    from farthing.payments.gateway import Gateway
    from farthing.payments.gateways.setup import GatewaysInUse

SECONDS_MAX = 100 * 366 * 86_400
PREFIX = "FARTHING_"
ROOT_DATA_DIR = "/var/lib/farthing/default"
USER_DATA_DIR = "~/.farthing"
COLLECT_AFTER = (20_000, 20, 20)
"""Garbage collection, less often than Python's default: what a billing run makes it keeps, next to none in cycles."""
HAND_OVER_SECONDS = 0.0005
"""How long a thread that has its answer from a database waits for one that computes, at most. Python's default is ten
times that: of a billing run, a tenth of its time."""
ENGINE_ENTRY = "farthing.engine_process:run_engine_process"

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
    return open_store(settings, books, threads=1, verifying_threads=settings.threads)


def open_store(
    settings: Settings, books: "Books", *, threads: int, verifying_threads: int | None = None
) -> "EventStore":
    """The event store of the data directory; whoever seals with it draws from wallets."""
    from farthing.events.store.duckdb import EventStore
    from farthing.wallets.holds.counting import settled_charges
    from farthing.wallets.sealing import WalletDraws

    store = EventStore(
        settings.data_dir,
        threads=threads,
        memory_limit=settings.memory_limit,
        verifying_threads=verifying_threads,
    )
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


def wall_clock() -> datetime:
    """Now. The rooms never ask; they are told."""
    return datetime.now(UTC)
