"""Events are taken while everything else that a worker answers is still being made."""

import asyncio
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from farthing.api.asgi import build_rest
from farthing.api.front import Front, Rest, build_front
from farthing.api.later import Later
from farthing.api.services import Services

EVENT = {"id": "1", "source": "t", "type": "call"}


def front_of(services: Services, make_rest) -> Front:
    return build_front(
        services.books, services.pepper, services.door, services.now, services.draining, make_rest
    )


def test_events_do_not_wait_for_the_rest_and_the_rest_waits_for_itself(services, client, runner):
    asked, made = threading.Event(), threading.Event()

    def make(authenticator, intake) -> Rest:
        asked.set()
        assert made.wait(60)
        return build_rest(services, authenticator, intake)

    early = replace(client, app=front_of(services, make))

    async def ask_for_all() -> Rest:
        return await early.app.rest.get()

    async def begin() -> asyncio.Task[Rest]:
        task = asyncio.ensure_future(ask_for_all())
        await asyncio.to_thread(asked.wait, 60)
        return task

    making = runner.run(begin())
    assert early.post("/v1/events", EVENT).status_code == 202
    assert early.app.rest.made is None
    assert early.with_key(None).post("/v1/events", EVENT).status_code == 401
    made.set()
    assert early.get("/v1/account").json()["waiting"] == 1
    assert runner.run(_result(making)) is early.app.rest.made


async def _result(task):
    return await task


def test_an_authorisation_goes_the_long_way_until_the_desk_is_there(services, client, key):
    front = front_of(services, lambda authenticator, intake: build_rest(services, authenticator, intake))
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json")]
    early = replace(client, app=front)
    assert early.post("/v1/events", EVENT).status_code == 202  # the key is known from here on
    assert front.take_whole(b"/v1/authorizations", headers, b"{}", lambda _: None) is False
    assert early.post("/v1/authorizations", {}).status_code == 422
    assert front.rest.made is not None


def test_a_rest_that_cannot_be_made_is_an_error_for_those_who_ask_for_it_only(services, client):
    def make(_authenticator, _intake):
        raise ValueError("no memory for it")

    broken = replace(client, app=front_of(services, make))
    assert broken.post("/v1/events", EVENT).status_code == 202
    answer = broken.get("/v1/health/live")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


def test_it_is_made_once_for_all_who_ask_and_for_those_who_come_later(runner):
    made = []

    async def ask(later):
        return await asyncio.gather(*(later.get() for _ in range(3)))

    later = Later(lambda: made.append("it") or len(made))
    assert later.made is None
    assert runner.run(ask(later)) == [1, 1, 1]
    assert runner.run(ask(later)) == [1, 1, 1]
    assert made == ["it"]


def test_who_hangs_up_does_not_stop_the_making(runner):
    asked, go = threading.Event(), threading.Event()

    async def hang_up_and_ask():
        later = Later(lambda: asked.set() or go.wait(60))
        first = asyncio.ensure_future(later.get())
        await asyncio.to_thread(asked.wait, 60)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go.set()
        return await later.get()

    assert runner.run(hang_up_and_ask()) is True


def test_what_takes_events_imports_nothing_of_the_rest():
    later = ["duckdb", "fastapi", "pyarrow", "farthing.api.resources", "farthing.usage", "farthing.wallets"]
    asked = f"import sys, farthing.api.worker; print([name for name in {later} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
