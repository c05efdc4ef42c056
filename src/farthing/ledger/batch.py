"""A batch of transfers as rows of text, as one statement takes them. Pure.

Lines of text are the quickest way of thousands of rows into one statement, and no value holds a line break
(`checking.py` lets printable characters in only).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b

from farthing.kernel.errors import Conflict, Fault
from farthing.kernel.quantity import exact, trimmed
from farthing.kernel.reading import shown
from farthing.kernel.value import value
from farthing.ledger.chart import Code
from farthing.ledger.facts import DrawnTogether
from farthing.ledger.model import Account, Side, Transfer, TransferKind
from farthing.ledger.recipes import WALLETS_AT_ONCE, draw_key

_HASH_BYTES = 16


@value
class Row:
    """A transfer as it is sent: what it says in text, its accounts by name, and the hash of all that."""

    key: str
    kind: str
    currency: str
    reference: str
    corrects: str
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


def columns_of(
    rows: Sequence[Row], transfer_ids: Sequence[int], account_ids: Mapping[str, int]
) -> dict[str, str]:
    """The parameters of the statement: a column each, one line for each transfer. account_ids: by name."""
    id_of = {name: str(account_id) for name, account_id in account_ids.items()}
    columns = {
        "transfer_ids": map(str, transfer_ids),
        "keys": [row.key for row in rows],
        "kinds": [row.kind for row in rows],
        "currencies": [row.currency for row in rows],
        "references": [row.reference for row in rows],
        "corrects": [row.corrects for row in rows],
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
    return _made(
        transfer.key,
        transfer.kind,
        transfer.currency,
        transfer.reference,
        transfer.corrects or "",
        moment,
        accounts,
        amounts,
    )


def _made(
    key: str,
    kind: str,
    currency: str,
    reference: str,
    corrects: str,
    moment: str,
    accounts: list[str],
    amounts: Sequence[str],
) -> Row:
    said = "{" + ",".join(amounts) + "}"
    content = "\n".join((kind, reference, corrects, moment, said, *accounts))
    digest = blake2b(content.encode(), digest_size=_HASH_BYTES).hexdigest()
    return Row(key, kind, currency, reference, corrects, moment, accounts, said, digest)


def account_names(drawn: DrawnTogether) -> list[str]:
    """The accounts of the funds that these draws took from, by name."""
    funds = {code: f"{code} {drawn.currency} " for code in dict.fromkeys(drawn.codes)}
    return [
        f"{funds[code]}{customer}" for code, customer in zip(drawn.codes, drawn.customer_ids, strict=True)
    ]


def rows_of_draws(drawn: DrawnTogether, all_names: Sequence[str]) -> list[Row]:
    """What `recipes.drawn_together` makes of these draws, row for row, without a value for each entry.

    A sealed batch draws for tens of thousands of customers; the tests hold this to the recipe.
    all_names: see `account_names`.
    """
    moment = drawn.drawn_at.astimezone(UTC).isoformat()
    revenue_name = Account(Code.REVENUE, drawn.currency).name
    rows = []
    for begin in range(0, len(drawn.customer_ids), WALLETS_AT_ONCE):
        some = slice(begin, begin + WALLETS_AT_ONCE)
        customers, amounts = drawn.customer_ids[some], drawn.amounts[some]
        with exact():
            revenue = sum(amounts, Decimal(0))
        rows.append(
            _made(
                draw_key(f"{drawn.draws}:{customers[0]}"),
                TransferKind.WALLET_DRAW,
                drawn.currency,
                "",
                "",
                moment,
                [*all_names[some], revenue_name],
                [*map(trimmed, amounts), f"-{trimmed(revenue)}"],
            )
        )
    return rows
