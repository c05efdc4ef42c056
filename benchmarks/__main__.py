"""`python -m benchmarks [--quick] [--only NAME] [--json FILE]`: measure, and print one table."""

import argparse
import signal
import sys
import textwrap
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from benchmarks import (
    accrued,
    authorizations,
    billing,
    file_stages,
    finance,
    history,
    id_index,
    ingest_file,
    ingest_http,
    ingest_single,
    ledger,
    machine,
    pdf,
    rating,
    recovery,
    report,
    start,
    statement,
    usage_query,
    wallet_draws,
)
from benchmarks.bench import EVENTS, QUICK_EVENTS, Bench, Sizes, sizes_for
from farthing.cli.demo_traffic import SEED

BENCHMARKS: dict[str, ModuleType] = {
    "ingest_file": ingest_file,
    "file_stages": file_stages,
    "ingest_http": ingest_http,
    "ingest_single": ingest_single,
    "usage_query": usage_query,
    "history": history,
    "billing": billing,
    "accrued": accrued,
    "ledger": ledger,
    "finance": finance,
    "wallet_draws": wallet_draws,
    "authorizations": authorizations,
    "statement": statement,
    "rating": rating,
    "pdf": pdf,
    "start": start,
    "recovery": recovery,
    "id_index": id_index,
}
LEAST_EVENTS = 2_000

_READING = (
    "figure and baseline: medians. ratio: how many times better than the baseline. CPU: of all processes, "
    "PostgreSQL and the load generator included. ~: the repetitions vary by more than 10 %."
)
_CHECKED = (
    "Every answer was checked, and there is no figure for a wrong one. The whole run took {:.0f} s. "
    "benchmarks/README.md says what each number means."
)


def main() -> int:
    """Measure what was asked for. 1 where one of the benchmarks failed; the others are printed all the same."""
    asked = _arguments()
    if not sys.platform.startswith("linux"):
        print("The benchmarks read processor time and memory from /proc, so they run on Linux only.")
        return 1
    # Told to stop, it cleans up as it does after an error.
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    sizes = sizes_for(asked.events)
    if asked.history:
        sizes = replace(sizes, history_events=asked.history)
    rows: dict[str, list[report.Row]] = {}
    with Bench(sizes, asked.keep) as bench:
        place = machine.describe(bench.directory)
        for name in asked.only or BENCHMARKS:
            print(name, file=sys.stderr, flush=True)
            try:
                rows[name] = BENCHMARKS[name].run(bench)
            except Exception:  # noqa: BLE001  the other benchmarks are worth their minutes
                traceback.print_exc()
    seconds = time.monotonic() - started
    _print(place, sizes, rows, seconds)
    if asked.json:
        facts: dict[str, Any] = {"seed": SEED, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        facts["sizes"] = {name: getattr(sizes, name) for name in Sizes.__slots__}
        report.write_json(asked.json, place, rows, **facts, seconds=round(seconds, 1))
    failed = [name for name in asked.only or BENCHMARKS if name not in rows]
    if failed:
        print(f"\nFailed, and so without a figure: {', '.join(failed)}. Standard error says why.")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Farthing on this machine."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick",
        dest="events",
        action="store_const",
        const=QUICK_EVENTS,
        help="a twentieth of everything: a look, not a measurement",
    )
    size.add_argument(
        "--events", type=int, metavar="N", help=f"events of the month ({EVENTS:,}); the rest in proportion"
    )
    parser.add_argument("--history", type=int, metavar="N", help="events of the year that `history` asks")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="leave that year in DIR, and ask it where it is there already",
    )
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="one of them; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every repetition, for comparisons")
    parser.set_defaults(events=EVENTS)
    asked = parser.parse_args()
    if asked.events < LEAST_EVENTS:
        parser.error(f"--events must be at least {LEAST_EVENTS:,}")
    return asked


def _print(place: dict[str, Any], sizes: Sizes, rows: dict[str, list[report.Row]], seconds: float) -> None:
    print(f"\n{machine.lines(place)}")
    if sizes.events < EVENTS:
        print(f"A run of {sizes.events:,} events instead of {EVENTS:,}: a look, not a measurement.")
    print(f"\n{report.table([row for some in rows.values() for row in some])}\n")
    notes = [_READING, *(BENCHMARKS[name].ABOUT for name in rows), _CHECKED.format(seconds)]
    print("\n".join(textwrap.fill(note, report.WIDTH) for note in notes if note))


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
