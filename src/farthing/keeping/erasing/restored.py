"""A backup from before an erasure, restored after it: the customer is erased again, before anybody uses the books."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from farthing.db.endpoint import Endpoint
from farthing.db.erasing import erasing_transaction
from farthing.db.secret import load_secret
from farthing.events.erasing.erased import subject_hash
from farthing.keeping.erasing.restored_store import insert_kept_erasure
from farthing.keeping.manifest import complete_backups, read_manifest
from farthing.keeping.model import KeptErasure, Manifest
from farthing.kernel.errors import Conflict, Corrupt, InvalidInput


class _ErasureList(msgspec.Struct):
    erasures: list[KeptErasure]


def read_erasures(content: bytes) -> list[KeptErasure]:
    """What `farthing customers erasures --json` printed. Raises InvalidInput `invalid_erasures`."""
    try:
        return msgspec.json.decode(content, type=_ErasureList).erasures
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid_erasures", f"the list of erasures cannot be read: {error}") from None


def erasures_since(backup: Path, manifest: Manifest) -> list[KeptErasure]:
    """The erasures that newer backups of the same place know of."""
    known: dict[tuple[int, int], KeptErasure] = {}
    for newer in complete_backups(backup.parent):
        with suppress(Corrupt, Conflict):
            said = read_manifest(newer)
            if said.taken_at > manifest.taken_at:
                known |= {(one.tenant_id, one.customer_id): one for one in said.erasures}
    return list(known.values())


def apply_erasures(endpoint: Endpoint, data_dir: Path, erasures: Sequence[KeptErasure]) -> int:
    """Put customers of restored books under erasure. How many there are; a customer is one by number and time."""
    if not erasures:
        return 0
    secret = load_secret(data_dir)
    applied = 0
    for erasure in erasures:
        with erasing_transaction(endpoint, erasure.tenant_id) as conn:
            hash_of = partial(subject_hash, secret, erasure.tenant_id)
            applied += insert_kept_erasure(conn, erasure, hash_of)
    return applied
