"""`python -m tests.crash --seed N --points M`: crash Farthing, and judge what is left."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.crash.canaries import CANARIES
from tests.crash.faults import FAULTS
from tests.crash.machine import commit, kinds_here, machine
from tests.crash.report import write_report
from tests.crash.results import Results
from tests.crash.run import Wanted, ground, run

PROGRAM = "python -m tests.crash"


def main() -> int:
    """Run what was asked for. 0: every law held, and every fault that was to happen did."""
    asked = _arguments()
    here = kinds_here()
    kinds = [kind for kind in here if kind in (asked.kind or here)]
    results = Results(asked.results)
    if results.runs and results.runs[0]["seed"] != asked.seed:
        sys.exit(f"{asked.results} is of seed {results.runs[0]['seed']}: name another file, or that seed")
    wanted = Wanted(
        seed=asked.seed,
        kinds=kinds,
        points=asked.points,
        minutes=asked.minutes,
        first_round=asked.first_round,
        beside=asked.beside,
        canary=asked.canary,
        faults=[
            fault for fault in FAULTS if not asked.only or any(name in fault.name for name in asked.only)
        ],
        keep=asked.keep,
    )
    _stop_tidily(wanted)
    results.note("run", {"seed": asked.seed, "kinds": kinds, "commit": commit(), "machine": machine()})
    print(f"seed {asked.seed}; sites: {', '.join(kinds)}; {len(wanted.faults)} kinds of faults", flush=True)
    try:
        with ground() as on:
            run(wanted, results, lambda line: print(line, flush=True), on)
    except SystemExit as ended:
        # Nothing is left of the run, and its threads are not waited for.
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    if asked.report:
        write_report(results, asked.report)
    return _verdict(results)


def _verdict(results: Results) -> int:
    end = results.ends[-1]
    print(
        f"{results.hits():,} points in {len(results.rounds)} rounds, {end.seconds / 60:.1f} minutes: {end.why}"
    )
    if results.broken():
        return 1
    if never := results.never_hit():
        print(f"never hit: {', '.join(never)}")
    print(
        f"lost 0, doubled 0. To go on: --seed {results.runs[0]['seed']} --first-round {results.next_round()}"
    )
    return 0


def _stop_tidily(wanted: Wanted) -> None:
    """Ctrl-C and SIGTERM end the run behind its volley, judged; a second one at once."""

    def hear(number: int, _frame: FrameType | None) -> None:
        if wanted.told:
            sys.exit(128 + number)
        wanted.told = True
        print("stopping: this volley ends, and is judged; once more stops at once", flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Crash Farthing, and judge what is left.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=200, help="stop after so many faults that happened")
    parser.add_argument("--minutes", type=float, help="or after so much time")
    parser.add_argument("--first-round", type=int, default=0, help="go on where an earlier run stopped")
    parser.add_argument("--beside", type=int, default=1, help="how many sites are used at the same time")
    parser.add_argument("--only", action="append", help="faults whose name has this in it; may be repeated")
    parser.add_argument("--kind", action="append", choices=list(kinds_here()), help="only such sites")
    parser.add_argument("--canary", choices=list(CANARIES), help="a Farthing with a mistake in it")
    parser.add_argument(
        "--results", type=Path, help="write everything down here, and go on where that stopped"
    )
    parser.add_argument("--report", type=Path, help="write the report of it all here")
    parser.add_argument("--keep", action="store_true", help="keep the data directory of a broken law")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
