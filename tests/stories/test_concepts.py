"""The examples of pages in docs/concepts, typed as they stand there, print what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import REPOSITORY, commands, matches

PAGES = {
    "credit-notes": {"yaml": "catalog.yaml", "csv": "rates.csv"},
    "closing-a-month": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "commitments": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "tax": {"yaml": "catalog.yaml", "csv": "rates.csv"},
    "corrections": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "events": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "pay-as-you-go": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "invoice-life": {"yaml": "catalog.yaml", "json": "events.ndjson"},
    "payments": {"yaml": "catalog.yaml", "xml": "statement.xml"},
    "wallets": {"yaml": "catalog.yaml", "json": "events.ndjson"},
}
"""Each page, and the files that its blocks are, by language."""


@pytest.mark.parametrize("name", PAGES)
def test_the_example_of_a_page(name: str, passable_dir: Path) -> None:
    page = (REPOSITORY / "docs" / "concepts" / f"{name}.md").read_text()
    for language, file in PAGES[name].items():
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
