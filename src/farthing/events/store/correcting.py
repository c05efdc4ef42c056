"""Corrections in a decoded batch: which of its events correct others, and which are corrected. Only SQL (DuckDB)."""

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.events.correcting.rules import Correcting, Identity
from farthing.events.ids.deduplicate import Outcome
from farthing.events.model import VOID_TYPE
from farthing.events.store.corrections import VoidedEvent
from farthing.kernel.instant import from_unix_microseconds


def find_corrections(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Make the table `correcting` of the batch's corrections, and let what they say be part of their content.

    So a repeat with another target is another event with the same id: a conflict. (A line that names a target is never
    plain.) False where there are none, as
    nearly always; then there is no table.
    """
    if not cursor.execute("SELECT 1 FROM decoded WHERE corrects OR type = ? LIMIT 1", [VOID_TYPE]).fetchone():
        return False
    cursor.execute(
        """
        CREATE OR REPLACE TEMP TABLE correcting AS
        SELECT lines.row, found[1] AS target_id, coalesce(found[2], source) AS target_source,
               coalesce(found[3], '') AS reason
          FROM (SELECT row, json_extract_string(line, ['$.corrects', '$.correctssource', '$.correctsreason']) AS found
                  FROM lines
                 WHERE row IN (SELECT row FROM decoded WHERE (corrects OR type = ?) AND key IS NOT NULL)) AS lines
          JOIN decoded USING (row)
        """,
        [VOID_TYPE],
    )
    cursor.execute(
        """
        UPDATE general SET content = (correction_content(
                   event_content(type, subject, CASE WHEN own_time THEN epoch_us(time) END, data),
                   target_source, target_id, reason) >> 64)::UBIGINT
          FROM correcting WHERE general.row = correcting.row AND target_id IS NOT NULL
        """
    )
    return True


def all_corrections(cursor: duckdb.DuckDBPyConnection) -> list[Correcting]:
    """The corrections of the batch, repeats and all, in the order of the log."""
    found = cursor.execute(
        """
        SELECT row, source, id, type, target_source, target_id, reason, received_us
          FROM correcting JOIN decoded USING (row) ORDER BY row
        """
    ).fetchall()
    return [
        Correcting(
            row,
            source,
            event_id,
            event_type,
            None if target_id is None else (target_source, target_id),
            reason,
            at,
        )
        for row, source, event_id, event_type, target_source, target_id, reason, at in found
    ]


def add_faults(cursor: duckdb.DuckDBPyConnection, refused: Mapping[int, str]) -> None:
    """Say of events of the batch why they cannot be counted. What was wrong with them before stays the reason."""
    cursor.register(
        "refused",
        pa.table(
            {
                "row": pa.array(list(refused), pa.int64()),
                "fault": pa.array(list(refused.values()), pa.string()),
            }
        ),
    )
    cursor.execute(
        "INSERT INTO faults SELECT row, fault FROM refused WHERE row NOT IN (SELECT row FROM faults)"
    )
    cursor.unregister("refused")


def counted_among(
    cursor: duckdb.DuckDBPyConnection, targets: Sequence[Identity], outcomes: npt.NDArray[np.uint8]
) -> list[VoidedEvent]:
    """The events of the decoded batch that count, with these identities. outcomes: of every event."""
    cursor.register(
        "targets",
        pa.table(
            {
                "source": pa.array([source for source, _ in targets], pa.string()),
                "id": pa.array([event_id for _, event_id in targets], pa.string()),
            }
        ),
    )
    found = cursor.execute(
        "SELECT row, source, id, type, subject, epoch_us(time), received_us"
        " FROM decoded JOIN targets USING (source, id)"
    ).fetchall()
    cursor.unregister("targets")
    return [
        VoidedEvent(
            source,
            event_id,
            event_type,
            subject,
            from_unix_microseconds(time_us),
            from_unix_microseconds(received_us),
        )
        for row, source, event_id, event_type, subject, time_us, received_us in found
        if outcomes[row] == Outcome.COUNTED
    ]
