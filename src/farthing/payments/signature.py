"""Signatures of messages: `t=1767225600,v1=5257a8...`, HMAC-SHA-256 over the moment, a dot and the body. Pure.

The moment is signed, so an old message cannot be made to look new; what is older than five minutes is refused, and
what is repeated within them counts once by its event id.
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime

from farthing.kernel.errors import Unauthorized

TOLERANCE_SECONDS = 300
_HEADER_LENGTH_MAX = 1024
_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})\Z", re.ASCII)


def sign(secret: str, body: bytes, at: datetime) -> str:
    """The header that goes with a body that is sent now."""
    moment = str(int(at.astimezone(UTC).timestamp()))
    return f"t={moment},v1={_digest(secret, moment, body)}"


def verify(header: str, body: bytes, secret: str, now: datetime) -> None:
    """Raises Unauthorized `invalid_webhook_signature`, `stale_webhook`."""
    moments: list[str] = []
    digests: list[str] = []
    for part in header[:_HEADER_LENGTH_MAX].split(","):
        found = _PART.match(part.strip())
        if found:
            (moments if found[1] == "t" else digests).append(found[2])
    if len(moments) != 1 or not moments[0].isdigit() or not digests or not secret:
        raise Unauthorized("invalid_webhook_signature", "the message bears no signature that can be read")
    expected = _digest(secret, moments[0], body)
    if not any(hmac.compare_digest(expected, digest) for digest in digests):
        raise Unauthorized(
            "invalid_webhook_signature", "the message is not signed with the secret of this endpoint"
        )
    if abs(int(now.timestamp()) - int(moments[0])) > TOLERANCE_SECONDS:
        raise Unauthorized(
            "stale_webhook", f"the message was signed more than {TOLERANCE_SECONDS} seconds from now"
        )


def _digest(secret: str, moment: str, body: bytes) -> str:
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
