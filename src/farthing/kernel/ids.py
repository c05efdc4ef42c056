"""Time-ordered ids.

An id is a prefix that says what it names, a millisecond time and random bits, in an alphabet whose
byte order is the number order, so ids sort by creation: `seg_01k9qv8h3cw5x2n7r4t6z8b0df`.
The clock and the random bits are arguments: the kernel reads neither. (Layout after RFC 9562
UUIDv7: 48 bits of Unix milliseconds, then 80 random bits.)
"""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ENTROPY_BYTES = 10


def time_ordered_id(prefix: str, unix_ms: int, entropy: bytes) -> str:
    """`prefix_` and 26 characters that sort by `unix_ms`, then by `entropy` (10 bytes)."""
    assert len(entropy) == ENTROPY_BYTES
    assert 0 <= unix_ms < 1 << 48
    number = (unix_ms << 80) | int.from_bytes(entropy, "big")
    text = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))
    return f"{prefix}_{text}"
