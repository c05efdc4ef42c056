"""The example of docs/concepts/authorizations.md, typed as it stands there, prints what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from test_readme import REPOSITORY, commands, matches

PAGE = REPOSITORY / "docs" / "concepts" / "authorizations.md"


def test_the_example_of_authorizations(passable_dir: Path) -> None:
    page = PAGE.read_text()
    (catalog,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (passable_dir / "catalog.yaml").write_text(catalog)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")} | {
        "FARTHING_DATA": str(passable_dir / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    steps = commands(page)
    begins = next(place for place, (command, _) in enumerate(steps) if command.startswith("post()"))
    # What is defined in the shell holds for what is typed after it.
    defined = [command for command, _ in steps if command.startswith(("post()", "event="))]

    def type_in(some: list[tuple[str, str]]) -> None:
        for command, expected in some:
            if command in defined:
                continue
            ran = subprocess.run(
                ["bash", "-c", "\n".join([*defined, command])],
                cwd=passable_dir, env=environ, capture_output=True, text=True,
            )  # fmt: skip
            assert ran.returncode == 0, f"$ {command}\n{ran.stderr}"
            assert matches(expected, ran.stdout), f"$ {command}\n{ran.stdout}"

    type_in(steps[:begins])
    with subprocess.Popen(
        [sys.executable, "-m", "farthing", "serve", "--port", "0"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        try:
            assert served.stdout is not None
            url, key = (served.stdout.readline().split()[-1] for _ in range(2))
            environ |= {"URL": url, "KEY": key}
            type_in(steps[begins:])
        finally:
            served.terminate()
