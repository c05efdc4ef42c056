"""What a worker answers beside events, put together: it imports all there is."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from farthing import __version__
from farthing.api.authenticator import Authenticator
from farthing.api.authorizations_route import AuthorizationsRoute
from farthing.api.body import ClientGone, Intake
from farthing.api.doors import lago, openmeter, otlp, stripe
from farthing.api.doors.manners import Manners
from farthing.api.doors.route import OtherDoors
from farthing.api.doors.shared import LagoOrOpenMeter, told_apart
from farthing.api.front import Front, Rest, build_front
from farthing.api.openapi import describe, operation_id
from farthing.api.problems import problem
from farthing.api.resources import ROUTERS
from farthing.api.services import Services
from farthing.kernel.errors import FarthingError, Fault, InvalidInput, NotFound


def build_asgi(services: Services) -> Front:
    """Everything a worker answers, where the services are there already."""
    return build_front(
        services.books,
        services.pepper,
        services.door,
        services.now,
        services.draining,
        lambda authenticator, intake: build_rest(services, authenticator, intake),
    )


def build_rest(services: Services, authenticator: Authenticator, intake: Intake) -> Rest:
    """The rest of a worker."""
    return Rest(
        _other_doors(services, authenticator, intake),
        AuthorizationsRoute(services.desk, intake, services.now),
        build_resources(services, intake),
    )


def _other_doors(services: Services, authenticator: Authenticator, intake: Intake) -> OtherDoors:
    manners: dict[str, Manners] = {
        openmeter.PATH: LagoOrOpenMeter(204),
        openmeter.PATH_V3: openmeter.OpenMeter(202),
        lago.BATCH_PATH: lago.Lago(batch=True),
        stripe.PATH: stripe.Stripe(),
        otlp.LOGS_PATH: otlp.OtlpLogs(),
        otlp.METRICS_PATH: otlp.OtlpMetrics(services.books),
    }
    told = {openmeter.PATH: told_apart}
    return OtherDoors(authenticator, services.door, intake, services.now, manners, told)


def build_resources(services: Services, intake: Intake) -> FastAPI:
    """The resources under /v1, without authentication: the front has done that."""
    app = FastAPI(
        title="Farthing",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.state.services = services
    app.state.intake = intake
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(FarthingError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(ClientGone, _answer_nobody)
    app.add_exception_handler(Exception, _answer)
    describe(app)
    return app


async def _answer(request: Request, error: Exception) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            headers["allow"] = _allowed(request)
        error = _from_framework(error)
    elif isinstance(error, RequestValidationError):
        error = _from_validation(error)
    answer = problem(error, headers=headers)
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        response.headers[name] = value
    return response


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)


def _allowed(request: Request) -> str:
    """Every method that this address takes; the framework names those of its first route only."""
    methods: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
                methods |= route.methods or set()
    return ", ".join(sorted(methods))


def _from_framework(error: HTTPException) -> FarthingError:
    """What the framework finds out before a route does."""
    if error.status_code == 404:
        return NotFound("not_found", "there is nothing at this address")
    if error.status_code == 405:
        return InvalidInput("method_not_allowed", "this address does not take this method")
    return InvalidInput("invalid_request", str(error.detail))


def _from_validation(error: RequestValidationError) -> FarthingError:
    """Query and path parameters that the framework refused, each under its own name."""
    faults = [
        Fault(".".join(str(part) for part in found["loc"][1:]), _complaint(found["type"], found["msg"]))
        for found in error.errors()
    ]
    return InvalidInput.of("invalid_parameter", faults)


def _complaint(kind: str, message: str) -> str:
    return "is not a known parameter" if kind == "extra_forbidden" else message[:1].lower() + message[1:]
