"""What is known of an erasure. It names nobody."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from farthing.kernel.instant import format_instant


class Stage(StrEnum):
    """How far an erasure came: what is done next."""

    EVENTS = "events"
    """Events are being taken out of segments and of the log."""
    BOOKS = "books"
    CLEANING = "cleaning"
    """Files that were replaced are waited for, and PostgreSQL's own."""
    DOCUMENTS_KEPT = "documents_kept"
    """All is done but issued documents, which are kept as long as the law wants them."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure. documents_from: from then on issued documents are erased as well."""

    erasure_id: int
    customer_id: int
    pseudonym: str
    documents_from: datetime
    requested_at: datetime
    word_key: bytes | None
    kept_words: frozenset[str] | None
    events_at: datetime | None
    books_at: datetime | None
    documents_at: datetime | None
    cleaned_at: datetime | None
    cleaned_lsn: str | None
    completed_at: datetime | None

    def stage(self) -> Stage:
        """What is to be done next."""
        if self.completed_at is not None:
            return Stage.COMPLETE
        if self.events_at is None:
            return Stage.EVENTS
        if self.books_at is None:
            return Stage.BOOKS
        if self.cleaned_at is None:
            return Stage.CLEANING
        return Stage.CLEANING if self.documents_at is not None else Stage.DOCUMENTS_KEPT


def erasure_json(erasure: Erasure) -> dict[str, Any]:
    """An erasure as it is shown."""

    def when(moment: datetime | None) -> str | None:
        return None if moment is None else format_instant(moment)

    return {
        "erasure": erasure.erasure_id,
        "pseudonym": erasure.pseudonym,
        "stage": erasure.stage().value,
        "documents_from": when(erasure.documents_from),
        "requested_at": when(erasure.requested_at),
        "completed_at": when(erasure.completed_at),
    }
