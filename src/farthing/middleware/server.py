"""The server, as a sender sees it: events go in, and it is said whether to forget them or to try again."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX = 15.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024

# The request can never be right; with any other answer it may be later.
_NEVER = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. refused: the places of lines that will never be taken. Or: why to try again."""

    refused: tuple[int, ...] = ()
    why_refused: str = ""
    try_again: str = ""
    retry_after_seconds: float = 0.0


class Server:
    """One connection to the server, opened when it is needed."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{url!r} is not the address of a server: it must begin with http:// or https://"
            )
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/v1/events"
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
            "Prefer": "return=minimal",
        }
        self._connection: http.client.HTTPConnection | None = None

    def send(self, lines: list[bytes]) -> Outcome:
        """Send events. Never raises: whatever goes wrong is a reason to try again."""
        fresh = self._connection is None
        try:
            return self._send(lines)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if fresh:
                return Outcome(try_again=f"{type(error).__name__}: {error}")
        # A connection that was kept may have been closed at the other end: that says nothing yet.
        return self.send(lines)

    def _send(self, lines: list[bytes]) -> Outcome:
        connection = self._connection or self._connect()
        connection.request("POST", self._path, b"".join(lines), self._headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX)
        if answer.will_close or not answer.isclosed():
            self.close()
        if answer.status == 202:
            return _taken(body)
        why = f"{answer.status} {_detail(body)}"
        if answer.status in _NEVER:
            return Outcome(refused=tuple(range(len(lines))), why_refused=why)
        after = answer.headers.get("Retry-After", "")
        seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0
        return Outcome(try_again=why, retry_after_seconds=float(seconds))

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        self._connection = kind(self._host, self._port, timeout=ANSWER_SECONDS_MAX)
        return self._connection

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _taken(body: bytes) -> Outcome:
    document = json.loads(body)
    rejected = [one for one in document["outcomes"] if one.get("status") == "rejected"]
    if not rejected:
        return Outcome()
    return Outcome(
        refused=tuple(one["index"] for one in rejected), why_refused=str(rejected[0].get("message", ""))
    )


def _detail(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("detail", ""))[:300] if isinstance(document, dict) else ""
