"""How functions over the bytes of a text are compiled (numba), and the little that they cannot say in Python.

They know places in memory as numbers: arrays are counted, checked and unpacked wherever they are passed on, which takes
several times what is done here with a byte. So nothing but these functions may call them, and whoever calls the two
at the top, `canonical_lines` and `plain_fields`, gives arrays. Behind a text has to stand `PADDING`, because eight
bytes are looked at at once.

Machine code is kept from one process to the next, in a directory that is named by what all files of this package say:
numba itself knows a function by its own file only, and nothing of what it calls elsewhere.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Eight = np.uint64
"""Eight bytes as one number, the first of them lowest."""

PADDING = b"\0" * 32
"""What has to stand behind every text."""

_Compiled = TypeVar("_Compiled", bound=Callable[..., Any])


def _kept_in() -> Path | None:
    """Where machine code is kept: beside the source or in the user's own cache, wherever it can be written."""
    here = Path(__file__).parent
    said = hashlib.blake2b(digest_size=8)
    for file in sorted(here.glob("*.py")):
        said.update(file.read_bytes())
    places = [here / "__pycache__"]
    with suppress(RuntimeError):  # A user without a home.
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "farthing")
    for place in places:
        directory = place / f"kernels-{said.hexdigest()}"
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            if os.access(directory, os.W_OK):
                return directory
    return None


_directory = _kept_in()
if _directory is not None:
    numba.config.CACHE_DIR = str(_directory)  # type: ignore[attr-defined]


def forget() -> None:
    """Remove the machine code that is kept."""
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)


def compiled(function: _Compiled) -> _Compiled:
    """Machine code, which holds no lock of Python's while it runs."""
    return cast(_Compiled, njit(nogil=True, cache=_directory is not None)(function))


def _read(kind: Any, bits: int) -> Any:
    """What reads a number of so many bits from a place in memory."""

    def declare(_context: Any, _place: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            load = builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))
            load.align = 1
            return builder.zext(load, ir.IntType(64)) if bits < 64 else load

        return kind(types.int64), generate

    return intrinsic(declare)


def _write(bits: int) -> Any:
    """What writes a number of so many bits to a place in memory."""

    def declare(_context: Any, _place: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            value = arguments[1]
            if bits < 64:
                value = builder.trunc(value, ir.IntType(bits))
            store = builder.store(value, builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))
            store.align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.uint64 if number == types.uint64 else types.int64), generate

    return intrinsic(declare)


def _declare_zeros_below(_context: Any, _number: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


byte_at: Callable[[int], int] = _read(types.int64, 8)
four_at: Callable[[int], int] = _read(types.int64, 32)
eight_at: Callable[[int], Eight] = _read(types.uint64, 64)
number_at: Callable[[int], int] = _read(types.int64, 64)
put_byte: Callable[[int, int], None] = _write(8)
put_four: Callable[[int, int | Eight], None] = _write(32)
put_eight: Callable[[int, Eight], None] = _write(64)
put_number: Callable[[int, int], None] = _write(64)
zeros_below = cast(Callable[[Eight], int], intrinsic(_declare_zeros_below))
"""How many zero bits stand below the lowest one."""


@compiled
def address(array: npt.NDArray[Any]) -> int:
    """Where the first byte of an array stands."""
    return np.int64(array.ctypes.data)  # type: ignore[return-value]  # It is unsigned, and would make floats of sums.


def first_eight(word: str) -> np.uint64:
    """The first eight bytes of a word, zeros behind a shorter one, as `eight_at` gives them."""
    return np.uint64(int.from_bytes(word.encode()[:8].ljust(8, b"\0"), "little"))


def only(count: int) -> np.uint64:
    """What leaves the first bytes of eight."""
    return np.uint64((1 << 8 * count) - 1)


def eights(word: str) -> tuple[tuple[Eight, ...], int]:
    """A word as numbers of eight bytes, zeros behind it, and its length."""
    pieces = [word[place : place + 8] for place in range(0, len(word), 8)]
    return tuple(first_eight(piece) for piece in pieces), len(word)
