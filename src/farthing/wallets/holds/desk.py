"""The desk where authorisations are asked for: what comes while a transaction is under way shares the next one.

    wait for the turn -> gather -> one transaction for each tenant -> answers of what holds money or releases it
                                                                   -> the event log -> answers of what settles

The books first, then the log, then the answer: a settlement that is answered is in both. One thread works for
one process, so a busy wallet sees one update a batch; several processes take turns, and a batch closes only when its
turn has come.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from farthing.db import Books
from farthing.events.log.files import LogPosition, LogWriter
from farthing.kernel.errors import FarthingError, Unavailable
from farthing.wallets.holds.model import Asked, Outcome, Settle
from farthing.wallets.holds.service import Authorizations, Settled
from farthing.wallets.holds.upkeep import settled_block

BATCH_MAX = 500
"""Requests in one transaction."""
WAITING_MAX = 10_000
"""Requests that wait for their turn in one process."""
GATHER_SECONDS = 0.002
"""How long the next batch waits after one: who was answered asks again within that, and shares it."""

Answer = Callable[[Outcome | BaseException], None]
"""Called once, in the event loop, with what became of a request."""

_Waiting = tuple[Asked, Answer]


class Desk:
    """Takes requests in an event loop and applies them in batches, in a thread of its own."""

    def __init__(self, books: Books, log: LogWriter, now: Callable[[], datetime]) -> None:
        self._authorizations = Authorizations(books)
        self._log = log
        self._now = now
        self._waiting: dict[int, list[_Waiting]] = {}
        self._count = 0
        self._gathering = threading.Lock()  # around these two, of which the thread takes
        self._working = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="authorizations")

    def ask(self, tenant_id: int, asked: Asked, answer: Answer) -> None:
        """Have a request decided. Raises Unavailable `too_busy` where too many wait."""
        with self._gathering:
            if self._count >= WAITING_MAX:
                raise Unavailable("too_busy", "too many authorisations wait; send again in a moment")
            self._waiting.setdefault(tenant_id, []).append((asked, answer))
            self._count += 1
        if not self._working:
            # Not yet: whatever else has arrived by now shall share the transaction.
            self._working = True
            asyncio.get_running_loop().call_soon(self._begin)

    async def decide(self, tenant_id: int, asked: Asked) -> Outcome:
        """The same for whoever can wait for it. Raises what could not be decided."""
        done: asyncio.Future[Outcome | BaseException] = asyncio.get_running_loop().create_future()

        def answer(outcome: Outcome | BaseException) -> None:
            if not done.done():  # The client may be gone.
                done.set_result(outcome)

        self.ask(tenant_id, asked, answer)
        outcome = await done
        if isinstance(outcome, BaseException) and not isinstance(outcome, FarthingError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Finish the transaction that is under way. What only waits was not answered."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        """Let the thread work for the tenant that has waited longest."""
        tenant_id = next(iter(self._waiting), None)
        if tenant_id is None:
            self._working = False
            return
        loop = asyncio.get_running_loop()
        batch: list[_Waiting] = []

        def done(work: "Future[tuple[list[Outcome], list[Settled]]]") -> None:
            with suppress(RuntimeError):  # The loop has ended, and with it all who waited.
                loop.call_soon_threadsafe(self._decided, tenant_id, batch, work)

        try:
            work = self._thread.submit(self._work, tenant_id, batch)
        except RuntimeError:  # closed
            batch = self._taken(tenant_id)
            self._answer(batch, [Unavailable("shutting_down", "this server is shutting down")] * len(batch))
            self._working = False
            return
        work.add_done_callback(done)

    def _taken(self, tenant_id: int) -> list[_Waiting]:
        """The next batch of a tenant, whose other requests wait behind those of other tenants from now on."""
        with self._gathering:
            waiting = self._waiting.pop(tenant_id)
            batch, rest = waiting[:BATCH_MAX], waiting[BATCH_MAX:]
            if rest:
                self._waiting[tenant_id] = rest
            self._count -= len(batch)
        return batch

    def _work(self, tenant_id: int, batch: list[_Waiting]) -> tuple[list[Outcome], list[Settled]]:
        """In the thread: fill the batch once its turn has come, and apply it."""

        def gather() -> tuple[list[Asked], datetime]:
            if not batch:
                batch.extend(self._taken(tenant_id))
            return [asked for asked, _ in batch], self._now()

        return self._authorizations.apply_next(tenant_id, gather)

    def _decided(
        self, tenant_id: int, batch: list[_Waiting], work: "Future[tuple[list[Outcome], list[Settled]]]"
    ) -> None:
        error = work.exception()
        if error is not None and not batch:  # Its turn has not even come.
            batch = self._taken(tenant_id)
        alone = len(batch) == 1 and not self._waiting
        if alone or self._count >= BATCH_MAX:
            self._begin()
        else:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._begin)
        if error is not None:
            self._answer(batch, [error] * len(batch))
            return
        outcomes, settled = work.result()
        happened = [isinstance(asked, Settle) for asked, _ in batch]
        now = [place for place, waits in enumerate(happened) if not (waits and settled)]
        self._answer([batch[place] for place in now], [outcomes[place] for place in now])
        if settled:
            then = [place for place, waits in enumerate(happened) if waits]
            self._log_settled(
                tenant_id, [batch[place] for place in then], [outcomes[place] for place in then], settled
            )

    def _log_settled(
        self,
        tenant_id: int,
        batch: Sequence[_Waiting],
        outcomes: Sequence[Outcome],
        settled: Sequence[Settled],
    ) -> None:
        """Put the events of a batch into the log; only then is it answered.

        Where the log takes nothing they stand in the books all the same, and the engine puts them into it.
        """
        loop = asyncio.get_running_loop()

        def written(_: "Future[LogPosition]") -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._answer, batch, outcomes)

        block = settled_block(tenant_id, settled[0].at, [one.event.line for one in settled])
        try:
            self._log.append(block).add_done_callback(written)
        except Unavailable:
            self._answer(batch, outcomes)

    def _answer(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome | BaseException]) -> None:
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            answer(outcome)
