"""What an event is known by, and what it says, as hashes (DuckDB): the same from a log line and from a segment.

Identity is source and id. Content is everything else that the client said: type, subject, its own time (an
instant, however it was spelt, or its absence) and the bytes of data. What hangs on the receipt is no part of it.
Lengths stand before texts, so that no two events give the same text to hash; of no subject there is only the colon.
An event that was erased has its hashes instead of an id (`events/erasing/erased.py`).
"""

from farthing.events.erasing.erased import ERASED_SOURCE

HASH_MACROS = (
    # `concat` puts texts together faster than `||`, and takes NULL for nothing.
    """
    CREATE MACRO event_identity(source, id) AS CASE WHEN source IS NOT NULL AND id IS NOT NULL
        THEN md5_number(concat(length(source), ':', source, id))::UHUGEINT END
    """,
    """
    CREATE MACRO event_content(type, subject, own_us, data) AS md5_number(concat(
        strlen(type), ':', type, strlen(subject), ':', subject, coalesce(own_us::VARCHAR, '-'), ':', data))::UHUGEINT
    """,
    # A correction says more than its content: which event it corrects, and why.
    """
    CREATE MACRO correction_content(content, target_source, target_id, reason) AS md5_number(concat(
        content::VARCHAR, ':', strlen(target_source), ':', target_source,
        strlen(target_id), ':', target_id, reason))::UHUGEINT
    """,
    f"CREATE MACRO is_erased(source) AS source = '{ERASED_SOURCE}'",
    "CREATE MACRO hash_bits(id, place) AS TRY_CAST('0x' || substr(id, place, 16) AS UBIGINT)::UHUGEINT",
    # Of an event in a segment, where it may be an erased one.
    """
    CREATE MACRO held_identity(source, id) AS
        CASE WHEN is_erased(source) THEN (hash_bits(id, 1) << 64) + hash_bits(id, 17)
             ELSE event_identity(source, id) END
    """,
    """
    CREATE MACRO held_content(source, id, content) AS
        CASE WHEN is_erased(source) THEN hash_bits(id, 33) << 64 ELSE content END
    """,
)
"""Made on every connection that hashes events."""

HASHES = """
    (identity >> 64)::UBIGINT AS key, (identity & 18446744073709551615::UHUGEINT)::UBIGINT AS check_bits,
    (content >> 64)::UBIGINT AS content
"""
"""The three columns of the id index, from `identity` and `content`."""

SEGMENT_FILES = """
    (SELECT * FROM read_parquet(?, union_by_name = true)
      UNION ALL BY NAME SELECT NULL::BOOLEAN AS own_time WHERE FALSE)
"""
"""Segments to read, all of them with a column `own_time`, which the oldest lack."""
OWN_TIME = "coalesce(own_time, time <> received_at)"
"""Whether the event said its time: where nobody noted it, a time that is not the receipt's was said."""
