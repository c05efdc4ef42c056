"""A bank statement: every transfer names an invoice, and is read, matched, allocated and booked."""

from datetime import UTC, datetime
from random import Random

from benchmarks.bench import Bench
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from farthing.cli.demo_traffic import SEED
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant
from farthing.invoicing.service import run_billing
from farthing.payments.bank.service import import_statement
from farthing.payments.checks import check_payments

ABOUT = "Statement: one camt.053 file, one process; every entry names an invoice of another customer."
BILLED = datetime(2026, 2, 1, tzinfo=UTC)
ISSUED = datetime(2026, 2, 2, tzinfo=UTC)
IMPORTED = datetime(2026, 2, 20, tzinfo=UTC)

_ENTRY = (
    '<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-02-10</Dt>'
    "</BookgDt><AcctSvcrRef>REF{place}</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>"
    "<RltdPties><Dbtr><Pty><Nm>Payer {place}</Nm></Pty></Dbtr></RltdPties><RmtInf><Ustrd>Invoice INV-{number:06d}"
    " thanks</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
)
_STATEMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
    "<BkToCstmrStmt><GrpHdr><MsgId>1</MsgId></GrpHdr><Stmt><Id>{name}</Id><Acct><Id><IBAN>DE89370400440532013000</IBAN>"
    "</Id></Acct>{entries}</Stmt></BkToCstmrStmt></Document>"
)


def run(bench: Bench) -> list[Row]:
    """A tenant for each repetition: each pays its invoices once. Then the same file again, which does nothing."""
    entries = max(200, bench.sizes.customers // 2)
    ours: list[Stretch] = []
    for number in range(bench.sizes.long_repetitions):
        with bench.saying(f"billing {entries:,} customers, {number + 1} of {bench.sizes.long_repetitions}"):
            tenant_id = _owing(bench, number, entries)
        content = _statement(number, entries)
        with bench.saying(f"importing {entries:,} entries"):
            with stretch(postmaster(bench.app.settings.data_dir)) as measured:
                done = import_statement(bench.app.books, tenant_id, content, IMPORTED)
            ours.append(measured)
        require_equal("entries that paid an invoice", done.effects["paid"], entries)
        again = import_statement(bench.app.books, tenant_id, content, IMPORTED)
        require_equal("new entries of the same statement", again.entries, 0)
        require_equal("findings", check_payments(bench.app.books, tenant_id).findings, ())
    return [
        Row(
            f"Statement of {entries:,} entries, matched",
            "per second",
            series(entries / one.seconds for one in ours),
        ),
        Row(
            "  CPU per thousand entries",
            "ms",
            series(one.cpu_seconds * 1e6 / entries for one in ours),
            less_is_better=True,
        ),
    ]


def _owing(bench: Bench, number: int, count: int) -> int:
    """A tenant with so many customers, each of which owes 10.00."""
    app = bench.app
    tenant_id = create_tenant(app.books, f"statement-benchmark-{number}", "Statement", ISSUED)
    card = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "10"}}
    document = {
        "plans": [
            {"key": "fee", "name": "Fee", "currency": "EUR", "interval": "month", "rate_cards": [card]}
        ],
        "customers": [
            {"key": f"c{place}", "name": f"C {place}", "currency": "EUR"} for place in range(count)
        ],
        "subscriptions": [
            {"key": f"s{place}", "customer": f"c{place}", "plan": "fee", "start": "2026-01-01T00:00:00Z"}
            for place in range(count)
        ],
    }
    apply(app.books, tenant_id, document, ISSUED)
    issued = run_billing(app.books, app.store, tenant_id, BILLED, ISSUED)
    require_equal("invoices", len(issued.issued), count)
    return tenant_id


def _statement(number: int, count: int) -> bytes:
    """In no order, as transfers come in."""
    numbers = list(range(1, count + 1))
    Random(SEED + number).shuffle(numbers)
    entries = [
        _ENTRY.format(amount="10.00", place=place, number=invoice) for place, invoice in enumerate(numbers)
    ]
    return _STATEMENT.format(name=f"2026-{number}", entries="".join(entries)).encode()
