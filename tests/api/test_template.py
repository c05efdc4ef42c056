"""The template that a server's processes are forks of: what happens without it, and with another program."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from serving import Load, Server, fresh, logged, send, until

SPAWNED = "from farthing.api import processes; processes.FORKS = False"
"""As where processes cannot be forked."""
ENGINE_OF_ITS_OWN = """
import os
os.environ["PYTHONPATH"] = {directory!r}
from dataclasses import replace
serve_all = serve
serve = lambda settings, announce: serve_all(replace(settings, engine="own_engine:run"), announce)
"""
WAITING_ENGINE = """
import threading
from farthing.api.process import stop_signal

def run(orders, ready):
    stop = stop_signal()
    (orders.settings.data_dir / "version").write_text({version!r})
    ready()
    stop.wait()
    return 0
"""


@pytest.fixture(scope="module")
def home(books_dir):
    server = Server(fresh(books_dir), workers=1)
    key = server.read_key()
    assert server.stop() == 0
    server.process.communicate()
    return server.data_dir, key


@pytest.fixture
def start(home):
    servers = []

    def started(before=""):
        server = Server(home[0], workers=2, before=before)
        servers.append(server)
        server.key = home[1]
        until(lambda: len(server.workers()) == 2)
        return server

    yield started
    for server in servers:
        if server.process.poll() is None:
            assert server.stop() == 0
        server.process.communicate()


def sent(server, event_id):
    with closing(server.connection()) as connection:
        return send(connection, server.key, event_id)


def test_the_server_goes_on_without_its_template_and_gets_another(start):
    server = start()
    (template,), before = server.templates(), set(server.workers())
    load = Load(server, clients=4)
    load.until_more(50)
    os.kill(template, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{template}").exists())
    load.until_more(50)
    assert set(server.workers()) == before
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(set(server.workers()) - before) == 1)
    assert template not in server.templates()
    load.until_more(50)
    load.end()
    assert load.refused == []
    assert load.cut <= 4, "only what was under way in the dead worker may be cut"
    assert set(load.acknowledged) <= set(logged(server.data_dir))


def test_events_are_taken_again_after_all_processes_were_killed_at_once(start):
    server = start()
    before = [*server.templates(), *server.workers()]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert sent(server, "behind all of them") == 202
    until(lambda: len(server.workers()) == 2)
    assert not set(before) & {*server.templates(), *server.workers()}


def test_processes_are_children_of_the_supervisor_and_named(start):
    server = start()
    for pid in server.workers():
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"PPid:\t{server.process.pid}\n" in status
    names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in server.workers())
    assert names == ["farthing-api-1", "farthing-api-2"]


def test_a_rolling_restart_takes_the_program_as_it_is_now(start, home, tmp_path):
    program, version = tmp_path / "own_engine.py", home[0] / "version"
    program.write_text(WAITING_ENGINE.format(version="old"))
    server = start(ENGINE_OF_ITS_OWN.format(directory=str(tmp_path)))
    until(lambda: version.exists() and version.read_text() == "old")
    (template,) = server.templates()
    program.write_text(WAITING_ENGINE.format(version="the new one"))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: version.read_text() == "the new one")
    until(lambda: not Path(f"/proc/{template}").exists())


def test_a_program_that_cannot_be_imported_replaces_nothing(start, home, tmp_path):
    program, version = tmp_path / "own_engine.py", home[0] / "version"
    version.unlink(missing_ok=True)
    program.write_text(WAITING_ENGINE.format(version="sound"))
    server = start(ENGINE_OF_ITS_OWN.format(directory=str(tmp_path)))
    until(version.exists)
    before = [*server.templates(), *server.workers()]
    program.write_text("raise ImportError('broken on purpose')")
    server.process.send_signal(signal.SIGHUP)
    assert server.process.stderr is not None
    said = []
    for line in server.process.stderr:
        said.append(line)
        if "nothing was replaced" in line:
            break
    assert any("broken on purpose" in line for line in said)
    until(lambda: [*server.templates(), *server.workers()] == before)
    assert sent(server, "beside a broken program") == 202


def test_where_nothing_can_be_forked_each_process_is_a_template_of_its_own(start):
    server = start(SPAWNED)
    before = set(server.workers())
    load = Load(server, clients=4)
    load.until_more(50)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and len(set(server.workers()) - before) == 1)
    cut = load.cut
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
    load.until_more(50)
    load.end()
    assert load.refused == []
    assert load.cut == cut <= 4
    assert set(load.acknowledged) <= set(logged(server.data_dir))
