"""Health: three questions that are easily confused.

live    is this process able to answer (restart it if not)
ready   should requests be sent here (route them elsewhere if not)
health  does everything that Farthing stands on work (wake somebody if not)
"""

import shutil
from typing import Any

from fastapi import APIRouter, Response

from farthing.api import store
from farthing.api.documents.shapes import HealthDocument
from farthing.api.idempotency import Answer
from farthing.api.keys import NO_TENANT
from farthing.api.services import Services, log_dir
from farthing.api.web import House, answered
from farthing.events.segments.damage import known_damage
from farthing.kernel.errors import FarthingError

DISK_FREE_PERCENT_MIN = 5
"""With less, somebody should be woken."""
DISK_FREE_BYTES_MIN = 16 * 1024 * 1024
"""With less, events are about to be refused: they are better sent elsewhere."""

_FAILING: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthDocument, "description": "Something does not work; `checks` says what."}
}

router = APIRouter(prefix="/v1/health", tags=["Health"])


@router.get(
    "", response_model=None, responses={200: {"model": HealthDocument}, **_FAILING}, summary="Get the health"
)
def health(services: House) -> Response:
    """Whether books, event log, disk and counted events are in order."""
    checks = {
        "books": _books(services),
        "event_log": services.door.failure or "ok",
        "disk": _disk(services),
        "segments": _segments(services),
    }
    return _judged(checks)


@router.get(
    "/live", response_model=None, responses={200: {"model": HealthDocument}}, summary="Check liveness"
)
async def live() -> Response:
    """Whether this process can answer."""
    return _judged({})


@router.get(
    "/ready",
    response_model=None,
    responses={200: {"model": HealthDocument}, **_FAILING},
    summary="Check readiness",
)
async def ready(services: House) -> Response:
    """Whether requests should be sent here.

    Not while stopping, not when the event log has failed or its disk is full, nor while the books do not
    answer: events with a key that is known are taken all the same, but nothing else is.
    """
    checks = {
        "server": "stopping" if services.draining.begun else "ok",
        "event_log": services.door.failure or _room(services),
        "books": await services.books_watch.said(lambda: _books(services)),
    }
    return _judged(checks)


def _judged(checks: dict[str, str]) -> Response:
    good = all(said == "ok" for said in checks.values())
    document = {"status": "ok" if good else "failing", "checks": checks}
    return answered(Answer(200 if good else 503, document))


def _books(services: Services) -> str:
    try:
        with services.books.read_only(NO_TENANT) as conn:
            store.ping(conn)
    except FarthingError as error:
        return error.message
    return "ok"


def _room(services: Services) -> str:
    free = shutil.disk_usage(log_dir(services.data_dir)).free
    return "ok" if free >= DISK_FREE_BYTES_MIN else f"only {free} bytes are free on its disk"


def _disk(services: Services) -> str:
    usage = shutil.disk_usage(services.data_dir)
    percent = usage.free * 100 // usage.total
    return "ok" if percent >= DISK_FREE_PERCENT_MIN else f"only {percent} % of the disk is free"


def _segments(services: Services) -> str:
    damaged = len(known_damage(services.data_dir))
    return "ok" if not damaged else f"{damaged} damaged or missing: see farthing doctor"
