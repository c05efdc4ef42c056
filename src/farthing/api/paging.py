"""Lists in pages: `{"items": [...], "next_cursor": ...}`.

A cursor names the last item shown, so a page never repeats or skips one when others come and go.
It is opaque: base64 of the list's name and that item's key.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from farthing.kernel.errors import Fault, InvalidInput

PAGE_ITEMS_MAX = 100
PAGE_ITEMS_DEFAULT = 20
CURSOR_LENGTH_MAX = 1024

_ID = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
_T = TypeVar("_T")


def read_cursor(cursor: str | None, list_name: str, *, numeric: bool = False) -> str | None:
    """The key after which the page begins, or None for the first page. Raises `invalid_cursor`."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        name, _, after = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, after = "", ""
    if name != list_name or not after or "\x00" in after or (numeric and not _ID.match(after)):
        raise InvalidInput.of("invalid_cursor", [Fault("cursor", "is not a next_cursor of this list")])
    return after


def page(
    found: Sequence[_T], limit: int, list_name: str, key_of: Callable[[_T], str]
) -> tuple[list[_T], str | None]:
    """The page and the cursor of the next one, from one item more than the page holds."""
    shown = list(found[:limit])
    if len(found) <= limit:
        return shown, None
    last = f"{list_name}:{key_of(shown[-1])}"
    return shown, base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
