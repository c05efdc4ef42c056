"""Middleware: meters a Python API from inside its own process.

    from farthing.middleware import Metering, header

    metering = Metering("http://farthing:8080", "fk_...", "/var/lib/my-api/usage", subject=header("x-api-key"))
    app = metering.asgi(app)        # or metering.wsgi(app)

Each request that was answered becomes an event of the type `http.request` with method, path, status, bytes and
duration; `add_usage(scope, tokens=12)` inside a handler puts more into it.

Owns: noticing requests, the buffer on disk, sending it. Does not own: what any of it costs, or anything that runs
on the server.
Laws: the app is never slowed and never broken: a request waits for neither disk nor network, and no error of
metering reaches it. An event's id is made once, so that sending it again is no double. What reached the buffer is
sent, however long the server is away, by this process or the next. Memory and disk are bounded; what does not fit is
counted, logged, and told to the server as an event.

Standard library only, because it runs in other people's processes. Needs a POSIX system (file locks).
"""

from farthing.middleware.asgi import MeteredAsgi
from farthing.middleware.exchange import Exchange, add_usage, header
from farthing.middleware.metering import Metering, Standing
from farthing.middleware.wsgi import MeteredWsgi

__all__ = ["Exchange", "MeteredAsgi", "MeteredWsgi", "Metering", "Standing", "add_usage", "header"]
