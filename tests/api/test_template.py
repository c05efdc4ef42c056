"""The template that a server's processes are forks of: what happens without it, and with another program."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE_SECONDS, Load, Server, logged, send, until

SPAWNED = "from farthing.api import processes; processes.FORKS = False"
"""As where processes cannot be forked."""
ENGINE_OF_ITS_OWN = """
import os, sys
# For the template that is a fork of this process, and for those that are programs of their own.
sys.path.insert(0, {directory!r})
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


def test_restarts_that_are_told_while_one_is_under_way_follow_one_another(start, home, tmp_path):
    program, version = tmp_path / "own_engine.py", home[0] / "version"
    program.write_text(WAITING_ENGINE.format(version="first"))
    server = start(ENGINE_OF_ITS_OWN.format(directory=str(tmp_path)))
    until(lambda: version.exists() and version.read_text() == "first")
    before = [*server.templates(), *server.workers()]
    load = Load(server, clients=2)
    load.until_more(20)
    for number in range(4):
        program.write_text(WAITING_ENGINE.format(version=f"number {number}"))
        server.process.send_signal(signal.SIGHUP)
    until(lambda: version.read_text() == "number 3")
    until(lambda: len(server.templates()) == 1 and len(server.workers()) == 2)
    load.until_more(20)
    load.end()
    assert (load.cut, load.refused) == (0, [])
    assert not set(before) & {*server.templates(), *server.workers()}


def test_a_process_is_made_of_the_next_template_where_the_one_asked_is_replaced(start):
    server = start()
    (template,) = server.templates()
    os.kill(template, signal.SIGSTOP)  # It answers nothing more.
    (victim, _) = server.workers()
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in server.workers())
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.templates()) == 2)
    os.kill(template, signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and victim not in server.workers())
    assert sent(server, "of the next template") == 202


def test_a_stop_while_it_starts_says_nothing_is_wrong(home):
    server = Server(home[0], workers=2)
    assert server.stop() == 0
    assert server.process.communicate()[1] == ""


def test_a_stop_that_reaches_all_processes_at_once_says_nothing_is_wrong(start):
    server = start()
    for pid in (server.process.pid, *server.templates(), *server.workers()):
        os.kill(pid, signal.SIGTERM)
    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert "template" not in server.process.communicate()[1]


def test_a_restart_signal_to_all_processes_replaces_them_in_order(start):
    server = start()
    before = set(server.workers())
    load = Load(server, clients=2)
    load.until_more(20)
    for pid in (*server.templates(), *before, server.process.pid):
        os.kill(pid, signal.SIGHUP)
    until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
    load.until_more(20)
    load.end()
    assert (load.cut, load.refused) == (0, [])


def test_where_nothing_can_be_forked_each_process_is_a_template_of_its_own(start, home, tmp_path):
    program, version = tmp_path / "own_engine.py", home[0] / "version"
    version.unlink(missing_ok=True)
    program.write_text(WAITING_ENGINE.format(version="old"))
    server = start(SPAWNED + ENGINE_OF_ITS_OWN.format(directory=str(tmp_path)))
    until(lambda: version.exists() and version.read_text() == "old")
    before = set(server.workers())
    load = Load(server, clients=4)
    load.until_more(50)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(server.workers()) == 2 and len(set(server.workers()) - before) == 1)
    cut = load.cut
    program.write_text(WAITING_ENGINE.format(version="new"))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
    until(lambda: version.read_text() == "new")
    load.until_more(50)
    load.end()
    assert load.refused == []
    assert load.cut == cut <= 4
    assert set(load.acknowledged) <= set(logged(server.data_dir))
