"""The tour of the README, typed as it stands there, prints what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ANYTHING = "..."


def commands(readme: str) -> list[tuple[str, str]]:
    """Each `$ command` of the console blocks, with the output written below it."""
    blocks = re.findall(r"```console\n(.*?)```", readme, re.DOTALL)
    assert blocks, "the README has no tour"
    steps = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(step.split("\n", 1)[0], step.split("\n", 1)[1]) for step in steps]


def matches(expected: str, printed: str) -> bool:
    """Equal line by line; a line of three points stands for any number of lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == ANYTHING else re.escape(line.rstrip()) + r"[ ]*\n"
        for line in expected.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def test_the_tour_of_the_readme(passable_dir: Path) -> None:
    environ = os.environ | {
        "FARTHING_DATA": str(passable_dir / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for command, expected in commands((REPOSITORY / "README.md").read_text()):
        if command.startswith("export "):
            continue
        ran = subprocess.run(command, shell=True, cwd=REPOSITORY, env=environ, capture_output=True, text=True)
        assert ran.returncode == 0, f"$ {command}\n{ran.stderr}"
        assert matches(expected, ran.stdout), f"$ {command}\n{ran.stdout}"


def test_an_output_that_differs_is_noticed() -> None:
    assert matches("...\nTotal  1\n", "Line\nTotal  1 \n")
    assert not matches("...\nTotal  1\n", "Line\nTotal  2\n")
    assert not matches("Total  1\n", "Line\nTotal  1\n")
