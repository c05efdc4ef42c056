"""Commands and servers as forks of one process that has imported everything: seconds less for each.

`python -m tests.crash.zygote` reads one JSON line for each command on standard input

    {"id": 1, "words": ["ingest", ...], "place": path, "environment": {"FARTHING_...": ...}, "output": path,
     "errors": path, "armed": faults or null, "canary": null, "held": false, "executed": false}

and says {"id": 1, "pid": 123} when it runs and {"id": 1, "code": 0} when it has ended (-9: was killed).
held: it stops itself before its first step, until it gets SIGCONT. executed: it is a new program,
`python -m farthing WORDS`, that knows nothing of all this.
"""

import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import sys
from pathlib import Path
from typing import Any

import farthing
from farthing.events.scanning.loading import load_scanning
from tests.crash.victim import become, ending


def main() -> None:
    """Fork for every line until standard input ends."""
    _import_everything()
    gc.collect()
    gc.freeze()  # A fork that looks at what it will never free would copy all of it.
    # How the process is to stop is told to it by the end of its input: Ctrl-C in a terminal reaches it too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ, None)
    rest = b""
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(key.data["pid"], 0)
                _say({"id": key.data["id"], "code": os.waitstatus_to_exitcode(status)})
                continue
            part = os.read(0, 65536)
            if not part:
                os._exit(0)  # DuckDB has much to say about an orderly exit
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = _fork(asked)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, {"id": asked["id"], "pid": pid})
                _say({"id": asked["id"], "pid": pid})


def _import_everything() -> None:
    """All of Farthing, also what its processes import only when they need it: every fork would do it again."""
    for module in pkgutil.walk_packages(farthing.__path__, "farthing."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # So that lines are read by compiled functions wherever sizes are small (`victim.py`).
    load_scanning()


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        ending(lambda: _be(asked))
    return pid


def _be(asked: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["place"])
    os.environ.update(asked["environment"])
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    for descriptor, name in ((1, asked["output"]), (2, asked["errors"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked when it does not end
    if asked["held"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    if asked["executed"]:
        os.execv(sys.executable, [sys.executable, "-m", "farthing", *asked["words"]])
    become(asked["words"], asked["armed"] and Path(asked["armed"]), asked["canary"])


if __name__ == "__main__":
    main()
