"""What the disk does to a server: a failed sync ends a worker, a full disk is waited out, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from serving import PATIENCE_SECONDS, Server, logged, send, until

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None or os.geteuid() != 0, reason="needs strace, and root to attach it"
)
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
LOG_DISK_MIB = 24


@contextmanager
def serving(home: tuple[Path, str], before: str = "") -> Iterator[Server]:
    server = Server(home[0], workers=1, before=before)
    server.key = home[1]
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
            server.process.communicate()


@contextmanager
def syncs_fail(pid: int) -> Iterator[None]:
    """From now on every sync of this process, and of those that it starts, fails."""
    command = ["strace", "-f", "-o", "/dev/null", "--trace=fsync,fdatasync"]
    command += ["--inject=fsync,fdatasync:error=EIO", "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            pytest.skip(f"strace cannot attach here: {line.strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def ask(server: Server, path: str) -> tuple[int, dict[str, str]]:
    with closing(server.connection()) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.load(response)["checks"]


@needs_strace
def test_a_failed_sync_acknowledges_nothing_more_and_the_worker_is_replaced(home: tuple[Path, str]) -> None:
    with serving(home) as server:
        (worker,) = server.workers()
        with closing(server.connection()) as connection:
            assert send(connection, server.key, "before") == 202
            with syncs_fail(worker):
                assert send(connection, server.key, "during") == 503
                acknowledged = [f"during-{number}" for number in range(20)]
                # The same worker never says 202 again: who does is the next one, whose log is sound.
                acknowledged = [one for one in acknowledged if send(connection, server.key, one) == 202]
                until(lambda: not Path(f"/proc/{worker}").exists())
        until(lambda: len(server.workers()) == 1 and server.workers() != [worker])
        with closing(server.connection()) as connection:
            assert send(connection, server.key, "after") == 202
        assert {"before", "after", *acknowledged} <= set(logged(server.data_dir))


@needs_strace
def test_a_disk_that_never_syncs_ends_the_server_with_a_message(home: tuple[Path, str]) -> None:
    before = "from farthing.api import server; server.FAILURES_IN_A_ROW_MAX = 3"
    with serving(home, before) as server:
        (worker,), (template,) = server.workers(), server.templates()
        assert server.process.stderr is not None
        with syncs_fail(template):
            os.kill(worker, signal.SIGKILL)
            said = next(line for line in server.process.stderr if "the server stops" in line)
        # PostgreSQL, which must be stopped first, may sync again.
        assert server.process.wait(PATIENCE_SECONDS) == 1
        server.process.communicate()
    assert "every worker failed 3 times in a row" in said


@needs_mount
def test_a_full_disk_sheds_load_and_recovers_by_itself(home: tuple[Path, str]) -> None:
    log = home[0] / "log"
    kept = home[0] / "log-before"
    log.rename(kept)
    log.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={LOG_DISK_MIB}m", "tmpfs", str(log)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    ballast = log / "ballast"
    try:
        with serving(home) as server, closing(server.connection()) as connection:
            acknowledged = ["one"]
            assert send(connection, server.key, "one") == 202
            assert ask(server, "/v1/health/ready")[0] == 200
            for turn in range(3):
                fill(ballast)
                # More than the rest of the page that the file has already.
                body = json.dumps({"id": f"no-{turn}", "source": "t", "type": "call", "data": "x" * 9000})
                headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
                connection.request("POST", "/v1/events", body, headers)
                response = connection.getresponse()
                problem = json.load(response)
                assert (response.status, problem["code"]) == (503, "disk_full")
                assert response.headers["retry-after"] == "1"
                status, checks = ask(server, "/v1/health/ready")
                assert status == 503
                assert "bytes are free" in checks["event_log"]
                assert ask(server, "/v1/health/live")[0] == 200
                ballast.unlink()
                acknowledged.append(f"again-{turn}")
                assert send(connection, server.key, acknowledged[-1]) == 202
                assert ask(server, "/v1/health/ready")[0] == 200
            assert [one for one in logged(server.data_dir) if one in acknowledged] == acknowledged
    finally:
        subprocess.run(["umount", "--lazy", str(log)], check=True)
        log.rmdir()
        kept.rename(log)


def fill(ballast: Path) -> None:
    """Take all the room there is, to the last byte."""
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 8, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
