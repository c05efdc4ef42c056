"""Corrections while sealing: what is known of a tenant's corrections, and what those of a batch bring about.

A correction takes effect in the transaction that seals it (law 4): the event that it corrects is looked up first,
in the batch itself and in the segments that may hold it. Where the event has not come yet, the seal that counts it
voids it. The only sealer there is remembers which events are waited for like that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from farthing.db import Books
from farthing.events.correcting.rules import Correcting, Identity
from farthing.events.ids.index import IdRun, find
from farthing.events.segments.damage import damaged_segments
from farthing.events.store import correcting, finding
from farthing.events.store import corrections as correction_rows
from farthing.events.store.corrections import NewCorrection, VoidedEvent
from farthing.events.store.duckdb import EventStore
from farthing.kernel.instant import from_unix_microseconds


@dataclass(frozen=True, slots=True)
class CorrectionEffect:
    """What a batch does to corrections: those that it brings, and the events that no longer count from now on."""

    corrections: tuple[NewCorrection, ...] = ()
    voided: tuple[VoidedEvent, ...] = ()


NO_EFFECT = CorrectionEffect()


class KnownCorrections:
    """The corrections of a tenant, for whoever is the only sealer."""

    def __init__(self, books: Books, store: EventStore, tenant_id: int) -> None:
        self._books = books
        self._store = store
        self._tenant_id = tenant_id
        with books.read_only(tenant_id) as conn:
            self._awaited = dict.fromkeys(correction_rows.waiting_targets(conn, tenant_id))
            # Whether anything was ever removed or erased; else nobody looks for it.
            self._any_removed = correction_rows.any_removed(conn, tenant_id)

    def about(self, targets: Sequence[Identity]) -> tuple[dict[Identity, Identity], set[Identity]]:
        """Those of these events that have a correction, with it, and those that are voids themselves."""
        if not targets:
            return {}, set()
        with self._books.read_only(self._tenant_id) as conn:
            return (
                correction_rows.corrected_among(conn, self._tenant_id, targets),
                correction_rows.voids_among(conn, self._tenant_id, targets),
            )

    def removed_among(self, targets: Sequence[Identity], runs: Sequence[IdRun]) -> set[Identity]:
        """Those of these events that were counted, and are in no segment any more."""
        if not targets:
            return set()
        if not self._any_removed:
            with self._books.read_only(self._tenant_id) as conn:
                self._any_removed = correction_rows.any_removed(conn, self._tenant_id)
            if not self._any_removed:
                return set()
        wanted = sorted(set(targets))
        hashes = finding.identity_hashes(self._store, wanted)
        counted, _ = find(runs, hashes.keys, hashes.checks)
        known = [identity for identity, was in zip(wanted, counted, strict=True) if was]
        found, unreadable = self._earlier(known)
        return set(known).difference(unreadable, ((one.source, one.event_id) for one in found))

    def effect_of(
        self,
        cursor: duckdb.DuckDBPyConnection,
        standing: Sequence[Correcting],
        outcomes: npt.NDArray[np.uint8],
    ) -> CorrectionEffect:
        """What a batch brings about, whose events stand in `decoded`. outcomes: of every event."""
        targets = [one.target for one in standing if one.target is not None]
        if not targets and not self._awaited:
            return NO_EFFECT
        voided = correcting.counted_among(cursor, [*targets, *self._awaited], outcomes)
        missing = set(targets).difference((one.source, one.event_id) for one in voided)
        earlier, unreadable = self._earlier(sorted(missing))
        voided += earlier
        return CorrectionEffect(
            tuple(
                NewCorrection(
                    "void" if one.is_void else "replace",
                    one.source,
                    one.event_id,
                    one.target,
                    one.reason,
                    one.target in unreadable,
                    from_unix_microseconds(one.received_us),
                )
                for one in standing
                if one.target is not None
            ),
            tuple(voided),
        )

    def _earlier(self, wanted: Sequence[Identity]) -> tuple[list[VoidedEvent], set[Identity]]:
        """Those of these events that were sealed before, and those that may be in a segment that is damaged."""
        if not wanted:
            return [], set()
        with self._books.read_only(self._tenant_id) as conn:
            segments = finding.segments_holding(conn, self._store, self._tenant_id, wanted)
        damaged = damaged_segments(self._store, segments)
        readable = [segment for segment in segments if segment.path not in damaged]
        found = [
            VoidedEvent(
                row["source"],
                row["id"],
                row["type"],
                row["subject"],
                from_unix_microseconds(row["time_us"]),
                from_unix_microseconds(row["received_us"]),
            )
            for row in finding.events_of(self._store, readable, wanted)
        ]
        lost = set(wanted).difference((one.source, one.event_id) for one in found) if damaged else set()
        return found, lost

    def committed(self, effect: CorrectionEffect) -> None:
        """The batch counts: what it voided is no longer waited for, what it corrects and has not come is."""
        voided = {(one.source, one.event_id) for one in effect.voided}
        self._awaited.update(dict.fromkeys(one.target for one in effect.corrections))
        for identity in voided:
            self._awaited.pop(identity, None)
