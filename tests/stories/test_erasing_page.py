"""The examples of docs/operations/erasing.md, typed as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from test_readme import REPOSITORY, commands, matches

PAGE = REPOSITORY / "docs" / "operations" / "erasing.md"


def test_the_examples_of_erasing(passable_dir: Path) -> None:
    page = PAGE.read_text()
    for language, file in (("yaml", "catalog.yaml"), ("json", "events.ndjson")):
        (block,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
        (passable_dir / file).write_text(block)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")} | {
        "FARTHING_DATA": str(passable_dir / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for command, expected in commands(page):
        ran = subprocess.run(
            command, shell=True, cwd=passable_dir, env=environ, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stderr}"
        assert matches(expected, ran.stdout), f"$ {command}\n{ran.stdout}"

    erased = subprocess.run(
        "farthing customers erasures --json",
        shell=True,
        cwd=passable_dir,
        env=environ,
        capture_output=True,
        text=True,
    )
    (listed,) = json.loads(erased.stdout)["erasures"]
    assert listed["stage"] == "complete"
    assert "acme" not in erased.stdout
