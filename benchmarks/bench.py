"""What the benchmarks share: sizes, one temporary data directory, and the month that is metered and billed."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.file_door import BroughtIn, bring_in
from benchmarks.workload import Expected, expected_of, meters, traffic_of, write_events
from farthing.app import App, open_app, read_settings, wall_clock
from farthing.customers.apply import apply
from farthing.db.embedded.place import PLACE_FILE, find_place
from farthing.events.scanning.loading import load_scanning

EVENTS = 10_000_000
"""What is published is measured with these."""
QUICK_EVENTS = EVENTS // 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything."""

    events: int
    customers: int
    file_events: int
    recovery_events: int
    index_ids: int
    history_events: int
    http_events: int
    http_events_baseline: int
    transfers: int
    transfers_baseline: int
    entries: int
    wallets: int
    pairs: int
    pairs_baseline: int
    single_events: int
    single_events_baseline: int
    restarts: int
    ratings: int
    pdfs: int
    customers_one_by_one: int
    repetitions: int
    long_repetitions: int


def sizes_for(events: int) -> Sizes:
    """Sizes in proportion to the events of the month; fewer repetitions where it is not the full month."""
    full = events >= EVENTS

    def part(of_ten_million: int, least: int) -> int:
        return max(least, of_ten_million * events // EVENTS)

    return Sizes(
        events=events,
        customers=part(20_000, 10),
        file_events=part(1_000_000, 1_000),
        recovery_events=part(10_000_000, 10_000),
        index_ids=part(100_000_000, 1_000_000),
        history_events=part(10_000_000, 20_000),
        http_events=part(500_000, 2_000),
        http_events_baseline=part(100_000, 2_000),
        transfers=part(200_000, 2_000),
        transfers_baseline=part(10_000, 500),
        entries=part(1_000_000, 1_000),
        wallets=part(10_000, 10),
        pairs=part(60_000, 500),
        pairs_baseline=part(10_000, 250),
        single_events=part(200_000, 1_000),
        single_events_baseline=part(20_000, 500),
        restarts=part(20, 1),
        ratings=part(50_000, 100),
        pdfs=part(60, 1),
        customers_one_by_one=part(60, 2),
        repetitions=5 if full else 3,
        long_repetitions=3 if full else 1,
    )


@dataclass(frozen=True, slots=True)
class Month:
    """The events of a month in the default tenant, and what bringing them in took."""

    expected: Expected
    brought_in: BroughtIn
    file: Path


class Bench:
    """The place of the measurements. `with Bench(sizes) as bench`: it is gone afterwards.

    keep: a data directory of its own for the year of `history`, which stays.
    """

    def __init__(self, sizes: Sizes, keep: Path | None = None) -> None:
        self.sizes = sizes
        self.keep = keep
        self._leaving = ExitStack()

    def __enter__(self) -> "Bench":
        self.directory = Path(tempfile.mkdtemp(prefix="farthing-bench-"))
        self._leaving.callback(shutil.rmtree, self.directory)
        self._leaving.callback(_remove_clusters, self.directory)
        # PostgreSQL does not run as root: its own user must be able to pass.
        self.directory.chmod(0o711)
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    @cached_property
    def app(self) -> App:
        """Farthing on the temporary data directory, with default settings."""
        settings = read_settings({}, {"data_dir": str(self.directory / "data")})
        with self.saying("compiling, or loading what was compiled"):
            load_scanning()  # So that processes find it, as in an installation that has run before.
        with self.saying("opening the books"):
            return self._leaving.enter_context(open_app(settings, wall_clock))

    @cached_property
    def month(self) -> Month:
        """The month, brought in from a file once for all benchmarks that ask."""
        apply(self.app.books, self.app.tenant_id, {"meters": meters()}, wall_clock())
        file, expected = self.event_file("month", self.sizes.events)
        with self.saying("bringing them in"):
            brought_in = bring_in(self.app, self.app.settings.tenant, file, expected)
        return Month(expected, brought_in, file)

    def event_file(self, name: str, events: int) -> tuple[Path, Expected]:
        """A file of so many events, and the right answers for it."""
        file = self.directory / f"{name}.ndjson"
        with self.saying(f"writing {events:,} events"):
            traffic = traffic_of(events, min(self.sizes.customers, events // 2))
            write_events(traffic, file)
            return file, expected_of(traffic)

    @contextmanager
    def saying(self, what: str) -> Iterator[None]:
        """Say on standard error what is going on, and how long it took."""
        started = time.monotonic()
        print(f"  {what} ...", end="", file=sys.stderr, flush=True)
        try:
            yield
        except BaseException:
            print(" failed", file=sys.stderr, flush=True)
            raise
        print(f" {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def _remove_clusters(directory: Path) -> None:
    """As root, and with a private TMPDIR, clusters lie outside of their data directories."""
    for remembered in directory.glob(f"*/{PLACE_FILE}"):
        shutil.rmtree(find_place(remembered.parent).home)
