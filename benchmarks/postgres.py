"""The baseline: what one writes by hand for the same job, in the PostgreSQL that also holds our books.

A table of events with the primary key (source, id), `data` as jsonb, and `ON CONFLICT DO NOTHING`.
Equal durability: fsync and synchronous_commit are on, and an event counts when its commit returned.
It does less: it does not tell a repeat from a conflict, sets nothing aside, and keeps no columns.

Files are cut into pieces that two sessions load at the same time, each piece a transaction: COPY of
the lines into a temporary table (no write-ahead log, its rows need not survive), then INSERT ...
SELECT in the order of the key, so that sessions never wait for each other in a circle.
"""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg

from benchmarks.measuring import Stretch, postmaster, require_equal, stretch
from benchmarks.workload import Expected
from farthing.db.embedded.cluster import Cluster
from farthing.db.embedded.place import find_place
from farthing.events.store.duckdb import EventStore

SESSIONS = 2
PIECE_BYTES = 6 * 1024 * 1024
"""About 25,000 events; of the sizes from 2,500 to 100,000 the fastest, by a little."""

_TABLE = """
    DROP TABLE IF EXISTS baseline_events;
    CREATE TABLE baseline_events (
        source text NOT NULL,
        id text NOT NULL,
        type text NOT NULL,
        subject text,
        time timestamptz NOT NULL,
        data jsonb NOT NULL,
        PRIMARY KEY (source, id));
"""
# Bytes that stand in no JSON text, so that a line is one field and nothing in it is special.
_COPY = r"COPY staging (line) FROM STDIN (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
_INSERT = """
    INSERT INTO baseline_events (source, id, type, subject, time, data)
    SELECT line ->> 'source', line ->> 'id', line ->> 'type', line ->> 'subject',
           (line ->> 'time')::timestamptz, line -> 'data'
      FROM staging ORDER BY 1, 2
        ON CONFLICT DO NOTHING
"""
_CHECK = """
    SELECT count(*), sum((data ->> 'input_tokens')::bigint)::bigint, sum((data ->> 'output_tokens')::bigint)::bigint
      FROM baseline_events
"""

_USAGE_TABLE = """
    CREATE UNLOGGED TABLE baseline_usage (
        subject text NOT NULL,
        time timestamptz NOT NULL,
        model text NOT NULL,
        input_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL);
"""
_USAGE_COPY = "COPY baseline_usage FROM STDIN (FORMAT csv, FREEZE)"
_USAGE_ROWS = """
    COPY (SELECT subject, strftime(time, '%Y-%m-%d %H:%M:%S.%fZ'), "dim:data.model", "num:data.input_tokens",
                 "num:data.output_tokens"
            FROM read_parquet($1)) TO $2 (FORMAT csv, HEADER false)
"""


def connection_text(data_dir: Path) -> str:
    """How the owner of the books' database reaches it. Somebody must hold the server running."""
    return Cluster(find_place(data_dir)).endpoint().owner


def make_table(conninfo: str) -> None:
    """An empty table of events."""
    with psycopg.connect(conninfo) as conn:
        conn.execute(_TABLE)


def check(conninfo: str, expected: Expected) -> None:
    """The table holds every event once."""
    with psycopg.connect(conninfo) as conn:
        found = conn.execute(_CHECK).fetchone()
        right = (expected.counted, int(expected.input_tokens.sum()), int(expected.output_tokens.sum()))
        require_equal("events and tokens in the baseline's table", found, right)


def make_usage_table(conninfo: str, store: EventStore, segments: list[str], file: Path) -> None:
    """The events of these segments as a table made for questions about usage: a column for what is asked.

    Not logged, for only reading it is measured; frozen and analysed, as it would be after a while.
    """
    cursor = store.cursor()
    cursor.execute(_USAGE_ROWS, [segments, str(file)])
    cursor.close()
    with psycopg.connect(conninfo) as conn:
        conn.execute(_USAGE_TABLE)
        with open(file, "rb") as stream, conn.cursor().copy(_USAGE_COPY) as copy:
            while part := stream.read(1 << 20):
                copy.write(part)
        conn.execute("CREATE INDEX ON baseline_usage (subject, time)")
        conn.execute("ANALYZE baseline_usage")
    file.unlink()


def load(data_dir: Path, file: Path, expected: Expected) -> Stretch:
    """Load a file of events into an empty table, and say what that took."""
    conninfo = connection_text(data_dir)
    make_table(conninfo)
    failures: list[BaseException] = []
    with open(file, "rb") as stream, stretch(postmaster(data_dir)) as measured:
        pieces, turn = _pieces(stream), threading.Lock()
        sessions = [
            threading.Thread(target=_session, args=(conninfo, pieces, turn, failures))
            for _ in range(SESSIONS)
        ]
        for session in sessions:
            session.start()
        for session in sessions:
            session.join()
    if failures:
        raise failures[0]
    check(conninfo, expected)
    return measured


def _pieces(stream: object) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(PIECE_BYTES):  # type: ignore[attr-defined]
        end = chunk.rfind(b"\n") + 1
        yield rest + chunk[:end]
        rest = chunk[end:]
    if rest:
        yield rest


def _session(
    conninfo: str, pieces: Iterator[bytes], turn: threading.Lock, failures: list[BaseException]
) -> None:
    try:
        with closing(psycopg.connect(conninfo, autocommit=True)) as conn:
            conn.execute("CREATE TEMP TABLE staging (line jsonb) ON COMMIT DELETE ROWS")
            while not failures:
                with turn:
                    piece = next(pieces, None)
                if piece is None:
                    return
                with conn.transaction():
                    with conn.cursor().copy(_COPY) as copy:
                        copy.write(piece)
                    conn.execute(_INSERT)
    except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
        failures.append(error)
