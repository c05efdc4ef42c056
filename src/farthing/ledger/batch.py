"""A batch of transfers as rows of text, as one statement takes them. Pure.

Lines of text are the quickest way of thousands of rows into one statement, and no value holds a line break
(`checking.py` lets printable characters in only).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from farthing.kernel.errors import Conflict, Fault
from farthing.kernel.quantity import trimmed
from farthing.kernel.reading import shown
from farthing.ledger.model import Account, Side, Transfer

_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A transfer as it is sent: what it says in text, and the hash of all that."""

    transfer: Transfer
    moment: str
    accounts: list[str]
    amounts: str
    input_hash: str


@dataclass(slots=True)
class Batch:
    """Different transfers, and every account that they post to, by its name."""

    rows: list[Row] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)


def batch_of(transfers: Sequence[Transfer]) -> Batch:
    """Transfers that were checked; one that stands among them twice is taken once.

    Raises Conflict `transfer_conflict` if two of them have the same key and differ.
    """
    names: dict[Account, str] = {}
    moments: dict[datetime, str] = {}
    row_of: dict[str, Row] = {}
    conflicting = []
    for transfer in transfers:
        row = _row(transfer, names, moments)
        known = row_of.setdefault(transfer.key, row)
        if known.input_hash != row.input_hash:
            conflicting.append(transfer.key)
    refuse_conflicts(transfers, conflicting)
    return Batch(list(row_of.values()), {name: account for account, name in names.items()})


def refuse_conflicts(transfers: Sequence[Transfer], conflicting: Sequence[str]) -> None:
    """Raise Conflict `transfer_conflict` for keys that stand for something else already, if there are any."""
    if not conflicting:
        return
    places = {transfer.key: place for place, transfer in enumerate(transfers)}
    faults = [
        Fault(f"transfers[{places[key]}].key", f"{shown(key)} names another transfer") for key in conflicting
    ]
    raise Conflict("transfer_conflict", "; ".join(map(str, faults)), faults=faults)


def columns_of(batch: Batch, transfer_ids: Sequence[int], account_ids: Mapping[str, int]) -> dict[str, str]:
    """The parameters of the statement: a column each, one line for each transfer."""
    id_of = {name: str(account_ids[name]) for name in batch.accounts}
    rows, transfers = batch.rows, [row.transfer for row in batch.rows]
    columns = {
        "transfer_ids": map(str, transfer_ids),
        "keys": [transfer.key for transfer in transfers],
        "kinds": [transfer.kind for transfer in transfers],
        "currencies": [transfer.currency for transfer in transfers],
        "references": [transfer.reference for transfer in transfers],
        "corrects": [transfer.corrects or "" for transfer in transfers],
        "moments": [row.moment for row in rows],
        "hashes": [row.input_hash for row in rows],
        "account_ids": ["{" + ",".join([id_of[name] for name in row.accounts]) + "}" for row in rows],
        "amounts": [row.amounts for row in rows],
    }
    return {name: "\n".join(lines) for name, lines in columns.items()}


def _row(transfer: Transfer, names: dict[Account, str], moments: dict[datetime, str]) -> Row:
    moment = moments.get(transfer.effective_at)
    if moment is None:
        moment = moments[transfer.effective_at] = transfer.effective_at.astimezone(UTC).isoformat()
    accounts, amounts = [], []
    for entry in transfer.entries:
        account = entry.account
        name = names.get(account)
        if name is None:
            name = names[account] = account.name
        accounts.append(name)
        # 1.50 and 1.5 are the same amount, and so the same input.
        amount = trimmed(entry.amount)
        amounts.append(amount if entry.side is Side.DEBIT else f"-{amount}")
    said = "{" + ",".join(amounts) + "}"
    content = "\n".join((transfer.kind, transfer.reference, transfer.corrects or "", moment, said, *accounts))
    digest = blake2b(content.encode(), digest_size=_HASH_BYTES).hexdigest()
    return Row(transfer, moment, accounts, said, digest)
