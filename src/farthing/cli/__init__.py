"""Commands: Farthing for people and scripts.

Owns: what is typed and what is printed, exit codes, tables, progress bars.
Does not own: any decision. A command reads its options, calls one service and prints the answer.
Laws: `--json` prints one JSON document on standard output (numbers as exact strings), and errors and
progress go to standard error; an expected failure is a sentence, never a traceback.

Exit codes: 0 done, 1 the answer is no (`doctor` found something, `apply --check` has changes), 2 the
input is wrong, 3 not found or in conflict, 4 not now (database, disk), 5 stored data is damaged,
70 a fault of the program, 130 stopped with Ctrl-C.
"""

import sys
from collections.abc import Sequence

from farthing.cli.commands import command_line
from farthing.cli.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point `farthing`."""
    sys.exit(run_command(command_line(), sys.argv[1:] if arguments is None else list(arguments)))
