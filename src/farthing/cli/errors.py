"""Running a command: how every ending becomes an exit code and, where it failed, one clear message."""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final

import typer

from farthing.cli.output import printable
from farthing.kernel.errors import (
    Conflict,
    Corrupt,
    FarthingError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
)

EXIT_OK: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141

_EXIT_CODES: Final[Mapping[type[FarthingError], int]] = {
    InvalidInput: 2,
    LimitExceeded: 2,
    NotFound: 3,
    Conflict: 3,
    Unauthorized: 4,
    Unavailable: 4,
    Corrupt: 5,
}


def run_command(command: Any, arguments: list[str]) -> int:
    """Run what the arguments say and return the exit code. Nothing but a bug leaves a traceback."""
    as_json = "--json" in arguments
    try:
        try:
            code = command.main(args=arguments, prog_name="farthing", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else EXIT_OK
        except SystemExit as error:
            # The library's own way out of a broken pipe; it uses no other in this mode.
            raise BrokenPipeError from error
    except typer.TyperException as error:
        _show_usage_error(error, as_json)
        return EXIT_USAGE
    except FarthingError as error:
        show_error(error, as_json)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whatever is still buffered for the reader that left must not raise again at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  whatever is not named here is a bug
        if known := _of_the_machine(error):
            show_error(known, as_json)
            return exit_code(known)
        traceback.print_exc()
        return EXIT_BUG


def _of_the_machine(error: Exception) -> FarthingError | None:
    """What disk, permissions and memory do to a command, in terms of the one error tree."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Unavailable("system_error", f"{place}{error.strerror or error}")
    duckdb = sys.modules.get("duckdb")  # an error of it is raised only where it was imported
    if duckdb is None:
        return None
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable("out_of_memory", "the query needs more memory than FARTHING_MEMORY_LIMIT allows")
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
        said = str(error).splitlines()[0]
        return Corrupt("segment_unreadable", f"{said} (`farthing doctor` says more)")
    return None


def exit_code(error: FarthingError) -> int:
    """The exit code of an error, by its class."""
    return next(code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))


def show_error(error: FarthingError, as_json: bool) -> None:
    """On standard error: the message with its code and, where there are several, each fault on its line."""
    if as_json:
        print(json.dumps(problem(error), ensure_ascii=False), file=sys.stderr)
        return
    whole = "; ".join(str(fault) for fault in error.faults)
    if len(error.faults) < 2:
        print(f"error: {printable(error.message, lines=True)} ({error.code})", file=sys.stderr)
        return
    head = f"the input has {len(error.faults)} faults" if error.message == whole else error.message
    print(f"error: {printable(head, lines=True)} ({error.code})", file=sys.stderr)
    for fault in error.faults:
        print(f"  {printable(str(fault))}", file=sys.stderr)


def problem(error: FarthingError) -> dict[str, object]:
    """The error as a document with the members that the HTTP API gives it."""
    document: dict[str, object] = {
        "type": f"urn:farthing:problem:{error.code}",
        "code": error.code,
        "detail": error.message,
    }
    if error.path is not None:
        document["path"] = error.path
    if error.faults:
        document["faults"] = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    return document


def _show_usage_error(error: typer.TyperException, as_json: bool) -> None:
    if as_json:
        show_error(InvalidInput("invalid_usage", error.format_message()), as_json)
        return
    context = getattr(error, "ctx", None)
    if not context:
        print(f"error: {error.format_message()}", file=sys.stderr)
    elif type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
    else:
        print(context.get_usage(), file=sys.stderr)
        print(f"Try: {context.command_path} --help\n\nerror: {error.format_message()}", file=sys.stderr)
