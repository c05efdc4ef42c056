"""Commands as forks of one process that has imported everything: a tenth of a second less for each.

`python -m tests.crash.zygote` reads one JSON line for each command on standard input

    {"id": 1, "directory": faults or null, "canary": null, "words": ["ingest", ...], "output": path, "errors": path}

and says {"id": 1, "pid": 123} when it runs and {"id": 1, "code": 0} when it has ended (-9: was killed).
"""

import faulthandler
import json
import os
import selectors
import signal
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Fork for every line until standard input ends."""
    _import_everything()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ, None)
    rest = b""
    _say({"ready": True})
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
                return
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = _fork(asked)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, {"id": asked["id"], "pid": pid})
                _say({"id": asked["id"], "pid": pid})


def _import_everything() -> None:
    import tests.crash.victim  # noqa: F401

    import farthing.cli
    import farthing.cli.bill
    import farthing.cli.doctor
    import farthing.cli.ingest
    import farthing.cli.usage
    import farthing.db.embedded  # noqa: F401


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        for descriptor, name in ((1, asked["output"]), (2, asked["errors"])):
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, descriptor)
            os.close(file)
        faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked when it does not end
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        _run(asked)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 70
    except BaseException:  # noqa: BLE001  this is the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(asked: dict[str, Any]) -> None:
    if asked["directory"] is None:
        from farthing.cli import main as farthing

        farthing(asked["words"])
    else:
        from tests.crash.victim import become

        become(Path(asked["directory"]), asked["canary"], asked["words"])


if __name__ == "__main__":
    main()
