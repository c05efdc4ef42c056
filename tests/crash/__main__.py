"""`python -m tests.crash --seed N --points M`: crash Farthing, and judge what is left."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.crash.canaries import CANARIES
from tests.crash.faults import FAULTS
from tests.crash.run import Wanted, kinds_here, run

PROGRAM = "python -m tests.crash"


def main() -> int:
    """Run what was asked for. 0: every law held, and every fault that was to happen did."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    faults = [fault for fault in FAULTS if not asked.only or any(name in fault.name for name in asked.only)]
    wanted = Wanted(
        seed=asked.seed,
        points=asked.points,
        minutes=asked.minutes,
        first_round=asked.first_round,
        canary=asked.canary,
        kinds=tuple(asked.kind) if asked.kind else None,
        faults=faults,
        results=asked.results,
        keep=asked.keep,
    )
    print(f"seed {asked.seed}; sites: {', '.join(wanted.kinds or kinds_here())}", flush=True)
    started = time.monotonic()
    report = run(wanted, lambda line: print(f"{time.monotonic() - started:7.2f}  {line}", flush=True))
    minutes = report.seconds / 60
    print(
        f"{report.hits()} points in {report.rounds} rounds, {minutes:.1f} minutes; {report.counted:,} events"
    )
    print(f"answers: {report.requests}")
    if report.broken:
        return 1
    if never := report.never_hit():
        print(f"never hit: {', '.join(never)}")
        return 1
    print(f"lost 0, doubled 0. To go on: --seed {asked.seed} --first-round {report.next_round}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Crash Farthing, and judge what is left.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=200, help="stop after so many faults that happened")
    parser.add_argument("--minutes", type=float, help="or after so much time")
    parser.add_argument("--first-round", type=int, default=0, help="go on where an earlier run stopped")
    parser.add_argument("--only", action="append", help="faults whose name has this in it; may be repeated")
    parser.add_argument("--kind", action="append", choices=list(kinds_here()), help="only such sites")
    parser.add_argument("--canary", choices=CANARIES, help="a Farthing with a mistake in it")
    parser.add_argument("--results", type=Path, help="append every point to this file, as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the data directory of a broken law")
    return parser.parse_args()


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
