"""What goes wrong where nobody asked: one line of JSON on standard error for whoever reads the log."""

import sys
from datetime import datetime

import msgspec

from farthing.kernel.errors import FarthingError
from farthing.kernel.instant import format_instant


def report_trouble(task: str, error: Exception, now: datetime, tenant_id: int | None = None) -> None:
    """Say what failed at which task, and for which tenant where it was one's."""
    line: dict[str, object] = {"at": format_instant(now), "level": "error", "task": task}
    if tenant_id is not None:
        line["tenant_id"] = tenant_id
    line["code"] = error.code if isinstance(error, FarthingError) else type(error).__name__
    line["message"] = str(error)
    sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
    sys.stderr.flush()
