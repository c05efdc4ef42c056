"""Help: every command has it, with an example, within a hundred columns.

The texts stand in tests/golden/help; `UPDATE_GOLDEN=1 pytest tests/unit/cli/test_help.py` writes them anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.cli.commands import COMMANDS, command_line
from farthing.cli.errors import run_command

GOLDEN = Path(__file__).parents[2] / "golden" / "help"
WIDTH_MAX = 100


def _all_commands() -> Iterator[tuple[str, Any]]:
    group: Any = command_line()
    for name in COMMANDS:
        command = group.get_command(None, name)
        members = getattr(command, "commands", None)
        if members:
            yield from ((f"{name} {member}", found) for member, found in members.items())
        else:
            yield name, command


ALL = list(_all_commands())


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH_MAX))


def help_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_command(command_line(), [*words.split(), "--help"]) == 0
    return capsys.readouterr().out


# The words of the demo are still being chosen, and it says so itself.
@pytest.mark.parametrize("words", ["", *(name for name, _ in ALL if name != "demo")])
def test_help_is_as_it_was(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(words, capsys)
    golden = GOLDEN / f"{words.replace(' ', '_') or 'farthing'}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
    assert max(map(len, text.splitlines())) <= WIDTH_MAX


@pytest.mark.parametrize(("name", "command"), ALL)
def test_every_command_takes_the_same_options_and_shows_an_example(name: str, command: Any) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--data"} <= options, name
    assert "Example" in command.epilog, name
    assert command.help, name


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command_line(), ["invoice"]) == 2
    assert "Did you mean 'invoices'?" in capsys.readouterr().err


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command_line(), ["bill"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: Missing option '--until'" in captured.err
