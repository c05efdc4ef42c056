"""As OpenMeter answers: nothing at all (204, or 202 under v3), or a problem with `extensions.validationErrors`."""

from collections.abc import Sequence
from functools import partial

import msgspec

from farthing.api.doors.manners import AsIs, Refusal, Sent, first_and_more
from farthing.api.events_route import Answer
from farthing.events.door import Door
from farthing.events.doors.openmeter import read_openmeter
from farthing.events.model import Rejected

PATH = "/api/v1/events"
PATH_V3 = "/api/v3/openmeter/events"
_PROBLEM = (b"content-type", b"application/problem+json")


class OpenMeter(AsIs):
    """OpenMeter's ways; `accepted_status` is what its version answers."""

    def __init__(self, accepted_status: int) -> None:
        self._accepted_status = accepted_status

    async def take(self, door: Door, tenant_id: int, sent: Sent) -> Answer:
        """All events of the request, or none."""
        batch = await door.read(sent.body, partial(read_openmeter, content_type=sent.content_type))
        if batch.rejected:
            detail = first_and_more(batch.rejected)
            return _problem(Refusal(400, "invalid_event", detail, None, ()), sent.path, batch.rejected)
        if not batch.accepted:
            return _problem(Refusal(400, "no_event_accepted", "the body holds no event", None, ()), sent.path)
        await door.keep(tenant_id, batch, sent.now)
        return Answer(self._accepted_status, (), b"")

    def refused(self, path: str, _content_type: str, refusal: Refusal) -> Answer:
        """A problem."""
        return _problem(refusal, path)


def _problem(refusal: Refusal, path: str, rejected: Sequence[Rejected] = ()) -> Answer:
    return Answer(
        refusal.status,
        (_PROBLEM, *refusal.headers),
        msgspec.json.encode(problem_document(refusal, path, rejected)),
    )


def problem_document(refusal: Refusal, path: str, rejected: Sequence[Rejected] = ()) -> dict[str, object]:
    """The problem as a document; `rejected` names every event that is none, by its index."""
    errors: list[dict[str, object]] = [
        {"code": one.code, "message": one.message, "index": one.index, "field": one.path} for one in rejected
    ]
    return {
        "type": "about:blank",
        "title": refusal.phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "instance": path,
        "extensions": {"validationErrors": errors or [{"code": refusal.code, "message": refusal.detail}]},
    }
