"""A person with bytes of its own in every field that a user can fill, beside a customer who is nobody in particular."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import zstandard
from billing_world import PER_TOKEN, fee, instant, open_store, plan
from hold_world import HoldWorld, authorize, settle
from test_bank import entry, statement

from farthing.api.store import IdempotentWrite, insert_write
from farthing.customers.life import change_subscription, charge_once
from farthing.customers.service import cancel_subscription, update_customer
from farthing.db import Books
from farthing.events.log.files import BlockHeader, LogWriter, RefusedLine, encode_block
from farthing.events.model import VOID_TYPE
from farthing.invoicing.credit_notes.service import issue_credit_note, void_invoice
from farthing.kernel.instant import unix_microseconds
from farthing.payments.bank.service import import_statement
from farthing.payments.gateways.fake import FakeGateway
from farthing.payments.money_back.service import create_refund
from farthing.payments.service import create_payment, put_method, write_off
from farthing.tax.service import put_facts
from farthing.wallets.holds.counting import settled_charges
from farthing.wallets.holds.service import put_limit
from farthing.wallets.sealing import WalletDraws
from farthing.wallets.service import create_grant, create_wallet, void_grant
from farthing.wallets.top_ups import request_top_up, settle_top_up

MARK = "Xq7Zp"
"""Stands in everything that the person is called or has written, and nowhere else."""
TAX_NUMBER = "DE136695976"
NEEDLES = (MARK.encode(), TAX_NUMBER.encode())
PERSON = f"{MARK}-person"
ALIAS = f'{MARK} alias"ü'
DAY = timedelta(days=1)


def marked(what: str) -> str:
    return f"{MARK}-{what}"


class Person:
    """Fills a house with the person's life; at its end it has left and everything is billed."""

    def __init__(self, books: Books, data_dir: Path, tenant_id: int = 1) -> None:
        store = open_store(data_dir)
        store.beside_sealing = WalletDraws(books, store, settled_charges)
        self.world = HoldWorld(books, store, tenant_id, instant("2026-01-02T08:00:00Z"))
        self.books, self.store, self.tenant_id = books, store, tenant_id

    @property
    def at(self) -> tuple[Books, int]:
        return self.books, self.tenant_id

    def live(self) -> None:
        self.arrive()
        self.use()
        self.leave()
        self.settle_accounts()

    def arrive(self) -> None:
        world, now = self.world, self.world.now
        world.furnish(
            [plan(PER_TOKEN), plan(fee("4"), key="flat")],
            [
                {"customer": PERSON, "plan": "flat", "key": marked("second subscription")},
                {"customer": PERSON, "plan": "payg", "key": marked("subscription"),
                 "commitments": [{"key": marked("commitment"), "name": marked("commitment name"), "kind": "minimum",
                                  "amount": "5", "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}]},
                {"customer": "other", "plan": "payg"},
            ],
        )  # fmt: skip
        said = {
            "name": marked("name"), "email": f"{MARK}@mail.example", "aliases": [ALIAS],
            "address": {"line1": marked("street"), "city": marked("city"), "country": "DE"},
        }  # fmt: skip
        update_customer(*self.at, PERSON, said, now)
        put_facts(*self.at, PERSON, {"tax_ids": [{"country": "DE", "number": TAX_NUMBER}]}, now)
        charge = {
            "key": marked("charge"),
            "description": marked("charge text"),
            "amount": "3",
            "at": "2026-01-05T00:00:00Z",
        }
        charge_once(*self.at, marked("subscription"), charge, now)
        change = {"kind": "pause", "key": marked("change"), "at": "2026-01-30T00:00:00Z"}
        change_subscription(*self.at, marked("subscription"), change, now)
        create_wallet(
            *self.at,
            {"key": marked("wallet"), "customer": PERSON, "name": marked("purse"), "currency": "USD"},
            now,
        )
        for kind in ("paid", "promotional"):
            grant = {
                "key": marked(f"{kind} grant"),
                "kind": kind,
                "amount": "2",
                "reference": marked("grant reference"),
            }
            create_grant(*self.at, marked("wallet"), grant, now)
        recurring = {
            "key": marked("recurring"),
            "kind": "promotional",
            "amount": "1",
            "every": {"interval": "month"},
        }
        create_grant(*self.at, marked("wallet"), recurring, now)
        limit = {
            "customer": PERSON,
            "level": "project",
            "name": marked("project"),
            "interval": "month",
            "amount": "100",
        }
        put_limit(*self.at, limit, now)

    def use(self) -> None:
        """Events of every fate: counted, repeated, in conflict, too late, broken, corrected, settled."""
        world = self.world
        january = world.events([
            (PERSON, "2026-01-10", "1000000", {"model": "shared", "note": marked("data")}),
            (ALIAS, "2026-01-11", "400000.5", {"model": marked("model"), "user": {"mail": marked("nested")}}),
            (PERSON, "2026-01-12", "7", {"model": "shared"}),
            (PERSON, "2026-01-13", "70", {}),
            ("other", "2026-01-10", "1000", {"model": "shared"}),
        ])  # fmt: skip
        january[0] |= {"id": marked("event"), "source": marked("source")}
        self.january = january
        world.send(january)
        world.send(january[:1])
        world.send([january[0] | {"data": {"tokens": "5", "why": marked("conflict")}}])
        world.send([{**january[0], "id": marked("bad"), "data": {"tokens": marked("no number")}}])
        void = {"specversion": "1.0", "id": marked("void"), "source": "test", "type": VOID_TYPE,
                "corrects": january[2]["id"], "correctsreason": marked("reason of a void")}  # fmt: skip
        replacement = january[3] | {"id": marked("replacement"), "corrects": january[3]["id"]}
        world.send([void, replacement])
        world.send([{**january[1], "id": "early", "corrects": marked("never came")}])
        self._refused_line()
        world.hold(authorize(marked("hold"), "10", PERSON))
        settled = settle(
            marked("hold"), marked("settled event"), "10", customer=PERSON, time="2026-01-02T07:00:00Z"
        )
        world.hold(settled)
        world.seal()

    def _refused_line(self) -> None:
        line = RefusedLine("file:1", "malformed", "broken", f'{{"subject":"{PERSON}","id":'.encode())
        payload = json.dumps({"place": line.place, "code": line.code, "message": line.message,
                              "raw": __import__("base64").b64encode(line.raw).decode()}).encode() + b"\n"  # fmt: skip
        header = BlockHeader(
            1, self.tenant_id, "refused", unix_microseconds(self.world.now), 1, len(payload), "file"
        )
        writer = LogWriter(self.store.data_dir / "log", "refusing")
        writer.append(encode_block(header, payload)).result()
        writer.close()

    def leave(self) -> None:
        world = self.world
        world.now = instant("2026-02-03T08:00:00Z")
        for key in ("subscription", "second subscription"):
            cancel_subscription(*self.at, marked(key), instant("2026-02-01"), world.now)
        world.bill("2026-02-01")
        with self.books.read_only(self.tenant_id) as conn:
            rows = conn.execute(
                "SELECT s.key, number FROM invoices JOIN subscriptions s USING (tenant_id, subscription_id)"
            )
            self.numbers = {row["key"]: row["number"] for row in rows}
        self.own = self.numbers[marked("subscription")]

    def settle_accounts(self) -> None:
        now = self.world.now
        gateway = FakeGateway("whsec", lambda: now, 0)
        method = {"key": marked("card"), "customer": PERSON, "gateway": "fake", "reference": "tok_ok"}
        put_method(*self.at, method, {"fake": gateway}, now)
        void_invoice(*self.at, self.numbers[marked("second subscription")], marked("void reason"), now)
        create_payment(
            *self.at,
            {
                "key": marked("part"),
                "customer": PERSON,
                "amount": "1",
                "currency": "USD",
                "paid_at": now.isoformat(),
            },
            now,
        )
        credit = {
            "key": marked("credit note"),
            "invoice": self.own,
            "reason": marked("credit reason"),
            "amount": "1",
        }
        issue_credit_note(*self.at, credit, now)
        write_off(*self.at, self.own, {"reason": marked("write off")}, now)
        for key in ("payment", "more"):
            create_payment(
                *self.at,
                {"key": marked(key), "customer": PERSON, "amount": "2", "currency": "USD",
                 "reference": marked("payment reference"), "paid_at": now.isoformat()},
                now,
            )  # fmt: skip
        text = f"nothing known {MARK}-remittance"
        import_statement(
            *self.at, statement(entry("9", text, "r1", currency="USD", payer=marked("name"))), now
        )
        create_refund(*self.at, {"key": marked("refund"), "payment": marked("more"), "amount": "0.5",
                                 "reason": marked("refund reason")}, now)  # fmt: skip
        request_top_up(*self.at, marked("wallet"), {"key": marked("top up"), "amount": "5"}, now)
        came = {"status": "funded", "reference": marked("top up reference")}
        settle_top_up(*self.at, marked("wallet"), marked("top up"), came, now)
        request_top_up(*self.at, marked("wallet"), {"key": marked("failed top up"), "amount": "5"}, now)
        failed = {"status": "failed", "reference": marked("top up failure")}
        settle_top_up(*self.at, marked("wallet"), marked("failed top up"), failed, now)
        void_grant(*self.at, marked("promotional grant"), marked("void note"), now)
        write = IdempotentWrite(
            f"POST /v1/customers/{PERSON}/aliases", b"h", 200, json.dumps({"key": PERSON})
        )
        with self.books.transaction(self.tenant_id) as conn:
            insert_write(conn, self.tenant_id, "an-idempotency-key", write, now)


def found_in(directory: Path) -> Iterator[str]:
    """Where the person's bytes stand: in any file as it lies, unpacked, or column by column."""
    for path in sorted(one for one in directory.rglob("*") if one.is_file()):
        data = path.read_bytes()
        texts = [data]
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            texts += ["\n".join(map(str, column.to_pylist())).encode() for column in table.columns]
        if path.suffix == ".zst":
            texts.append(zstandard.ZstdDecompressor().decompressobj().decompress(data))
        if any(needle in text for needle in NEEDLES for text in texts):
            yield str(path.relative_to(directory))
