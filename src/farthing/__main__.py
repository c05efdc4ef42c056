"""`python -m farthing`: the same as the command `farthing`."""

from farthing.cli import main

main()
