"""Routes by what they do: they show something, make something once, or change something.

What is declared here is the same for all of them: how the answer goes over the wire, what a repeat of a
write gets (`Write.once`), and which problems the OpenAPI description names. A resource says the rest.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

from fastapi import APIRouter, Response

from farthing.api.idempotency import Answer
from farthing.api.web import READ, READ_ONE, WRITE, WRITE_ONE, Write, body, found

Responses = dict[int | str, dict[str, Any]]
Route = Callable[..., Response]


def shows(
    router: APIRouter, path: str, model: Any, summary: str, *, refused: Responses | None = None
) -> Callable[[Callable[..., object]], Route]:
    """GET: the function gives the document, which is answered with 200.

    refused: the problems, where they are not those that every address of its kind has.
    """

    def declare(document_of: Callable[..., object]) -> Route:
        @wraps(document_of)
        def show(**asked: Any) -> Response:
            return found(document_of(**asked))

        problems = refused or (READ_ONE if _names_one(router, path) else READ)
        return _add(router, "GET", path, show, summary, {200: {"model": model}, **problems})

    return declare


def makes(
    router: APIRouter,
    path: str,
    model: Any,
    body_name: str,
    summary: str,
    *,
    standing: str,
    method: Literal["POST", "PUT"] = "POST",
    new: Any = None,
    refused: Responses | None = None,
) -> Callable[[Callable[..., Answer]], Route]:
    """A thing that is made once: 201 with it, or 200 with it where the same stood already.

    The function takes the `write`, does it, and gives what `created` says of it. standing: what 200 means.
    new: what 201 answers with, where that is more than `model`.
    """

    def declare(effect: Callable[..., Answer]) -> Route:
        answers: Responses = {
            200: {"model": model, "description": standing},
            201: {"model": model if new is None else new},
        }
        problems = refused or (WRITE_ONE if _names_one(router, path) else WRITE)
        return _add(
            router, method, path, _once(effect), summary, {**answers, **problems}, 201, body(body_name)
        )

    return declare


def changes(
    router: APIRouter,
    method: Literal["POST", "PUT", "PATCH", "DELETE"],
    path: str,
    model: Any,
    summary: str,
    *,
    body_name: str | None = None,
    status: int = 200,
    refused: Responses | None = None,
) -> Callable[[Callable[..., object]], Route]:
    """A write whose function does it and gives the document, which is answered with `status`."""

    def declare(effect: Callable[..., object]) -> Route:
        @wraps(effect)
        def change(**asked: Any) -> Answer:
            return Answer(status, effect(**asked))

        problems = refused or (WRITE_ONE if _names_one(router, path) else WRITE)
        described = None if body_name is None else body(body_name)
        answers: Responses = {status: {"model": model}, **problems}
        return _add(router, method, path, _once(change), summary, answers, status, described)

    return declare


def _once(effect: Callable[..., Answer]) -> Route:
    """The effect behind its idempotency key."""

    @wraps(effect)
    def answer(**asked: Any) -> Response:
        write = asked["write"]
        assert isinstance(write, Write)
        return write.once(lambda: effect(**asked))

    return answer


def _names_one(router: APIRouter, path: str) -> bool:
    """Whether the address names a thing that there may not be."""
    return "{" in router.prefix + path


def _add(
    router: APIRouter,
    method: str,
    path: str,
    route: Route,
    summary: str,
    responses: Responses,
    status: int | None = None,
    described: dict[str, Any] | None = None,
) -> Route:
    router.add_api_route(
        path,
        route,
        methods=[method],
        status_code=status,
        response_model=None,
        responses=responses,
        openapi_extra=described,
        summary=summary,
    )
    return route
