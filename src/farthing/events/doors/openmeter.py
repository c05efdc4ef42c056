"""OpenMeter's `POST /api/v1/events`: CloudEvents, one or an array of them. LiteLLM and Kong send these.

An event keeps its source and id, so that one which comes in here and at `/v1/events` counts once. As there,
`subject` must be said, and `data` is an object or nothing; a time needs its offset, and without a time the
receipt's counts. A request is taken whole or not at all, because the answer, 204, has no room for a part.
"""

from dataclasses import replace

import msgspec

from farthing.events.intake.formats import JSON_TYPES, REJECTED_RAW_BYTES_MAX, media_type_of, parse_events
from farthing.events.model import Event, ParsedBatch, Rejected
from farthing.kernel.errors import InvalidInput

_decoder = msgspec.json.Decoder(Event)


def read_openmeter(body: bytes, content_type: str) -> ParsedBatch:
    """An unpacked body as events.

    Raises as `parse_events` does.
    """
    media_type = media_type_of(content_type)
    if media_type not in JSON_TYPES:
        raise InvalidInput(
            "unsupported_media_type", f"{media_type[:80]!r} is not a media type for CloudEvents"
        )
    batch = parse_events(body, "application/json", "identity")
    refused = {one.index for one in batch.rejected}
    places = (place for place in range(batch.accepted + len(refused)) if place not in refused)
    found = [
        complaint
        for place, line in zip(places, batch.lines.splitlines(), strict=False)
        if (complaint := _complaint(place, line)) is not None
    ]
    if not found:
        return batch
    return replace(batch, rejected=tuple(sorted([*batch.rejected, *found], key=lambda one: one.index)))


def _complaint(place: int, line: bytes) -> Rejected | None:
    event = _decoder.decode(line)
    if event.subject is None:
        code, message, path = "missing_attribute", "subject is missing", "subject"
    elif bytes(event.data)[:1] not in (b"{", b"n"):
        code, message, path = "invalid_attribute", "data must be a JSON object", "data"
    else:
        return None
    return Rejected(place, code, message, path, line[:REJECTED_RAW_BYTES_MAX])
