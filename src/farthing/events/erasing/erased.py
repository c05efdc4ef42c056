"""What is left of the events of an erased customer. Pure.

An erased event keeps what is counted: its type, its times, and of its `data` what meters read. Numbers stay as they
were written. A word (a dimension, a distinct value) stays where others use it too, and is a pseudonym otherwise, the
same one wherever it stands. Instead of a source and an id the event has its fingerprints: what the id index knows it
by, so that a repeat is a duplicate for ever, and the index can be made anew.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from farthing.catalog.event_data import Digits, at_path, number_of, read_data, text_of

ERASED_SOURCE: Final = "farthing.erased"
"""The source of every erased event, and the type of those whose type said who it was."""
RESERVED_SOURCE: Final = f"reserved_source|the source {ERASED_SOURCE} is of events whose customer was erased"
ERASED_SUBJECT: Final = "erased_subject"
"""Why an event is in quarantine whose customer was erased before. Its bytes are not kept."""
SUBJECT_HASH_BYTES: Final = 16
FINGERPRINT_CHARACTERS: Final = 32
"""Of an erased event's id: which event it was. What follows says what it said."""


def subject_hash(secret: bytes, tenant_id: int, subject: str) -> bytes:
    """By what an erased subject is known: without the installation's secret nobody can try names."""
    return blake2b(
        subject.encode(errors="surrogatepass"),
        digest_size=SUBJECT_HASH_BYTES,
        key=secret,
        salt=tenant_id.to_bytes(8, "big"),
        person=b"farthing.erased",
    ).digest()


def fingerprint_id(key: int, check: int, content: int) -> str:
    """The id of an erased event, from its entry in the id index."""
    return f"{key:016x}{check:016x}{content:016x}"


@dataclass(frozen=True, slots=True)
class Words:
    """Pseudonyms of one customer's words, as long as its erasure is under way.

    key: random; forgotten at the end. kept: words that say nothing of the customer.
    """

    key: bytes
    kept: Collection[str]

    def instead_of(self, word: str) -> str:
        """What stands for a word."""
        if word in self.kept or word in ("true", "false"):
            return word
        return (
            "erased-" + blake2b(word.encode(errors="surrogatepass"), digest_size=8, key=self.key).hexdigest()
        )


def data_left(data: str, numbers: Collection[str], texts: Collection[str], words: Words) -> str:
    """An event's `data` with what stands at these paths, and nothing else."""
    try:
        said = read_data(data)
    except (ValueError, RecursionError):
        return "null"
    left: dict[str, object] = {}
    for path in texts:
        text = text_of(at_path(said, path))
        if text is not None and not (path in numbers and number_of(at_path(said, path)) is not None):
            _put(left, path, words.instead_of(text))
    for path in numbers:
        raw = at_path(said, path)
        if number_of(raw) is not None:
            _put(left, path, raw)
    return _json(left) if left else "null"


def _put(data: dict[str, object], path: str, value: object) -> None:
    *outer, last = path.split(".")[1:]
    place = data
    for name in outer:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            inner = place[name] = {}
        place = inner
    place.setdefault(last, value)


def _json(value: object) -> str:
    match value:
        case Digits():
            return str(value)
        case Mapping():
            return "{" + ",".join(f"{json.dumps(name)}:{_json(one)}" for name, one in value.items()) + "}"
        case _:
            return json.dumps(value, ensure_ascii=False)
