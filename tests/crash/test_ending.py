"""A run ends in order when it is told to, leaves nothing behind, and can be continued."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.crash.commands import REPOSITORY
from tests.crash.results import Results
from tests.crash.waiting import until


def test_a_run_that_is_told_to_stop_judges_and_leaves_nothing_behind(
    passable_dir: Path, tmp_path: Path
) -> None:
    file, report = tmp_path / "results.ndjson", tmp_path / "report.md"
    words = ["--seed", "3", "--kind", "lean", "--results", str(file), "--report", str(report)]
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.crash", *words, "--points", "1000000"],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(passable_dir)},
        stdout=subprocess.DEVNULL,
    )
    until(lambda: file.exists() and '{"point":' in file.read_text(), "the first volley has struck")
    running.send_signal(signal.SIGTERM)
    assert running.wait() == 0

    results = Results(file)
    assert [end.why for end in results.ends] == ["told to stop"]
    assert results.hits() > 0
    assert len(results.rounds) == len(results.sites) == 1
    assert list(passable_dir.iterdir()) == []
    assert f"# {results.hits()} crash points, seed 3" in report.read_text()

    again = subprocess.run(
        [sys.executable, "-m", "tests.crash", *words, "--points", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(passable_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--first-round 1" in again.stdout
    assert [end.why for end in Results(file).ends] == ["told to stop", "all points"]
