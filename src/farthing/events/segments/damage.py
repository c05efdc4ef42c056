"""Segments that are not what was written: nothing is computed from them, and nobody gets a smaller sum instead.

A damaged file is put into `damaged/` in the data directory, so that nothing reads it by mistake; for a missing
one a mark is put there. Its row stays in force: what asks for its events fails, by name, until the file is
back at its place as it was. What does not touch it goes on.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from farthing.events.segments.verified import CHANGED, MISSING
from farthing.events.store.books import Segment
from farthing.events.store.duckdb import EventStore
from farthing.kernel.errors import Corrupt

SEGMENT_DAMAGED = "segment_damaged"
DAMAGED_DIR = "damaged"
NAMED_MAX = 5
"""Damaged files that one error names."""

_MARK = ".missing"


def check_segments(store: EventStore, tenant_id: int, segments: Sequence[Segment]) -> None:
    """Return if every one of these segments holds what was written to it. Raises Corrupt `segment_damaged`."""
    damaged = damaged_segments(store, segments)
    if not damaged:
        return
    events = sum(segment.events for segment in segments if segment.path in damaged)
    said = [f"{path} {complaint}" for path, complaint in damaged.items()]
    more = f"; and {len(said) - NAMED_MAX} more" if len(said) > NAMED_MAX else ""
    raise Corrupt(
        SEGMENT_DAMAGED,
        f"{events:,} counted events of tenant {tenant_id} cannot be read: {'; '.join(said[:NAMED_MAX])}{more}",
    )


def damaged_segments(store: EventStore, segments: Sequence[Segment]) -> dict[str, str]:
    """Those that are damaged (path), and how; from now on they are out of the way."""
    found = store.verified.complaints({segment.path: segment.checksum for segment in segments})
    for path, complaint in found.items():
        aside = store.data_dir / DAMAGED_DIR / path
        if complaint == MISSING and aside.exists():
            found[path] = missing_complaint(store.data_dir, path)
        elif complaint in (MISSING, CHANGED):
            with suppress(OSError):  # To say that it is damaged is more important than to move it.
                aside.parent.mkdir(parents=True, exist_ok=True)
                if complaint == CHANGED:
                    (store.data_dir / path).replace(aside)
                else:
                    _mark(aside).touch()
    return found


def missing_complaint(data_dir: Path, path: str) -> str:
    """What is wrong with a file that is not at its place."""
    return f"is damaged and lies in {DAMAGED_DIR}/" if (data_dir / DAMAGED_DIR / path).exists() else MISSING


def known_damage(data_dir: Path, tenant_id: int | None = None) -> list[str]:
    """The segments (of one tenant, or all) that were found damaged or missing and are not back at their place."""
    aside = data_dir / DAMAGED_DIR
    paths = {
        str(path.relative_to(aside)).removesuffix(_MARK)
        for path in aside.glob(f"segments/{tenant_id or '*'}/*")
    }
    return sorted(path for path in paths if not (data_dir / path).exists())


def forget_missing(data_dir: Path, path: str) -> None:
    """Take the mark of a missing file away: it has a mark, and no segment in force any more."""
    _mark(data_dir / DAMAGED_DIR / path).unlink(missing_ok=True)


def _mark(aside: Path) -> Path:
    return aside.with_name(aside.name + _MARK)
