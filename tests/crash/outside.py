"""What the system holds, read without its code: SQL for the books, pyarrow for the segments."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pa_parquet
from psycopg.rows import dict_row

from tests.crash import traffic

COLUMNS = ("source", "id", "type", "subject", "time", "data")
TOKENS_COLUMN = "num:data.tokens"


@dataclass(frozen=True, slots=True)
class Row:
    """A counted event, as a segment has it."""

    source: str
    id: str
    type: str
    subject: str | None
    time: Any
    data: str
    tokens: Decimal | None


@dataclass(frozen=True, slots=True)
class Invoice:
    """An issued invoice."""

    number: str
    customer: str
    document: str


@dataclass(frozen=True, slots=True)
class Held:
    """Everything about one tenant at one moment."""

    rows: list[Row]
    quarantine: list[tuple[str, str]]
    """(reason, line as it was received)."""
    tally: dict[str, int]


class Outside:
    """A reader of one data directory. Segments are immutable, so each file is read once."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._segments: dict[int, dict[str, list[Row]]] = {}

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """A connection to the embedded PostgreSQL, wherever its socket is."""
        lines = (self._data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        return psycopg.connect(
            host=lines[4], port=lines[3], dbname="farthing", user="farthing_owner", row_factory=dict_row
        )

    def tenant_ids(self) -> dict[str, int]:
        """Key and number of each tenant."""
        with self.connect() as conn:
            conn.execute("SELECT set_config('farthing.operator', 'on', true)")
            return {
                row["key"]: row["tenant_id"] for row in conn.execute("SELECT key, tenant_id FROM tenants")
            }

    def held(self, tenant_id: int) -> Held:
        """All of a tenant's events, wherever they stand. Raises what reading a file does."""
        while True:
            before = self.segment_paths(tenant_id)
            try:
                return self._held(tenant_id)
            except FileNotFoundError:
                if self.segment_paths(tenant_id) == before:  # else it was put together with others meanwhile
                    raise

    def _held(self, tenant_id: int) -> Held:
        with self.connect() as conn:
            self._bind(conn, tenant_id)
            paths = [row["path"] for row in conn.execute("SELECT path FROM segments ORDER BY segment_id")]
            quarantine = [
                (row["reason"], bytes(row["raw"]).decode(errors="replace"))
                for row in conn.execute("SELECT reason, raw FROM quarantine")
            ]
            tally = conn.execute(
                "SELECT coalesce(sum(accepted), 0)::bigint AS accepted,"
                " coalesce(sum(counted), 0)::bigint AS counted,"
                " coalesce(sum(duplicate), 0)::bigint AS duplicate,"
                " coalesce(sum(quarantined), 0)::bigint AS quarantined FROM seals"
            ).fetchone()
            assert tally is not None
        read = self._segments.get(tenant_id, {})
        self._segments[tenant_id] = {path: read.get(path) or self._read(path) for path in paths}
        rows = [row for segment in self._segments[tenant_id].values() for row in segment]
        return Held(rows, quarantine, dict(tally))

    def invoices(self, tenant_id: int) -> list[Invoice]:
        """All issued invoices, oldest first."""
        with self.connect() as conn:
            self._bind(conn, tenant_id)
            found = conn.execute(
                "SELECT number, key AS customer, document"
                "  FROM invoices JOIN customers USING (tenant_id, customer_id) ORDER BY number"
            ).fetchall()
        return [Invoice(row["number"], row["customer"], row["document"]) for row in found]

    def billed(self, tenant_id: int) -> dict[tuple[str, datetime], tuple[Decimal, Decimal]]:
        """(calls, tokens) on all issued invoices by customer and the month they are of, corrections included.

        By what they cost: a correction says the amount, and one of that as its quantity.
        """
        with self.connect() as conn:
            self._bind(conn, tenant_id)
            found = conn.execute(
                "SELECT key AS customer, service_start,"
                "       coalesce(sum(amount_exact) FILTER (WHERE rate_card = 'calls'), 0) AS calls,"
                "       coalesce(sum(amount_exact) FILTER (WHERE rate_card = 'tokens'), 0) AS tokens"
                "  FROM invoice_lines JOIN invoices USING (tenant_id, invoice_id)"
                "  JOIN customers USING (tenant_id, customer_id) GROUP BY key, service_start"
            ).fetchall()
        return {
            (row["customer"], row["service_start"].astimezone(UTC)): (
                row["calls"] / traffic.PRICE_OF_CALL,
                row["tokens"] / traffic.PRICE_OF_TOKEN,
            )
            for row in found
        }

    def segment_paths(self, tenant_id: int) -> list[str]:
        """The segments in force, oldest first, relative to the data directory."""
        return self._paths("SELECT path FROM segments ORDER BY segment_id", tenant_id)

    def run_paths(self, tenant_id: int) -> list[str]:
        """The id runs in force, likewise."""
        return self._paths("SELECT path FROM id_runs ORDER BY run_id", tenant_id)

    def cursors(self) -> dict[str, int]:
        """How far each log file is sealed."""
        with self.connect() as conn:
            return {
                row["log_file"]: row["sealed_to"]
                for row in conn.execute("SELECT log_file, sealed_to FROM log_cursors")
            }

    def _paths(self, statement: str, tenant_id: int) -> list[str]:
        with self.connect() as conn:
            self._bind(conn, tenant_id)
            return [row["path"] for row in conn.execute(statement)]

    def _bind(self, conn: psycopg.Connection[dict[str, Any]], tenant_id: int) -> None:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.execute("SELECT set_config('farthing.tenant', %s, true)", [str(tenant_id)])

    def _read(self, path: str) -> list[Row]:
        table = pa_parquet.read_table(self._data_dir / path)
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        tokens = (
            table.column(TOKENS_COLUMN).to_pylist()
            if TOKENS_COLUMN in table.column_names
            else [None] * table.num_rows
        )
        return [Row(*values) for values in zip(*columns, tokens, strict=True)]


def exact_json(text: str) -> Any:
    """JSON with numbers as decimals, never as floats."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)
