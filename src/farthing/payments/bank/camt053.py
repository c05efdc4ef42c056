"""Bank statements: camt.053 of ISO 20022, read as a stream of entries. Pure: bytes in, values out.

An entry that the bank splits into transactions whose amounts sum to it becomes as many entries; any other is taken
whole. Only what is booked counts. There are no entities in a statement, so a file that declares some is refused, as is
one of a version that is not known, by its name.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from xml.parsers import expat

from farthing.kernel.errors import Fault, InvalidInput, LimitExceeded
from farthing.kernel.instant import parse_date, parse_instant
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, trimmed

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
VERSIONS = ("02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13")
FILE_BYTES_MAX = 134_217_728
ENTRIES_MAX = 200_000
DEPTH_MAX = 64
TEXT_LENGTH_MAX = 1000

_SEPARATOR = " "
_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,5})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that moved on an account. amount: below zero where it left. returned: why a payment came back."""

    account: str
    identity: str
    amount: Decimal
    currency: str
    booked_at: datetime
    payer: str
    remittance: str
    end_to_end: str
    batch: str
    returned: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of one account."""

    account: str
    reference: str
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class _Draft:
    """Texts of an entry, or of one transaction in it, by the end of their path."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    currency: dict[str, str] = field(default_factory=dict)

    def first(self, *paths: str) -> str:
        for path in paths:
            if found := self.texts.get(path):
                return found[0]
        return ""

    def all(self, *paths: str) -> list[str]:
        return [text for path in paths for text in self.texts.get(path, ())]


def read_statements(content: bytes) -> list[Statement]:
    """Every statement of a file.

    Raises:
        InvalidInput: `invalid_statement`, with the line; `unsupported_statement_version` for any other kind of file,
            with the name of what it is.
        LimitExceeded: `statement_too_large`.
    """
    if len(content) > FILE_BYTES_MAX:
        raise LimitExceeded("statement_too_large", f"a statement may have at most {FILE_BYTES_MAX} bytes")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise _invalid(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
    except (LookupError, ValueError):
        raise _invalid("its text is in an encoding that is not known") from None
    if not reader.statements:
        raise _invalid("there is no statement in it")
    return reader.statements


def _refuse_doctype(*_: object) -> None:
    raise _invalid("it declares a document type, as no statement does")


def _invalid(complaint: str) -> InvalidInput:
    return InvalidInput.of("invalid_statement", [Fault("", complaint)])


class _Reader:
    """Follows the elements of a file. Paths have no namespaces and begin at the statement, entry or transaction."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._names: list[str] = []
        self._path: list[str] = []  # of each element that is open, from whose draft it belongs to
        self._texts: list[str] = []
        self._statement = _Draft()
        self._draft = self._statement  # whose text this is
        self._entry = _Draft()
        self._transaction = _Draft()
        self._transactions: list[_Draft] = []
        self._entries: list[Entry] = []
        self._seen: Counter[str] = Counter()
        self._at_entry = self._at_transaction = self._at_statement = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        space, _, local = name.rpartition(_SEPARATOR)
        if not self._names:
            _check_version(space, local)
        self._names.append(local)
        depth = len(self._names)
        if depth > DEPTH_MAX:
            raise _invalid(f"elements lie more than {DEPTH_MAX} deep")
        self._texts.clear()
        path = f"{self._path[-1]}/{local}" if self._path and self._path[-1] else local
        if local == "Stmt" and depth == 3:
            self._statement, self._entries, self._at_statement = _Draft(), [], depth
            self._seen = Counter()
            self._draft, path = self._statement, ""
        elif local == "Ntry" and depth == self._at_statement + 1:
            self._entry, self._transactions, self._at_entry = _Draft(), [], depth
            self._draft, path = self._entry, ""
        elif local == "TxDtls" and self._at_entry:
            self._transaction, self._at_transaction = _Draft(), depth
            self._draft, path = self._transaction, ""
        self._path.append(path)
        if attributes and "Ccy" in attributes:
            self._draft.currency[path] = attributes["Ccy"]

    def text(self, text: str) -> None:
        """Characters; expat hands on those of one element together."""
        self._texts.append(text)

    def end(self, name: str) -> None:
        """An element ends; what it says is kept where it belongs."""
        text = "".join(self._texts).strip()
        self._texts.clear()
        path = self._path.pop()
        if text:
            self._draft.texts.setdefault(path, []).append(_clean(text))
        depth = len(self._names)
        local = self._names.pop()
        if local == "TxDtls" and depth == self._at_transaction:
            self._transactions.append(self._transaction)
            self._at_transaction, self._draft = 0, self._entry
        elif local == "Ntry" and depth == self._at_entry:
            self._entries += self._read_entry()
            self._at_entry, self._draft = 0, self._statement
            if len(self._entries) > ENTRIES_MAX:
                raise LimitExceeded("statement_too_large", f"there are more than {ENTRIES_MAX} entries")
        elif local == "Stmt" and depth == self._at_statement:
            self._at_statement = 0
            reference = self._statement.first("Id") or "-"
            self.statements.append(Statement(self._account(), reference, tuple(self._entries)))

    def _account(self) -> str:
        account = self._statement.first("Acct/Id/IBAN", "Acct/Id/Othr/Id")
        if not account:
            raise _invalid("a statement names no account")
        return account[:64]

    def _read_entry(self) -> list[Entry]:
        whole = self._entry
        status = whole.first("Sts/Cd", "Sts")
        if status != "BOOK":
            return []
        amount, currency = _amount(whole, "Amt")
        sign = _sign(whole)
        parts = self._transactions
        amounts = [_part_amount(part, currency) for part in parts]
        with exact():
            split = len(parts) > 1 and None not in amounts and sum(filter(None, amounts), ZERO) == amount
        if not split:
            return [self._entry_of(whole, parts[0] if parts else _Draft(), amount * sign, currency, 0)]
        return [
            self._entry_of(whole, part, (part_amount or ZERO) * sign, currency, place)
            for place, (part, part_amount) in enumerate(zip(parts, amounts, strict=True), start=1)
            if part_amount
        ]

    def _entry_of(self, whole: _Draft, part: _Draft, amount: Decimal, currency: str, place: int) -> Entry:
        booked_at = _moment(whole)
        side = "Dbtr" if amount > 0 else "Cdtr"
        payer = part.first(f"RltdPties/{side}/Pty/Nm", f"RltdPties/{side}/Nm")
        remittance = " ".join(
            part.all("RmtInf/Ustrd", "RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/AddtlRmtInf")
            or whole.all("AddtlNtryInf")
        )[:TEXT_LENGTH_MAX]
        end_to_end = part.first("Refs/EndToEndId")
        batch = part.first("Refs/PmtInfId") or whole.first("NtryDtls/Btch/PmtInfId")
        returned = part.first("RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry") or None
        if returned is None and whole.first("RvslInd") == "true":
            returned = "reversal"
        reference = part.first("Refs/AcctSvcrRef") if place else ""
        reference = reference or whole.first("AcctSvcrRef", "NtryRef")
        said = f"{reference}\n{booked_at}\n{trimmed(amount)} {currency}\n{end_to_end}\n{remittance}\n{payer}"
        # The bank's own reference names an entry. Where two say the same all over, they are told apart by their order.
        base = f"{reference}/{place}" if reference else blake2b(said.encode(), digest_size=16).hexdigest()
        self._seen[base] += 1
        identity = base[:200] if self._seen[base] == 1 else f"{base[:200]}#{self._seen[base]}"
        return Entry(
            self._account(),
            identity,
            amount,
            currency,
            booked_at,
            payer[:256],
            remittance,
            end_to_end[:64],
            batch[:64],
            returned,
        )


def _check_version(space: str, local: str) -> None:
    version = space.removeprefix(NAMESPACE)
    if local == "Document" and space.startswith(NAMESPACE) and version in VERSIONS:
        return
    name = space.rpartition(":")[2] or f"an XML file of {local[:40]!r}"
    known = f"camt.053.001.{VERSIONS[0]} to .{VERSIONS[-1]}"
    raise InvalidInput.of(
        "unsupported_statement_version", [Fault("", f"this is {name[:60]}; statements are read as {known}")]
    )


def _amount(draft: _Draft, path: str) -> tuple[Decimal, str]:
    text, currency = draft.first(path), draft.currency.get(path, "")
    if not _AMOUNT.match(text) or currency not in MINOR_UNITS:
        raise _invalid(f"an entry has no amount that can be read: {text[:40]!r} {currency[:10]!r}")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise _invalid(f"an entry has no amount that can be read: {text[:40]!r}") from None
    if not amount:
        raise _invalid("an entry is over nothing")
    return amount, currency


def _part_amount(part: _Draft, currency: str) -> Decimal | None:
    for path in ("Amt", "AmtDtls/TxAmt/Amt"):
        if part.currency.get(path) == currency and _AMOUNT.match(part.first(path)):
            return Decimal(part.first(path))
    return None


def _sign(draft: _Draft) -> int:
    match draft.first("CdtDbtInd"):
        case "CRDT":
            return 1
        case "DBIT":
            return -1
        case other:
            raise _invalid(f"an entry is neither CRDT nor DBIT: {other[:10]!r}")


def _moment(draft: _Draft) -> datetime:
    """When it was booked: midnight in UTC where the bank says a day."""
    day, moment = draft.first("BookgDt/Dt", "ValDt/Dt"), draft.first("BookgDt/DtTm", "ValDt/DtTm")
    try:
        if draft.first("BookgDt/DtTm") or not day:
            return parse_instant(moment if _has_offset(moment) else f"{moment}Z", "")
        return datetime.combine(parse_date(day, ""), time(), UTC)
    except InvalidInput:
        raise _invalid(f"an entry has no day of booking that can be read: {(moment or day)[:40]!r}") from None


def _has_offset(moment: str) -> bool:
    return moment.endswith("Z") or (len(moment) > 6 and moment[-6] in "+-")


def _clean(text: str) -> str:
    """One line of printable text, at most as long as is kept."""
    if text.isprintable() and len(text) <= TEXT_LENGTH_MAX:
        return text
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:TEXT_LENGTH_MAX]
