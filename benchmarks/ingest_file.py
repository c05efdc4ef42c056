"""Events from a file to deduplicated, durable and queryable; beside PostgreSQL doing the same."""

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.file_door import BroughtIn, bring_in, new_tenant
from benchmarks.measuring import Stretch, series
from benchmarks.report import Row

ABOUT = (
    "Files: baseline is the same PostgreSQL with the same events: COPY into a temporary table and INSERT ... "
    "ON CONFLICT DO NOTHING, key (source, id), two sessions, durable commits."
)


def run(bench: Bench) -> list[Row]:
    """The whole month once; then a smaller file over and over, in turn with the baseline."""
    month = bench.month
    per_million = 1e6 / month.expected.sent
    with bench.saying("bringing them into PostgreSQL"):
        theirs = postgres.load(bench.app.settings.data_dir, month.file, month.expected)
    month.file.unlink()
    ours, baseline = _in_turn(bench)
    return [
        Row(
            f"File of {bench.sizes.events:,} events, queryable",
            "events/s",
            series([month.expected.sent / month.brought_in.seconds]),
            series([month.expected.sent / theirs.seconds]),
        ),
        Row(
            "  CPU per million events",
            "s",
            series([month.brought_in.cpu_seconds * per_million]),
            series([theirs.cpu_seconds * per_million]),
            less_is_better=True,
        ),
        Row("  peak memory", "MiB", series([month.brought_in.peak_bytes / 2**20]), less_is_better=True),
        Row(
            f"File of {bench.sizes.file_events:,} events, queryable",
            "events/s",
            series(bench.sizes.file_events / one.seconds for one in ours),
            series(bench.sizes.file_events / one.seconds for one in baseline),
        ),
        Row(
            "  CPU per million events",
            "s",
            series(one.cpu_seconds * 1e6 / bench.sizes.file_events for one in ours),
            series(one.cpu_seconds * 1e6 / bench.sizes.file_events for one in baseline),
            less_is_better=True,
        ),
    ]


def _in_turn(bench: Bench) -> tuple[list[BroughtIn], list[Stretch]]:
    file, expected = bench.event_file("ours", bench.sizes.file_events)
    ours, baseline = [], []
    for number in range(bench.sizes.repetitions):
        tenant = new_tenant(bench.app, f"file-{number}")
        with bench.saying(f"from a file: Farthing, {number + 1} of {bench.sizes.repetitions}"):
            ours.append(bring_in(bench.app, tenant, file, expected))
        with bench.saying(f"from a file: PostgreSQL, {number + 1} of {bench.sizes.repetitions}"):
            baseline.append(postgres.load(bench.app.settings.data_dir, file, expected))
    file.unlink()
    return ours, baseline
