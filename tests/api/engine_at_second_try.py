"""An engine that cannot begin the first time, as where PostgreSQL dies while it opens the books; then it waits."""

import sys
import threading

from farthing.api.process import Orders, Ready


def run(orders: Orders, ready: Ready) -> int:
    tried = orders.settings.data_dir / "engine-tried"
    if not tried.exists():
        tried.touch()
        return 1
    (orders.settings.data_dir / "engine-runs").touch()
    ready()
    threading.Event().wait()
    sys.exit(0)
