"""Every ending is an exit code and at most one clear message."""

import json
from typing import Any

import pytest
import typer

from farthing.cli.errors import run_command
from farthing.kernel.errors import (
    Conflict,
    Corrupt,
    FarthingError,
    Fault,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
)


class Command:
    """A command line whose one command ends as it is told to."""

    def __init__(self, ending: BaseException | int | None) -> None:
        self.ending = ending

    def main(self, **_options: Any) -> int | None:
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (None, 0),
        (0, 0),
        (1, 1),
        (InvalidInput("x", "bad"), 2),
        (LimitExceeded("x", "bad"), 2),
        (NotFound("x", "bad"), 3),
        (Conflict("x", "bad"), 3),
        (Unavailable("x", "bad"), 4),
        (Unauthorized("x", "bad"), 4),
        (Corrupt("x", "bad"), 5),
        (PermissionError(13, "Permission denied", "/root"), 4),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
    ],
)
def test_exit_codes(
    ending: BaseException | int | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(Command(ending), []) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_says_everything_and_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(Command(ZeroDivisionError("division by zero")), []) == 70
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err


FAULTS = [
    Fault("plans[0].currency", "'US' is not an ISO 4217 currency code"),
    Fault("plans[0].name", "is missing"),
]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            NotFound("meter_not_found", "there is no meter 'x'"),
            "error: there is no meter 'x' (meter_not_found)\n",
        ),
        (
            InvalidInput.of("invalid_plan", FAULTS[:1]),
            "error: plans[0].currency 'US' is not an ISO 4217 currency code (invalid_plan)\n",
        ),
        (
            InvalidInput.of("invalid_plan", FAULTS),
            (
                "error: the input has 2 faults (invalid_plan)\n"
                "  plans[0].currency 'US' is not an ISO 4217 currency code\n"
                "  plans[0].name is missing\n"
            ),
        ),
        (NotFound("x", "no \x1b[2J here"), "error: no \\x1b[2J here (x)\n"),
    ],
)
def test_messages(error: FarthingError, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(Command(error), [])
    captured = capsys.readouterr()
    assert captured.err == said
    assert captured.out == ""


def test_with_json_the_error_is_a_problem_document(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(Command(InvalidInput.of("invalid_plan", FAULTS)), ["apply", "--json"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err) == {
        "type": "urn:farthing:problem:invalid_plan",
        "code": "invalid_plan",
        "detail": "plans[0].currency 'US' is not an ISO 4217 currency code; plans[0].name is missing",
        "path": "plans[0].currency",
        "faults": [
            {"path": "plans[0].currency", "message": "'US' is not an ISO 4217 currency code"},
            {"path": "plans[0].name", "message": "is missing"},
        ],
    }
