"""As Lago answers: the event, with ids as it gives them, or `{"status", "error", "code", "error_details"}`."""

from collections.abc import Mapping, Sequence

from farthing.api.doors.manners import JSON, AsIs, Refusal, Sent, json_answer
from farthing.api.events_route import Answer
from farthing.events.door import Door
from farthing.events.doors.lago import (
    INVALID_FORMAT,
    MANDATORY,
    LagoEvent,
    LagoEvents,
    lago_id,
    read_lago_batch,
    read_lago_event,
)
from farthing.events.model import Rejected
from farthing.kernel.instant import format_instant

BATCH_PATH = "/api/v1/events/batch"
_OWN_CODES = (MANDATORY, INVALID_FORMAT)
_OF_THE_BATCH = ("no_events", "too_many_events")


class Lago(AsIs):
    """Lago's ways, for one event or (`batch`) for many."""

    def __init__(self, *, batch: bool) -> None:
        self._batch = batch

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """All events of the request, or none."""
        found = await door.read(sent.body, read_lago_batch if self._batch else read_lago_event)
        if found.batch.rejected:
            return _not_valid(self._details(found.batch.rejected))
        await door.keep(tenant_id, found.batch, sent.now)
        return json_answer(200, self._told_back(found, sent))

    def _details(self, rejected: Sequence[Rejected]) -> dict[str, object]:
        if not self._batch:
            return dict(_complaints(rejected[0]))
        return {str(one.index): _complaints(one) for one in rejected}

    def _told_back(self, found: LagoEvents, sent: Sent) -> dict[str, object]:
        events = [_document(one, sent) for one in found.events]
        return {"events": events} if self._batch else {"event": events[0]}

    def refused(self, _path: str, _content_type: str, refusal: Refusal) -> Answer:
        """What is not valid is 422 with details; anything else says its status and what it is."""
        if refusal.code in _OF_THE_BATCH:
            return _not_valid({"events": [refusal.code]})
        return json_answer(refusal.status, error_document(refusal), (JSON, *refusal.headers))


def error_document(refusal: Refusal) -> dict[str, object]:
    """Any other error."""
    wrong = f": {refusal.detail}" if refusal.status == 400 else ""
    return {"status": refusal.status, "error": f"{refusal.phrase}{wrong}", "code": refusal.code}


def _not_valid(details: Mapping[str, object]) -> Answer:
    document = {
        "status": 422,
        "error": "Unprocessable Entity",
        "code": "validation_errors",
        "error_details": details,
    }
    return json_answer(422, document)


def _complaints(rejected: Rejected) -> dict[str, list[str]]:
    complaint = rejected.code if rejected.code in _OWN_CODES else rejected.message
    return {rejected.path or "properties": [complaint]}


def _document(found: LagoEvent, sent: Sent) -> dict[str, object]:
    event = found.event
    return {
        "lago_id": lago_id(event),
        "transaction_id": event.id,
        "lago_customer_id": None,
        "code": event.type,
        "timestamp": format_instant(event.time or sent.now),
        "properties": found.properties,
        "precise_total_amount_cents": found.amount,
        "lago_subscription_id": None,
        "external_subscription_id": event.subject,
        "created_at": format_instant(sent.now),
    }
