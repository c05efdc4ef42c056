"""What an API key looks like: `fk_<id>_<secret>_<checksum>`.

The id finds the row, the secret (256 random bits) proves the right to use it, and the checksum lets
a scanner, and the door, tell a key from noise without asking the books. Only a keyed hash of the
whole key is ever stored.
"""

import hmac
import zlib
from dataclasses import dataclass
from hashlib import blake2b

PREFIX = "fk"
ID_BITS = 80
SECRET_BITS = 256
PEPPER_BYTES = 32

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BITS_PER_CHARACTER = 5
_ID_LENGTH = -(-ID_BITS // _BITS_PER_CHARACTER)
_SECRET_LENGTH = -(-SECRET_BITS // _BITS_PER_CHARACTER)
_CHECKSUM_LENGTH = -(-32 // _BITS_PER_CHARACTER)
KEY_LENGTH = len(PREFIX) + _ID_LENGTH + _SECRET_LENGTH + _CHECKSUM_LENGTH + 3


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key: the text is for its owner alone, id and hash are for the books."""

    text: str
    api_key_id: str
    secret_hash: bytes


def mint(entropy: bytes, pepper: bytes) -> Minted:
    """A key made from random bytes (42 of them: 10 for the id, 32 for the secret)."""
    assert len(entropy) == (ID_BITS + SECRET_BITS) // 8
    id_bytes, secret_bytes = entropy[: ID_BITS // 8], entropy[ID_BITS // 8 :]
    api_key_id = _letters(int.from_bytes(id_bytes, "big"), _ID_LENGTH)
    body = f"{PREFIX}_{api_key_id}_{_letters(int.from_bytes(secret_bytes, 'big'), _SECRET_LENGTH)}"
    text = f"{body}_{_checksum(body)}"
    return Minted(text, api_key_id, secret_hash(text, pepper))


def key_id(text: str) -> str | None:
    """The id inside a presented key, or None where it cannot be a key at all."""
    if len(text) != KEY_LENGTH or not text.isascii():
        return None
    body, _, checksum = text.rpartition("_")
    parts = body.split("_")
    if len(parts) != 3 or parts[0] != PREFIX or len(parts[1]) != _ID_LENGTH:
        return None
    return parts[1] if hmac.compare_digest(_checksum(body), checksum) else None


def secret_hash(text: str, pepper: bytes) -> bytes:
    """The keyed hash under which a key is stored. Without the pepper a stolen table proves nothing."""
    assert len(pepper) == PEPPER_BYTES
    return blake2b(text.encode(), key=pepper, digest_size=32).digest()


def _checksum(body: str) -> str:
    return _letters(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _letters(number: int, length: int) -> str:
    shifts = range((length - 1) * _BITS_PER_CHARACTER, -1, -_BITS_PER_CHARACTER)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in shifts)
