"""What the guides show, done as it stands there against a running server."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from test_readme import REPOSITORY, commands, matches

DOORS = (REPOSITORY / "docs" / "guides" / "other-doors.md").read_text()
MIDDLEWARE = (REPOSITORY / "docs" / "guides" / "middleware.md").read_text()
LINES = [
    b'10.0.0.1 - acme [01/Jan/2024:00:00:%02d +0000] "GET /v1 HTTP/1.1" 200 10 "-" "curl"\n' % second
    for second in range(2)
]


@pytest.fixture(scope="module")
def here() -> Iterator[tuple[str, dict[str, str]]]:
    """A server of `farthing serve`, at a port that is free: its address, and the environment of its users."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")} | {
            "FARTHING_DATA": f"{directory}/data",
            "FARTHING_WORKERS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        server = subprocess.Popen(
            ["farthing", "serve", "--port", "0"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert server.stdout is not None
        said = ""
        while not (key := re.search(r"fk_\w+", said)) or not re.search(r"http://[\w.]+:\d+", said):
            line = server.stdout.readline()
            assert line, said
            said += line
        address = re.search(r"http://[\w.]+:(\d+)", said)
        assert address is not None
        yield f"localhost:{address[1]}", {**environ, "KEY": key[0], "DIRECTORY": directory}
        server.terminate()
        server.communicate()
        assert server.returncode == 0


def test_the_commands_of_the_doors(here: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environ = here
    (tmp_path / "access.log").write_bytes(b"".join(LINES))
    (tmp_path / "access.log.1.gz").write_bytes(gzip.compress(b"".join(LINES)))
    for command, expected in commands(DOORS):
        ran = subprocess.run(
            command.replace("localhost:8080", address),
            shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, f"$ {command}\n{ran.stderr}"
        assert matches(expected, ran.stdout), f"$ {command}\n{ran.stdout}"


@pytest.mark.parametrize(
    ("client", "printed"), [("lago_python_client", "tx_1"), ("stripe", "req_1"), ("opentelemetry", "True")]
)
def test_the_programs_of_the_doors(here: tuple[str, dict[str, str]], client: str, printed: str) -> None:
    address, environ = here
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", DOORS, re.DOTALL) if client in block]
    ran = subprocess.run(
        [sys.executable, "-c", program.replace("localhost:8080", address)],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, printed), ran.stderr


def test_the_lines_of_the_middleware(here: tuple[str, dict[str, str]]) -> None:
    address, environ = here
    first, second = re.findall(r"```python\n(.*?)```", MIDDLEWARE, re.DOTALL)
    program = f"""
import asyncio, os
KEY = os.environ["KEY"]
async def app(scope, receive, send):
    handle(type("Request", (), {{"scope": scope}}))
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b""}})
async def nothing(message=None):
    return {{}}
{first.replace("localhost:8080", address).replace("/var/lib/my-api", environ["DIRECTORY"])}
def handle(request):
    {second.strip().replace(chr(10), chr(10) + "    ")}
scope = {{"type": "http", "method": "GET", "path": "/", "headers": [(b"x-api-key", b"acme")]}}
asyncio.run(app(scope, nothing, nothing))
metering.close(60)
print(metering.standing.sent, metering.standing.dropped)
"""
    ran = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "1 {}"), ran.stderr
