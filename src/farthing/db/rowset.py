"""Many rows as one parameter.

    INSERT INTO ... SELECT ... FROM json_to_recordset(%(rows)s::json) AS g (key text, amount numeric, ...)

A list for each column is converted and escaped value by value, in Python; this is written in one go, and read by the
database in one go. Decimals go as strings, so every digit arrives; instants with their offset; None as NULL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def rowset(rows: Sequence[Mapping[str, Any]]) -> str:
    """These rows as a JSON array of objects, for `json_to_recordset`."""
    return msgspec.json.encode(rows).decode()
