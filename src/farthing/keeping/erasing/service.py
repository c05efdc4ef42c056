"""Use cases of erasing: ask for it, carry it on, see how far it came.

    asked for -> events -> books -> cleaning -> complete
                 segments,  rows     replaced files and pages are gone
                 log lines           (documents: at once, or when their time is over)

From the moment it is asked for, events of the customer's subjects count no more. Every part is begun again where it
was cut short; what is done is written down with it. The engine carries on what is under way, and so does the command.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from farthing.db import Books
from farthing.db.erasing import erasing_transaction, is_checkpointed
from farthing.db.pool import BooksConnection
from farthing.db.secret import load_secret
from farthing.events.erasing.erase import Erased, erase_from_log, erase_from_segments, words_of_others
from farthing.events.erasing.erased import Words, subject_hash
from farthing.events.store import books as event_rows
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.due import open_bills, parted
from farthing.invoicing.run import usage_needed
from farthing.invoicing.service import subscribed_by
from farthing.keeping.erasing import documents_store, identity_store, store
from farthing.keeping.erasing.cleaning import cleaned
from farthing.keeping.erasing.documents import document_left
from farthing.keeping.erasing.model import Erasure, Stage
from farthing.keeping.erasing.restored_store import select_kept_erasures
from farthing.keeping.model import KeptErasure
from farthing.keeping.store import unbilled_files
from farthing.kernel.errors import Conflict, NotFound
from farthing.usage.store import spans_table, subjects

DOCUMENTS_KEPT_YEARS = 10
"""How long after the year of the last one issued documents are kept, unless they are erased at once."""
PSEUDONYM_BYTES = 10
LOCK_FILE = "erasing.lock"

Clock = Callable[[], datetime]
Seal = Callable[[], None]
"""Has everything sealed that stands in the log."""


def request_erasure(
    books: Books, event_store: EventStore, tenant_id: int, key: str, now: datetime, *, documents: bool = False
) -> tuple[Erasure, bool]:
    """Begin to erase a customer; whether that is new. From now on its events do not count.

    documents: its invoices and credit notes at once as well; else when the time is over for which they are kept.

    Raises:
        NotFound: `customer_not_found`.
        Conflict: `customer_subscribed`, `customer_unbilled`, `customer_in_use`: something is still to come of it.
    """
    secret = load_secret(event_store.data_dir)
    with books.read_only(tenant_id) as conn:
        standing = store.select_customer_id(conn, tenant_id, key)
        known = (
            store.select_erasure_of_subject(conn, tenant_id, subject_hash(secret, tenant_id, key))
            if standing is None
            else store.select_erasure_of(conn, tenant_id, standing)
        )
    if standing is None and known is None:
        raise NotFound("customer_not_found", f"there is no customer {key!r}", path="customer")
    if known is None and standing is not None:
        _refuse_unfinished(books, event_store, tenant_id, standing, now)
    with books.transaction(tenant_id) as conn:
        if known is None and standing is not None:
            store.lock_customer(conn, tenant_id, standing)
            known = store.select_erasure_of(conn, tenant_id, standing)
            if known is None:
                erasure_id = _begin(conn, tenant_id, standing, secret, now, documents=documents)
                made = store.select_erasure(conn, tenant_id, erasure_id)
                assert made is not None
                return made, True
        assert known is not None
        if documents:
            store.set_documents_from(conn, tenant_id, known.erasure_id, now)
        found = store.select_erasure(conn, tenant_id, known.erasure_id)
        assert found is not None
        return found, False


def _begin(
    conn: BooksConnection, tenant_id: int, customer_id: int, secret: bytes, now: datetime, *, documents: bool
) -> int:
    if moving := store.select_what_moves(conn, tenant_id, customer_id):
        raise Conflict("customer_in_use", f"{'; '.join(moving)}: erase the customer when that has ended")
    last = store.last_document_at(conn, tenant_id, customer_id)
    kept_until = (
        now if documents or last is None else datetime(last.year + 1 + DOCUMENTS_KEPT_YEARS, 1, 1, tzinfo=UTC)
    )
    erasure_id = store.insert_erasure(
        conn,
        tenant_id,
        customer_id,
        f"erased-{os.urandom(PSEUDONYM_BYTES).hex()}",
        os.urandom(32),
        kept_until,
        now,
    )
    _remember_subjects(conn, tenant_id, erasure_id, customer_id, secret)
    return erasure_id


def _remember_subjects(
    conn: BooksConnection, tenant_id: int, erasure_id: int, customer_id: int, secret: bytes
) -> int:
    """How many were not known yet."""
    names = store.select_subjects(conn, tenant_id, customer_id)
    hashes = [
        subject_hash(secret, tenant_id, name)
        for name in names
        if not store.any_pseudonym(conn, tenant_id, name)
    ]
    return store.insert_erased_subjects(conn, tenant_id, erasure_id, hashes)


def _refuse_unfinished(
    books: Books, event_store: EventStore, tenant_id: int, customer_id: int, now: datetime
) -> None:
    billed = subscribed_by(books, tenant_id, now, [customer_id])
    going_on = open_bills(billed.subscriptions, billed.customers, billed.plans, now, billed.terms)
    if going_on:
        raise Conflict(
            "customer_subscribed",
            f"the subscription {going_on[0].subscription.key} is going on: cancel it, and bill up to its end",
        )
    with books.read_only(tenant_id) as conn:
        missing, _ = parted(billed.due(now), invoice_rows.select_issued(conn, tenant_id))
        segments = event_rows.segments(conn, tenant_id)
        known = subjects(conn, tenant_id, [customer_id])
    spans = spans_table([span for some in usage_needed(missing).values() for span in some])
    if len(spans) and segments and unbilled_files(event_store, segments, known, spans):
        raise Conflict("customer_unbilled", "usage of the customer has no invoice yet: bill it first")


def list_erasures(books: Books, tenant_id: int, after: int, limit: int) -> list[Erasure]:
    """Erasures in the order in which they were asked for."""
    with books.read_only(tenant_id) as conn:
        return store.select_erasures_after(conn, tenant_id, after, limit)


def kept_erasures(books: Books, tenant_id: int) -> list[KeptErasure]:
    """All of them as a list to keep beside old backups (`farthing restore --erasures`)."""
    with books.read_only(tenant_id) as conn:
        return select_kept_erasures(conn, tenant_id)


def get_erasure(books: Books, tenant_id: int, erasure_id: int) -> Erasure:
    """One of them. Raises NotFound `erasure_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = store.select_erasure(conn, tenant_id, erasure_id)
    if found is None:
        raise NotFound("erasure_not_found", f"there is no erasure {erasure_id}")
    return found


def carry_on(books: Books, event_store: EventStore, tenant_id: int, seal: Seal, clock: Clock) -> int:
    """Do what can be done now of the erasures that are under way. How many there are.

    Nothing where another process is at it. Raises Corrupt, Unavailable: it goes on when that has been put right.
    """
    with books.read_only(tenant_id) as conn:
        under_way = store.select_under_way(conn, tenant_id, clock())
    if under_way:
        with _only_eraser(event_store.data_dir) as alone:
            if alone:
                for erasure in under_way:
                    _Eraser(books, event_store, tenant_id, erasure.erasure_id, seal, clock).carry_on()
    return len(under_way)


@contextmanager
def _only_eraser(data_dir: Path) -> Iterator[bool]:
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class _Eraser:
    """One erasure, carried on from where it is."""

    def __init__(
        self, books: Books, event_store: EventStore, tenant_id: int, erasure_id: int, seal: Seal, clock: Clock
    ) -> None:
        self._books, self._event_store, self._tenant_id = books, event_store, tenant_id
        self._erasure_id, self._seal, self._clock = erasure_id, seal, clock

    def carry_on(self) -> None:
        erasure = get_erasure(self._books, self._tenant_id, self._erasure_id)
        while erasure.stage() in (Stage.EVENTS, Stage.BOOKS):
            if erasure.stage() is Stage.EVENTS:
                self._events(erasure)
            else:
                self._rows(erasure)
            erasure = get_erasure(self._books, self._tenant_id, self._erasure_id)
        if erasure.documents_at is None and erasure.documents_from <= self._clock():
            self._documents(erasure)
            erasure = get_erasure(self._books, self._tenant_id, self._erasure_id)
        self._clean(erasure)

    def _erased(self, erasure: Erasure) -> Erased:
        """Who it is; what its words become is said once, and stays."""
        assert erasure.word_key is not None
        with self._books.read_only(self._tenant_id) as conn:
            names = store.select_subjects(conn, self._tenant_id, erasure.customer_id)
        own = tuple(name for name in names if name != erasure.pseudonym)
        if erasure.kept_words is None:
            kept = words_of_others(self._books, self._event_store, self._tenant_id, own)
            with self._books.transaction(self._tenant_id) as conn:
                sold = store.select_plan_definitions(conn, self._tenant_id)
                kept |= {word for row in sold for word in _texts_in(row["said"])}
                store.set_kept_words(conn, self._tenant_id, self._erasure_id, kept)
            erasure = get_erasure(self._books, self._tenant_id, self._erasure_id)
        assert erasure.kept_words is not None
        assert erasure.word_key is not None
        return Erased(own, erasure.pseudonym, Words(erasure.word_key, erasure.kept_words))

    def _events(self, erasure: Erasure) -> None:
        with self._books.transaction(self._tenant_id) as conn:
            self._remember(conn, erasure)
        # What a sealer had read before it could know of the erasure is behind it after this.
        self._seal()
        erased = self._erased(erasure)
        erase_from_segments(self._books, self._event_store, self._tenant_id, erased, self._clock())
        erase_from_log(self._books, self._event_store, self._tenant_id, erased.subjects)
        with self._books.transaction(self._tenant_id) as conn:
            store.set_events_done(conn, self._tenant_id, self._erasure_id, self._clock())

    def _remember(self, conn: BooksConnection, erasure: Erasure) -> int:
        secret = load_secret(self._event_store.data_dir)
        return _remember_subjects(conn, self._tenant_id, self._erasure_id, erasure.customer_id, secret)

    def _rows(self, erasure: Erasure) -> None:
        erased = self._erased(erasure)
        tenant_id, now = self._tenant_id, self._clock()
        with erasing_transaction(self._books.endpoint, tenant_id) as conn:
            store.lock_customer(conn, tenant_id, erasure.customer_id)
            if self._remember(conn, erasure):  # It got an alias meanwhile, whose events are to be looked at.
                store.set_events_done(conn, tenant_id, self._erasure_id, None)
                return
            said = identity_store.select_words(conn, tenant_id, erasure.customer_id)
            identity_store.replace_identity(
                conn,
                tenant_id,
                erasure.customer_id,
                erasure.pseudonym,
                {word: erased.words.instead_of(word) for word in said},
                erased.subjects,
                [msgspec.json.encode(name) for name in erased.subjects],
                now,
            )
            store.set_books_done(conn, tenant_id, self._erasure_id, now)

    def _documents(self, erasure: Erasure) -> None:
        with erasing_transaction(self._books.endpoint, self._tenant_id) as conn:
            for credit_notes in (False, True):
                self._replace_documents(conn, erasure, credit_notes=credit_notes)
            store.set_documents_done(conn, self._tenant_id, self._erasure_id, self._clock())

    def _replace_documents(self, conn: BooksConnection, erasure: Erasure, *, credit_notes: bool) -> None:
        after = 0
        while some := documents_store.select_documents(
            conn, self._tenant_id, erasure.customer_id, after, credit_notes=credit_notes
        ):
            documents_store.replace_documents(
                conn,
                self._tenant_id,
                [
                    (
                        one.document_id,
                        document_left(
                            one.document,
                            erasure.pseudonym,
                            one.subscription,
                            one.lines,
                            credit_note=credit_notes,
                        ),
                    )
                    for one in some
                ],
                credit_notes=credit_notes,
            )
            after = some[-1].document_id

    def _clean(self, erasure: Erasure) -> None:
        tenant_id, now = self._tenant_id, self._clock()
        assert erasure.events_at is not None
        place = erasure.cleaned_lsn
        if erasure.cleaned_at is None:
            place = cleaned(self._books, self._event_store.data_dir, tenant_id, erasure.events_at, now)
            if place is None:
                return
            with self._books.transaction(tenant_id) as conn:
                store.set_cleaned(conn, tenant_id, self._erasure_id, place, now)
        assert place is not None
        done = is_checkpointed(self._books.endpoint, place)
        with self._books.transaction(tenant_id) as conn:
            if done is None:
                store.set_cleaned(conn, tenant_id, self._erasure_id, None, now)
            elif done and erasure.documents_at is not None:
                store.set_complete(conn, tenant_id, self._erasure_id, now)


def _texts_in(said: object) -> Sequence[str]:
    """Every text in a JSON value."""
    match said:
        case str():
            return [said]
        case dict():
            return [text for one in said.values() for text in _texts_in(one)]
        case list():
            return [text for one in said for text in _texts_in(one)]
        case _:
            return []
