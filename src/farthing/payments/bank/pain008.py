"""Files of SEPA direct debits: pain.008.001.08, scheme CORE. Pure: the same debits give the same bytes.

First debits of a mandate and recurring ones stand in blocks of their own, as the scheme has it. Texts are reduced to
the characters that every bank of the scheme takes.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from xml.etree.ElementTree import Element, SubElement, tostring

from farthing.kernel.quantity import ZERO, exact, plain
from farthing.payments.bank.creditor import Creditor

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.008.001.08"
SEQUENCES = ("FRST", "RCUR")
NAME_LENGTH_MAX = 70
REMITTANCE_LENGTH_MAX = 140

_NOT_SEPA = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


@dataclass(frozen=True, slots=True)
class Debit:
    """One direct debit. end_to_end comes back on the statement and in returns."""

    end_to_end: str
    amount: Decimal
    mandate_id: str
    signed_on: str
    holder: str
    iban: str
    bic: str | None
    remittance: str
    sequence: str


def debit_file(
    message_id: str, creditor: Creditor, collect_on: date, made_at: datetime, debits: Sequence[Debit]
) -> bytes:
    """The file for the bank. Amounts are in EUR."""
    assert debits
    document = Element("Document", {"xmlns": NAMESPACE})
    root = SubElement(document, "CstmrDrctDbtInitn")
    header = SubElement(root, "GrpHdr")
    _texts(header, MsgId=message_id, CreDtTm=made_at.replace(tzinfo=None, microsecond=0).isoformat())
    _sums(header, debits)
    _texts(SubElement(header, "InitgPty"), Nm=sepa_text(creditor.name, NAME_LENGTH_MAX))
    for sequence in SEQUENCES:
        some = [debit for debit in debits if debit.sequence == sequence]
        if some:
            _block(root, block_id(message_id, sequence), sequence, creditor, collect_on, some)
    content: bytes = tostring(document, encoding="utf-8", xml_declaration=True)
    return content


def block_id(message_id: str, sequence: str) -> str:
    """What the bank calls the block on the statement, where it books it as one entry."""
    return f"{message_id}-{sequence}"


def sepa_text(text: str, length: int) -> str:
    """In the characters that every bank takes: accents fall away, others become full stops."""
    plain_text = "".join(
        sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign)
    )
    return _NOT_SEPA.sub(".", plain_text.replace("ß", "ss"))[:length].strip() or "."


def _block(
    root: Element,
    name: str,
    sequence: str,
    creditor: Creditor,
    collect_on: date,
    debits: Sequence[Debit],
) -> None:
    block = SubElement(root, "PmtInf")
    _texts(block, PmtInfId=name, PmtMtd="DD", BtchBookg="true")
    _sums(block, debits)
    kind = SubElement(block, "PmtTpInf")
    _texts(SubElement(kind, "SvcLvl"), Cd="SEPA")
    _texts(SubElement(kind, "LclInstrm"), Cd="CORE")
    _texts(kind, SeqTp=sequence)
    _texts(block, ReqdColltnDt=collect_on.isoformat())
    _texts(SubElement(block, "Cdtr"), Nm=sepa_text(creditor.name, NAME_LENGTH_MAX))
    _texts(SubElement(SubElement(block, "CdtrAcct"), "Id"), IBAN=creditor.iban)
    _agent(SubElement(block, "CdtrAgt"), creditor.bic)
    _texts(block, ChrgBr="SLEV")
    scheme = SubElement(SubElement(SubElement(SubElement(block, "CdtrSchmeId"), "Id"), "PrvtId"), "Othr")
    _texts(scheme, Id=creditor.creditor_id)
    _texts(SubElement(scheme, "SchmeNm"), Prtry="SEPA")
    for debit in debits:
        _debit(SubElement(block, "DrctDbtTxInf"), debit)


def _debit(one: Element, debit: Debit) -> None:
    _texts(SubElement(one, "PmtId"), EndToEndId=debit.end_to_end)
    amount = SubElement(one, "InstdAmt", {"Ccy": "EUR"})
    amount.text = plain(debit.amount)
    mandate = SubElement(SubElement(one, "DrctDbtTx"), "MndtRltdInf")
    _texts(mandate, MndtId=debit.mandate_id, DtOfSgntr=debit.signed_on)
    _agent(SubElement(one, "DbtrAgt"), debit.bic)
    _texts(SubElement(one, "Dbtr"), Nm=sepa_text(debit.holder, NAME_LENGTH_MAX))
    _texts(SubElement(SubElement(one, "DbtrAcct"), "Id"), IBAN=debit.iban)
    _texts(SubElement(one, "RmtInf"), Ustrd=sepa_text(debit.remittance, REMITTANCE_LENGTH_MAX))


def _agent(agent: Element, bic: str | None) -> None:
    bank = SubElement(agent, "FinInstnId")
    if bic is not None:
        _texts(bank, BICFI=bic)
    else:
        _texts(SubElement(bank, "Othr"), Id="NOTPROVIDED")


def _sums(parent: Element, debits: Sequence[Debit]) -> None:
    with exact():
        total = sum((debit.amount for debit in debits), ZERO)
    _texts(parent, NbOfTxs=str(len(debits)), CtrlSum=plain(total))


def _texts(parent: Element, **texts: str) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = text
