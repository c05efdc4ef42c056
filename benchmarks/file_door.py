"""Bring a file of events in, in a process of its own: `python -m benchmarks.file_door DATA_DIR TENANT FILE`.

It does what `farthing ingest` does, without the start of the command, and prints what it took.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measuring import Wrong, peak_bytes, postmaster, require_equal, stretch
from benchmarks.workload import END, START, Expected, meters
from farthing.app import App, open_app, read_settings, wall_clock
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant, tenant_id
from farthing.events.ingest import ingest_file
from farthing.usage.model import UsageQuery
from farthing.usage.service import query_usage


@dataclass(frozen=True, slots=True)
class BroughtIn:
    """What bringing a file in took: until every event was queryable, with PostgreSQL's share of the CPU."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def new_tenant(app: App, key: str) -> str:
    """A tenant that has the meters and no events: bytes that another one has seen are new to it."""
    apply(app.books, create_tenant(app.books, key, key, wall_clock()), {"meters": meters()}, wall_clock())
    return key


def bring_in(app: App, tenant: str, file: Path, expected: Expected) -> BroughtIn:
    """Bring a file in beside `app`, and see that every event was counted once."""
    command = [sys.executable, "-m", "benchmarks.file_door", str(app.settings.data_dir), tenant, str(file)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Wrong(f"the file could not be brought in: status {done.returncode}")
    answer = json.loads(done.stdout)
    report = answer["report"]
    require_equal("accepted events", report["accepted"], expected.sent)
    require_equal("counted events", report["counted"], expected.counted)
    require_equal("duplicates", report["duplicate"], expected.duplicates)
    check_sums(app, tenant, expected)
    return BroughtIn(**answer["took"])


def check_sums(app: App, tenant: str, expected: Expected) -> None:
    """Ask for the tokens that were metered: they must be the generator's, to the last one."""
    for meter, sums in (("input_tokens", expected.input_tokens), ("output_tokens", expected.output_tokens)):
        query = UsageQuery(meter, START, END)
        groups = query_usage(app.books, app.store, tenant_id(app.books, tenant), query, wall_clock())
        require_equal(f"sum of {meter}", sum(int(group.quantity) for group in groups), int(sums.sum()))


def _main(data_dir: str, tenant: str, file: str) -> None:
    settings = read_settings({}, {"data_dir": data_dir, "tenant": tenant})
    with open_app(settings, wall_clock) as app:
        store = app.store
        with stretch(postmaster(settings.data_dir)) as measured:
            report = ingest_file(
                app.books,
                store,
                app.tenant_id,
                Path(file),
                lateness=settings.lateness,
                clock=wall_clock,
            )
        took = BroughtIn(measured.seconds, measured.cpu_seconds, peak_bytes([os.getpid()]))
    print(json.dumps({"report": asdict(report), "took": asdict(took)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
