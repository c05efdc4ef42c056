"""`farthing serve`."""

from typing import Annotated

import typer

from farthing.api.server import serve as serve_until_stopped
from farthing.app import server_settings
from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, settings_from
from farthing.cli.output import print_json

app = new_app()

_EXAMPLE = """\b
Example:
  $ farthing serve --port 8080
  Farthing is listening on http://127.0.0.1:8080
  API key (shown only once): fk_...

SIGTERM or Ctrl-C: finish what was begun and stop; twice: stop at once. SIGHUP: replace every process."""


@app.command(epilog=_EXAMPLE)
def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on.  [FARTHING_HOST]", show_default=False)
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT", help="Its port; 0: any that is free.  [FARTHING_PORT]", show_default=False
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Processes that answer.  [FARTHING_WORKERS]", show_default=False),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> int:
    """Run everything until told to stop: PostgreSQL, the HTTP API, the engine that seals events."""
    settings = settings_from(data, tenant, host=host, port=port, workers=workers)

    def announce(line: str) -> None:
        if as_json:
            print_json({"message": line})
        else:
            print(line, flush=True)

    return serve_until_stopped(server_settings(settings), announce)
