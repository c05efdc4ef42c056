"""A worker's ASGI application in this process, and clients for it."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import WEBHOOK_SECRET, Server, fresh

from farthing.api.asgi import build_asgi
from farthing.api.front import Front
from farthing.api.keys import create_key
from farthing.api.services import Services, log_dir
from farthing.db import Books
from farthing.db.secret import load_secret
from farthing.db.tenants import create_tenant, list_tenants
from farthing.events.door import Door
from farthing.events.store.duckdb import EventStore
from farthing.payments.gateways.fake import FakeGateway
from farthing.payments.gateways.setup import GatewaysFile, GatewaysInUse
from farthing.wallets.holds.desk import Desk


@pytest.fixture(scope="module")
def home(books_dir: Path) -> tuple[Path, str]:
    """A data directory whose first start is over, and its API key."""
    server = Server(fresh(books_dir), workers=1)
    key = server.read_key()
    assert server.stop() == 0
    server.process.communicate()
    return server.data_dir, key


@pytest.fixture(scope="session")
def pepper(books_dir: Path) -> bytes:
    return load_secret(books_dir)


@pytest.fixture
def services(
    books: Books, tmp_path: Path, pepper: bytes, now: datetime, tenant_id: int
) -> Iterator[Services]:
    """What a worker holds: the shared books, and an event log and store of this test alone."""
    # The books remember log files by name for good, and these books are shared.
    door = Door(log_dir(tmp_path), f"test-{os.urandom(4).hex()}")
    store = EventStore(tmp_path, threads=1, memory_limit="512MB")
    fake = FakeGateway(WEBHOOK_SECRET, lambda: now)
    (own,) = (tenant.key for tenant in list_tenants(books) if tenant.tenant_id == tenant_id)
    gateways = GatewaysInUse(books, GatewaysFile({own: {"fake": fake}}))
    desk = Desk(books, door.log, lambda: now)
    yield Services(
        books=books,
        data_dir=tmp_path,
        door=door,
        desk=desk,
        store=store,
        pepper=pepper,
        now=lambda: now,
        gateways=gateways,
    )
    desk.close()
    store.close()
    door.close()


@pytest.fixture
def app(services: Services) -> Front:
    return build_asgi(services)


@pytest.fixture
def key(books: Books, pepper: bytes, tenant_id: int, now: datetime) -> str:
    """An API key of this test's tenant."""
    return create_key(books, pepper, tenant_id, "test", now)


@dataclass(frozen=True)
class Client:
    """Sends requests to the application in this process, with a key or without."""

    app: Front
    runner: asyncio.Runner
    key: str | None = None

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = httpx.Headers(options.pop("headers", None))
        if self.key is not None:
            headers.setdefault("authorization", f"Bearer {self.key}")

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://farthing.test") as client:
                return await client.request(method, path, headers=headers, **options)

        return self.runner.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        return self("POST", path, **({} if body is None else {"json": body}), **options)

    def patch(self, path: str, body: object, **options: Any) -> httpx.Response:
        return self("PATCH", path, json=body, **options)

    def with_key(self, key: str | None) -> "Client":
        return replace(self, key=key)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def client(app: Front, runner: asyncio.Runner, key: str) -> Client:
    """A client of this test's tenant."""
    return Client(app, runner, key)


@pytest.fixture
def other_client(client: Client, books: Books, pepper: bytes, now: datetime, tenant_id: int) -> Client:
    """A client of another tenant."""
    other = create_tenant(books, f"other-{tenant_id}", "Other", now)
    return client.with_key(create_key(books, pepper, other, "other", now))
