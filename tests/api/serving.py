"""A server as its own process, and clients that remember what was acknowledged."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from farthing.events.log.files import list_log_files, read_blocks

# Starting a server opens its books; under load that can take a while.
PATIENCE_SECONDS = 60

WEBHOOK_SECRET = "whsec_of_the_tests"

SERVE = """
import logging, sys
from pathlib import Path
from farthing.api.process import ServerSettings
from farthing.api.server import serve
logging.basicConfig(level="WARNING")
# before
settings = ServerSettings(data_dir=Path(sys.argv[1]), port=int(sys.argv[2]), workers=int(sys.argv[3]))
sys.exit(serve(settings, lambda line: print(line, flush=True)))
"""


class Server:
    """A server as its own process, with what it said."""

    def __init__(self, data_dir: Path, workers: int, port: int = 0, before: str = "") -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE.replace("# before", before), str(data_dir), str(port), str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.port = 0
        self.key = ""
        assert self.process.stdout is not None
        while not self.port:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])

    def read_key(self) -> str:
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline())
        self.key = self.lines[-1].split()[-1]
        return self.key

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def workers(self) -> list[int]:
        """The workers that the supervisor keeps."""
        return [pid for pid, name in self._children().items() if name.startswith("farthing-api-")]

    def templates(self) -> list[int]:
        """The process that the others are forks of; two, while one takes the place of the other."""
        return [pid for pid, name in self._children().items() if name == "farthing-forks"]

    def _children(self) -> dict[int, str]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for child in children:
            with suppress(FileNotFoundError, ProcessLookupError):
                found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
        return found

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)


def send(connection, key, event_id):
    """One event; its status, or None where the connection was cut."""
    body = json.dumps({"id": event_id, "source": "t", "type": "call"})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/events", body, headers)
        response = connection.getresponse()
        response.read()
    except (ConnectionError, http.client.HTTPException):
        connection.close()
        return None
    return response.status


def logged(data_dir):
    found = []
    for name in list_log_files(data_dir / "log"):
        for block in read_blocks(data_dir / "log" / name, 0, 1 << 30):
            found += [json.loads(line)["id"] for line in block.payload.splitlines()]
    return found


def until(condition):
    """Wait for something that takes its time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def fresh(books_dir):
    """A data directory of its own, where the embedded PostgreSQL may live."""
    return books_dir.with_name(f"server-{os.urandom(4).hex()}")


class Load:
    """Clients that send one event after another and remember what was acknowledged."""

    def __init__(self, server: Server, clients: int) -> None:
        self.acknowledged: list[str] = []
        self.cut = 0
        self.refused: list[int] = []
        self._run_id = os.urandom(4).hex()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(server, n)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, server: Server, number: int) -> None:
        count = 0
        with closing(server.connection()) as connection:
            while not self._stop.is_set():
                count += 1
                event_id = f"{self._run_id}-{number}-{count}"
                try:
                    status = send(connection, server.key, event_id)
                except OSError:
                    status = None
                if status == 202:
                    self.acknowledged.append(event_id)
                elif status is None:
                    self.cut += 1
                else:
                    self.refused.append(status)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_more(self, events: int) -> None:
        wanted = len(self.acknowledged) + events
        until(lambda: len(self.acknowledged) >= wanted)
