"""Which segment may hold an event: a Bloom filter over the identities of each segment. Pure.

Ten bits for an identity and four places: of a hundred segments that do not hold an event, one or two are read
for nothing. None that holds it is ever passed over. The books probe a filter where it lies (`store/finding.py`).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from farthing.events.ids.index import Hashes

BITS_PER_ID: Final = 10
PLACES: Final = 4


def id_filter(keys: Hashes, checks: Hashes) -> bytes:
    """The filter of these identities (the two halves of their hashes, as the id index has them)."""
    size = max(8, -(-BITS_PER_ID * len(keys) // 8) * 8)
    bits = np.zeros(size, dtype=np.bool_)
    for places in probes(keys, checks):
        # numpy divides by one number several times as fast as it takes remainders.
        bits[places - places // np.uint64(size) * np.uint64(size)] = True
    # As PostgreSQL counts them: bit 0 is the lowest of the first byte.
    return np.packbits(bits, bitorder="little").tobytes()


def probes(keys: Hashes, checks: Hashes) -> list[npt.NDArray[np.uint64]]:
    """Where an identity stands in a filter, before the remainder by its size: numbers of 63 bits."""
    with np.errstate(over="ignore"):
        return [(keys + np.uint64(place) * checks) >> np.uint64(1) for place in range(PLACES)]
