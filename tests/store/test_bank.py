"""Statements in, direct debits out: what the bank tells counts once, and pays what it names."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from xml.etree import ElementTree

import pytest
from billing_world import World, open_store
from payments_world import DUE, ISSUED, PaymentsWorld

from farthing.db import Books
from farthing.kernel.errors import Conflict, FarthingError, InvalidInput, NotFound
from farthing.ledger.chart import Code
from farthing.payments.bank.camt053 import read_statements
from farthing.payments.bank.creditor import parse_creditor
from farthing.payments.bank.service import (
    assign_entry,
    export_debits,
    import_statement,
    list_unmatched,
    write_debits,
)
from farthing.payments.checks import check_payments
from farthing.payments.model import State
from farthing.payments.money_back.service import create_refund, list_disputes
from farthing.payments.service import create_payment, list_payments, put_method, remove_method

FORMATS = Path(__file__).parents[2] / ".." / "shared" / "data" / "bank-formats"
IBANS = ("DE75512108001245126199", "NL91ABNA0417164300", "FR1420041010050500013M02606")
CREDITOR = parse_creditor(
    {
        "name": "Metered Äpi GmbH",
        "iban": "DE89370400440532013000",
        "bic": "COBADEFFXXX",
        "creditor_id": "DE98ZZZ09999999999",
    },
    "sepa",
)


@pytest.fixture
def house(books: Books, tenant_id: int, tmp_path: Path, now: datetime) -> Iterator[PaymentsWorld]:
    world = World(books, open_store(tmp_path), tenant_id, now)
    yield PaymentsWorld(world)
    world.store.close()


def entry(
    amount: str,
    text: str = "",
    reference: str = "",
    end_to_end: str = "",
    returned: str = "",
    batch: str = "",
    currency: str = "EUR",
    payer: str = "Somebody",
    day: str = "2026-02-10",
) -> str:
    sign = "DBIT" if amount.startswith("-") else "CRDT"
    reason = f"<RtrInf><Rsn><Cd>{returned}</Cd></Rsn></RtrInf>" if returned else ""
    return f"""
      <Ntry><Amt Ccy="{currency}">{amount.lstrip("-")}</Amt><CdtDbtInd>{sign}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
        <BookgDt><Dt>{day}</Dt></BookgDt>{f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""}
        <NtryDtls>{f"<Btch><PmtInfId>{batch}</PmtInfId></Btch>" if batch else ""}<TxDtls>
          <Refs><EndToEndId>{end_to_end or "NOTPROVIDED"}</EndToEndId></Refs>
          <RltdPties><Dbtr><Pty><Nm>{payer}</Nm></Pty></Dbtr></RltdPties>
          <RmtInf><Ustrd>{text}</Ustrd></RmtInf>{reason}
        </TxDtls></NtryDtls></Ntry>"""


def statement(*entries: str, version: str = "08", account: str = "DE89370400440532013000") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"><BkToCstmrStmt><GrpHdr><MsgId>m</MsgId></GrpHdr>
<Stmt><Id>2026-02-10</Id><Acct><Id><IBAN>{account}</IBAN></Id></Acct>{"".join(entries)}</Stmt>
</BkToCstmrStmt></Document>""".encode()


def take(house: PaymentsWorld, content: bytes) -> dict[str, int]:
    done = import_statement(house.books, house.tenant_id, content, house.now)
    return dict(done.effects) | ({"known": done.known} if done.known else {})


# ---- Transfers


def test_transfers_pay_what_they_name(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "50"}, currency="EUR")
    house.now = ISSUED + timedelta(days=20)
    said = take(
        house,
        statement(
            entry("60", "invoice INV-000001, first part", "r1"),
            entry("40.00", "inv 1 rest", "r2"),
            entry("55", "Our ref 77 INV000002 thanks", "r3", payer="Bolt"),
            entry("9", "no idea", "r4"),
            entry("3", "INV-000001 and INV-000002", "r5"),
            entry("7", "INV-000001", "r6", currency="USD"),
            entry("-12", "rent", "r7"),
        ),
    )
    assert said == {"paid": 3, "unmatched": 3, "outgoing": 1}
    assert (house.open("INV-000001"), house.open("INV-000002")) == (D(0), D(0))
    assert house.balance(Code.RECEIVABLE, "bolt") == D(-5)
    assert house.balance(Code.CASH) == D(155)
    assert len(house.facts("invoice.paid")) == 2
    house.check()
    assert check_payments(house.books, house.tenant_id).findings == ()


def test_the_same_statement_twice_imports_nothing(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    house.now = ISSUED + timedelta(days=20)
    # Entries without a reference of the bank, two of which say the same all over.
    content = statement(entry("10", "INV-000001"), entry("10", "INV-000001"), entry("5", "?"))
    assert take(house, content) == {"paid": 2, "unmatched": 1}
    assert take(house, content) == {"known": 3}
    longer = statement(
        entry("10", "INV-000001"), entry("10", "INV-000001"), entry("5", "?"), entry("10", "INV-000001")
    )
    assert take(house, longer) == {"paid": 1, "known": 3}
    assert house.open("INV-000001") == D(70)
    # Another account's entries are others.
    assert take(house, statement(entry("10", "INV-000001"), account="FR76OTHER")) == {"paid": 1}
    house.check()


def test_one_transfer_for_several_invoices_pays_them_in_the_order_it_names(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    for month, day in (("03", 27), ("04", 57)):
        house.world.bill(f"2026-{month}-01", now=ISSUED + timedelta(days=day))
    house.now = ISSUED + timedelta(days=60)
    assert take(house, statement(entry("150", "INV-000003 + INV-000001"))) == {"paid": 1}
    assert [house.open(f"INV-00000{number}") for number in (1, 2, 3)] == [D(50), D(100), D(0)]
    house.check()


def test_an_unmatched_entry_is_assigned_once(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    house.now = ISSUED + timedelta(days=20)
    take(house, statement(entry("120", "thank you", payer="ACME")))
    ((one),) = list_unmatched(house.books, house.tenant_id, 0, 10)
    payment = assign_entry(house.books, house.tenant_id, one["entry_id"], "acme", house.now)
    assert (payment.allocated, payment.credit) == (D(100), D(20))
    assert list_unmatched(house.books, house.tenant_id, 0, 10) == []
    with pytest.raises(NotFound) as refused:
        assign_entry(house.books, house.tenant_id, one["entry_id"], "acme", house.now)
    assert refused.value.code == "bank_entry_not_found"
    house.check()


def test_a_transfer_is_given_back_by_hand(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    house.now = ISSUED + timedelta(days=20)
    take(house, statement(entry("120", "INV-000001")))
    (payment,) = list_payments(house.books, house.tenant_id, 0, 10)
    raw = {"key": "r", "payment": payment.key, "amount": "20"}
    refund, _ = create_refund(house.books, house.tenant_id, raw, house.now)
    assert refund.state == "succeeded"
    assert house.balance(Code.CASH) == D(100)
    house.check()


# ---- What cannot be taken in


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "invalid_statement", "no element"),
        (b"hello", "invalid_statement", "syntax error"),
        (statement()[:-30], "invalid_statement", "line 3: unclosed token"),
        (statement(version="99"), "unsupported_statement_version", "camt.053.001.99"),
        (statement().replace(b"camt.053", b"camt.054"), "unsupported_statement_version", "camt.054.001.08"),
        (statement().replace(b"camt.053.001.08", b"pain.008.001.02"), "unsupported_statement_version", "pain.008"),
        (b"<html/>", "unsupported_statement_version", "html"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Document>&a;</Document>', "invalid_statement", "document type"),
        (statement(entry("10").replace('Ccy="EUR"', 'Ccy="XXX"')), "invalid_statement", "amount"),
        (statement(entry("1e3")), "invalid_statement", "amount"),
        (statement(entry("0.00")), "invalid_statement", "over nothing"),
        (statement(entry("10").replace("CRDT", "ODD")), "invalid_statement", "CRDT"),
        (statement(entry("10", day="2026-02-31")), "invalid_statement", "day"),
        (statement(entry("10")).replace(b"<IBAN>DE89370400440532013000</IBAN>", b""), "invalid_statement", "account"),
        (statement("<a>" * 80 + "</a>" * 80), "invalid_statement", "deep"),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_named_and_imports_nothing(
    house: PaymentsWorld, content: bytes, code: str, said: str
) -> None:
    with pytest.raises(FarthingError, match=said) as refused:
        take(house, content)
    assert refused.value.code == code


def test_a_fault_in_the_last_entry_imports_nothing_of_the_file(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    house.now = ISSUED + timedelta(days=20)
    with pytest.raises(InvalidInput):
        take(house, statement(entry("10", "INV-000001"), entry("0.00")))
    assert house.open("INV-000001") == D(100)


def test_garbage_is_refused_and_never_crashes(house: PaymentsWorld) -> None:
    good = statement(entry("10", "INV-000001"), entry("-3", "x"))
    chance = random.Random(11)
    for _ in range(300):
        broken = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            read_statements(bytes(broken))
        except FarthingError as refused:
            assert refused.code in ("invalid_statement", "unsupported_statement_version")  # noqa: PT017


def test_the_sample_of_the_standard_is_read() -> None:
    path = FORMATS / "camt053.v8.xml"
    if not path.exists():
        pytest.skip("../shared/data/bank-formats is not here")
    (found,) = read_statements(path.read_bytes())
    assert (found.account, found.reference) == ("NL26VAYB8060476890", "253EURNL26VAYB8060476890")
    (one,) = found.entries
    assert (one.amount, one.currency, one.payer) == (D("8.85"), "EUR", "NAME NAME")
    assert (one.end_to_end, one.remittance) == ("MUELL/FINP/RA12345", "4654654654654654")


def test_an_entry_of_several_transactions_is_as_many() -> None:
    part = '<TxDtls><Amt Ccy="EUR">{}</Amt><RmtInf><Ustrd>{}</Ustrd></RmtInf></TxDtls>'
    one = entry("30", "x", "ref")
    whole = one[: one.index("<TxDtls>")] + part.format("10", "INV-1") + part.format("20", "INV-2")
    (found,) = read_statements(statement(whole + "</NtryDtls></Ntry>"))
    assert [(one.amount, one.remittance) for one in found.entries] == [(D(10), "INV-1"), (D(20), "INV-2")]
    assert len({one.identity for one in found.entries}) == 2
    # Parts that do not sum to it: it is taken whole.
    wrong = one[: one.index("<TxDtls>")] + part.format("10", "INV-1") + part.format("21", "INV-2")
    (found,) = read_statements(statement(wrong + "</NtryDtls></Ntry>"))
    assert [one.amount for one in found.entries] == [D(30)]


# ---- Direct debits


def mandates(house: PaymentsWorld, *customers: str) -> None:
    for place, name in enumerate(customers):
        raw = {
            "key": f"{name}-debit",
            "customer": name,
            "gateway": "sepa",
            "mandate": {
                "iban": IBANS[place % 3],
                "holder": f"{name.title()} Größe & Söhne",
                "mandate_id": f"M-{name}",
                "signed_on": "2026-01-05",
            },
        }
        put_method(house.books, house.tenant_id, raw, {}, house.now)


def export(house: PaymentsWorld, day: date = date(2026, 3, 10)):
    return export_debits(house.books, house.tenant_id, CREDITOR, day, house.now)


def test_a_file_of_debits_is_valid_and_the_same_when_written_again(house: PaymentsWorld) -> None:
    schema_file = FORMATS / "xsd" / "pain.008.001.08.xsd"
    if not schema_file.exists():
        pytest.skip("../shared/data/bank-formats is not here")
    xmlschema = pytest.importorskip("xmlschema")
    house.owe({"acme": "100.10", "bolt": "50", "cato": "25"}, currency="EUR")
    mandates(house, "acme", "bolt")
    house.now = DUE - timedelta(days=1)
    made = export(house)
    assert made.debits == 2
    xmlschema.XMLSchema(schema_file).validate(made.content.decode())
    again = write_debits(house.books, house.tenant_id, made.message_id)
    assert again.content == made.content
    text = made.content.decode()
    assert "<CtrlSum>150.10</CtrlSum>" in text
    assert "Acme Grosse . Sohne" in text
    assert text.count("<SeqTp>FRST</SeqTp>") == 1
    with pytest.raises(Conflict) as refused:
        export(house)
    assert refused.value.code == "nothing_to_collect"
    assert {one.state for one in list_payments(house.books, house.tenant_id, 0, 10)} == {State.PROCESSING}


def test_a_payment_whose_mandate_was_removed_does_not_stand_in_the_way(house: PaymentsWorld) -> None:
    """There is nothing else to collect, and yet it is learnt: a new mandate is used in the next file."""
    house.owe({"acme": "100"}, currency="EUR")
    mandates(house, "acme")
    wanted = {"key": "p", "invoice": "INV-000001", "method": "acme-debit"}
    create_payment(house.books, house.tenant_id, wanted, house.now)
    remove_method(house.books, house.tenant_id, "acme-debit", house.now)
    house.now = DUE - timedelta(days=1)
    with pytest.raises(Conflict) as refused:
        export(house)
    assert refused.value.code == "nothing_to_collect"
    (payment,) = list_payments(house.books, house.tenant_id, 0, 10)
    assert (payment.state, payment.failure) == (State.FAILED, "method_removed")


def test_debits_that_are_paid_come_back_and_are_refused(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "50", "cato": "25"}, currency="EUR")
    mandates(house, "acme", "bolt", "cato")
    house.now = DUE
    content = export(house).content
    names = [
        found.text for found in ElementTree.fromstring(content).iter() if found.tag.endswith("EndToEndId")
    ]
    house.now = DUE + timedelta(days=8)
    said = take(
        house,
        statement(
            entry("100", "debit", "r1", end_to_end=names[0], day="2026-03-10"),
            entry("50", "debit", "r2", end_to_end=names[1], day="2026-03-10"),
            # Refused by the payer's bank before anything was paid.
            entry("-25", "debit", "r3", end_to_end=names[2], returned="AC04", day="2026-03-11"),
        ),
    )
    assert said == {"debit_paid": 2, "declined": 1}
    assert [house.open(f"INV-00000{number}") for number in (1, 2, 3)] == [D(0), D(0), D(25)]
    house.check()
    # A week later one comes back, and its bank takes 3.50 for that.
    came_back = statement(
        entry("-103.50", "return", "r4", end_to_end=names[0], returned="MD06", day="2026-03-12")
    )
    assert take(house, came_back) == {"returned": 1}
    assert take(house, came_back) == {"known": 1}
    ((_, dispute),) = list_disputes(house.books, house.tenant_id, 0, 10)
    assert (dispute.kind, dispute.reason, dispute.amount, dispute.fee) == (
        "return",
        "MD06",
        D(100),
        D("3.50"),
    )
    assert house.open("INV-000001") == D(100)
    assert house.balance(Code.CASH) == D("46.50")
    assert house.balance(Code.PAYMENT_FEES) == D("3.50")
    house.check()
    assert check_payments(house.books, house.tenant_id).findings == ()


def test_a_block_that_the_bank_booked_as_one_entry_pays_all_of_it(house: PaymentsWorld) -> None:
    house.owe({"acme": "100", "bolt": "50"}, currency="EUR")
    mandates(house, "acme", "bolt")
    house.now = DUE
    made = export(house)
    house.now = DUE + timedelta(days=8)
    wrong = statement(entry("149.99", "batch", "r1", batch=f"{made.message_id}-FRST"))
    assert take(house, wrong) == {"unmatched": 1}
    right = statement(entry("150", "batch", "r2", batch=f"{made.message_id}-FRST"))
    assert take(house, right) == {"debit_paid": 1}
    assert (house.open("INV-000001"), house.open("INV-000002")) == (D(0), D(0))
    house.check()


def test_a_mandate_is_recurring_once_it_has_paid(house: PaymentsWorld) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    mandates(house, "acme")
    house.now = DUE
    made = export(house)
    house.now = DUE + timedelta(days=8)
    take(house, statement(entry("100", "batch", batch=f"{made.message_id}-FRST")))
    house.world.bill("2026-03-01", now=house.now)
    later = export(house, date(2026, 4, 30))
    assert b"<SeqTp>RCUR</SeqTp>" in later.content


@pytest.mark.parametrize(
    ("mandate", "code"),
    [
        ({"iban": "DE75512108001245126198"}, "invalid_iban"),
        ({"iban": "12"}, "invalid_iban"),
        ({"bic": "abc"}, "invalid_bic"),
        ({"mandate_id": "x" * 36}, "invalid_mandate"),
        ({"signed_on": "yesterday"}, "invalid_date"),
    ],
)
def test_a_mandate_that_cannot_be_right_is_refused(
    house: PaymentsWorld, mandate: dict[str, str], code: str
) -> None:
    house.owe({"acme": "100"}, currency="EUR")
    good = {"iban": IBANS[0], "holder": "A", "mandate_id": "M", "signed_on": "2026-01-01"}
    raw = {"key": "k", "customer": "acme", "gateway": "sepa", "mandate": good | mandate}
    with pytest.raises(InvalidInput) as refused:
        put_method(house.books, house.tenant_id, raw, {}, house.now)
    assert refused.value.code == code
    assert IBANS[0][8:] not in str(refused.value)


def test_debits_need_a_creditor_and_a_day_ahead(house: PaymentsWorld) -> None:
    with pytest.raises(InvalidInput) as refused:
        export_debits(house.books, house.tenant_id, None, date(2026, 3, 10), house.now)
    assert refused.value.code == "no_creditor"
    with pytest.raises(InvalidInput) as refused:
        export(house, house.now.date())
    assert refused.value.code == "collect_on_too_early"
