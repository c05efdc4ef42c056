"""The path that Lago and OpenMeter share, `/api/v1/events`: the body tells them apart.

Before the body is known, and where it is no JSON, an error has the members of both: each of their clients finds
its own.
"""

import msgspec

from farthing.api.doors.lago import Lago, error_document
from farthing.api.doors.manners import Manners, Refusal
from farthing.api.doors.openmeter import OpenMeter, problem_document
from farthing.api.events_route import Answer
from farthing.events.doors.lago import is_lago

_PROBLEM = (b"content-type", b"application/problem+json")


class LagoOrOpenMeter(OpenMeter):
    """Either of them, not told apart yet."""

    def refused(self, path: str, _content_type: str, refusal: Refusal) -> Answer:
        """An error that both can read."""
        document = {**problem_document(refusal, path), **error_document(refusal)}
        return Answer(refusal.status, (_PROBLEM, *refusal.headers), msgspec.json.encode(document))


_LAGO = Lago(batch=False)
_OPENMETER = OpenMeter(204)


def told_apart(body: bytes) -> Manners:
    """Whose request it is. Raises as `read_object` does where the body is no JSON object nor a list."""
    return _LAGO if is_lago(body) else _OPENMETER
