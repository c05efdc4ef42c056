"""The hashes of events, of a decoded batch and of segments, as the id index keeps them. Only SQL (DuckDB)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.events.ids.index import Identities
from farthing.events.store.identity_sql import HASHES, OWN_TIME, SEGMENT_FILES
from farthing.events.store.plain_lines import PlainLines


def identities(
    cursor: duckdb.DuckDBPyConnection, plain: PlainLines | None
) -> tuple[Identities, npt.NDArray[np.bool_]]:
    """The hashes of the batch in log order, and which rows have a fault. plain: what is registered as such."""
    columns = cursor.execute("SELECT row, key, check_bits, content FROM general").fetchnumpy()
    general, row = _identities(columns), columns["row"]
    hashes = np.empty((3, len(row) + (0 if plain is None else len(plain))), dtype=np.uint64)
    hashes[0, row], hashes[1, row], hashes[2, row] = general.keys, general.checks, general.contents
    if plain is not None:
        plain.hashes_into(hashes)
    faulty = np.zeros(hashes.shape[1], dtype=np.bool_)
    faulty[cursor.execute("SELECT row FROM faults").fetchnumpy()["row"]] = True
    return Identities(hashes[0], hashes[1], hashes[2]), faulty


def segment_identities(
    cursor: duckdb.DuckDBPyConnection, paths: Sequence[Path], corrections: pa.Table | None = None
) -> Identities:
    """The hashes of the events of segments, as they were when the events were sealed.

    corrections: those of them that correct others, by (source, id): target_source, target_id, reason.
    """
    files = [str(path) for path in paths]
    hashed = f"""
        SELECT source, id, held_identity(source, id) AS identity,
               event_content(type, subject, CASE WHEN {OWN_TIME} THEN epoch_us(time) END, data) AS content
          FROM {SEGMENT_FILES}
    """
    if corrections is not None and len(corrections):
        cursor.register("corrections", corrections)
        said = "correction_content(content, target_source, target_id, reason)"
        hashed = (
            f"SELECT source, id, identity, CASE WHEN target_id IS NULL THEN content ELSE {said} END AS content "
            f"FROM ({hashed}) LEFT JOIN corrections USING (source, id)"
        )
    hashed = f"SELECT identity, held_content(source, id, content) AS content FROM ({hashed})"
    return _identities(cursor.execute(f"SELECT {HASHES} FROM ({hashed})", [files]).fetchnumpy())


def row_identities(
    cursor: duckdb.DuckDBPyConnection, rows: str = "segment_rows", parameters: Sequence[str] = ()
) -> Identities:
    """The hashes of rows with a source and an id, by their name or the function that reads them.

    Content is left out: it takes reading and hashing all of `data`.
    """
    hashed = f"SELECT held_identity(source, id) AS identity, 0::UHUGEINT AS content FROM {rows}"
    return _identities(cursor.execute(f"SELECT {HASHES} FROM ({hashed})", list(parameters)).fetchnumpy())


def _identities(columns: Mapping[str, npt.NDArray[np.uint64]]) -> Identities:
    # Lines that are no JSON have no identity; they are faulty, so the zeros are never compared.
    keys, checks, contents = (
        np.ma.filled(columns[name], 0).astype(np.uint64, copy=False)
        for name in ("key", "check_bits", "content")
    )
    return Identities(keys, checks, contents)
