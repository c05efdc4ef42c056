"""Live, ready and health: three questions, and what makes each of them say no."""

import asyncio
import threading
from dataclasses import replace

import pytest

from farthing.api.asgi import build_asgi
from farthing.api.draining import Draining
from farthing.api.services import BooksWatch
from farthing.db import open_books


def test_a_worker_that_works_is_live_and_ready(client):
    anybody = client.with_key(None)
    assert anybody.get("/v1/health/live").json() == {"status": "ok", "checks": {}}
    ready = anybody.get("/v1/health/ready")
    assert (ready.status_code, ready.json()["checks"]) == (
        200,
        {"server": "ok", "event_log": "ok", "books": "ok"},
    )


def test_a_worker_that_stops_is_live_and_not_ready(client, services):
    stopping = Draining()
    stopping.begin()
    client = replace(client, app=build_asgi(replace(services, draining=stopping)))
    assert client.get("/v1/health/live").status_code == 200
    ready = client.get("/v1/health/ready")
    assert (ready.status_code, ready.json()["checks"]["server"]) == (503, "stopping")


def test_books_that_do_not_answer_make_it_not_ready_and_do_not_hold_it_up(client, services, books_dir, now):
    with open_books(books_dir, None, now=now) as closed:
        pass
    client = replace(client, app=build_asgi(replace(services, books=closed)))
    ready = client.with_key(None).get("/v1/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "failing")
    assert ready.json()["checks"]["books"] != "ok"
    assert client.with_key(None).get("/v1/health/live").status_code == 200


def test_books_that_hang_are_asked_once_for_all_who_want_to_know():
    asked: list[None] = []
    answer = threading.Event()

    def hang() -> str:
        asked.append(None)
        assert answer.wait(30)
        return "ok"

    async def ask() -> None:
        watch = BooksWatch(seconds_max=0.01)
        assert (
            await asyncio.gather(*(watch.said(hang) for _ in range(20))) == ["the books do not answer"] * 20
        )
        assert len(asked) == 1
        answer.set()
        while await watch.said(hang) != "ok":
            pass

    asyncio.run(ask())


@pytest.mark.parametrize("path", ["/v1/health/live", "/v1/health/ready", "/v1/health"])
def test_they_are_described(client, path):
    described = client.with_key(None).get("/openapi.json").json()["paths"][path]["get"]
    assert described["security"] == []
    assert ("503" in described["responses"]) == (path != "/v1/health/live")


def test_tables_are_described(client):
    described = client.get("/openapi.json").json()["paths"]["/v1/events"]["post"]
    content = described["requestBody"]["content"]
    assert {"application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"} <= set(content)
