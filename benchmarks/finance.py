"""Every finance report over a million entries: years of invoices with tax, payments by a gateway, wallets."""

from datetime import UTC, datetime
from decimal import Decimal

from benchmarks.bench import Bench
from benchmarks.measuring import Stretch, postmaster, require_equal, series, stretch
from benchmarks.report import Row
from farthing.app import App
from farthing.customers.apply import apply
from farthing.db.tenants import create_tenant
from farthing.finance.model import ReportName
from farthing.finance.service import OVER_A_PERIOD, make_report

ABOUT = (
    "Reports: of one tenant; for each invoice of two lines with tax, a payment by a gateway, its fee, and two draws "
    "from a wallet: eleven entries. Written by SQL, judged by the database like all others. Each report must tie."
)
ENTRIES_PER_INVOICE = 11
INVOICES_PER_CUSTOMER = 60
"""Five years of months."""
START = datetime(2021, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
YEAR = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))

_CUSTOMERS = """
    CREATE TEMPORARY TABLE paying ON COMMIT DROP AS
    SELECT c.customer_id, s.subscription_id, s.plan_version_id, row_number() OVER (ORDER BY c.customer_id) AS place
      FROM customers c JOIN subscriptions s USING (tenant_id, customer_id) WHERE c.tenant_id = %(tenant)s;
"""
_ACCOUNTS = """
    INSERT INTO accounts (tenant_id, code, kind, customer_id, currency, created_at)
    SELECT %(tenant)s, a.code, a.kind, p.customer_id, 'EUR', %(start)s
      FROM paying p CROSS JOIN (VALUES ('receivable', 'asset'), ('prepaid', 'liability')) AS a (code, kind)
     UNION ALL
    SELECT %(tenant)s, a.code, a.kind, NULL, 'EUR', %(start)s
      FROM (VALUES ('provider_clearing', 'asset'), ('revenue', 'income'), ('tax_payable', 'liability'),
                   ('payment_fees', 'expense')) AS a (code, kind)
"""
_INVOICES = """
    CREATE TEMPORARY TABLE billed ON COMMIT DROP AS
    SELECT p.*, %(start)s::timestamptz + m * interval '1 month' AS began,
           %(start)s::timestamptz + (m + 1) * interval '1 month' AS ended,
           'INV-' || lpad(((p.place - 1) * %(months)s + m + 1)::text, 7, '0') AS number
      FROM paying p CROSS JOIN generate_series(0, %(months)s - 1) AS m;
    INSERT INTO invoices (tenant_id, number, customer_id, subscription_id, plan_version_id, status, reason, currency,
                          period_start, period_end, subtotal, tax, total, total_exact, issued_at, document)
    SELECT %(tenant)s, number, customer_id, subscription_id, plan_version_id, 'issued', 'period', 'EUR', began, ended,
           100, 19, 119, 119, ended, '{"amount_due": "119.00"}'
      FROM billed ORDER BY number;
    INSERT INTO invoice_taxes (tenant_id, invoice_id, place, name, country, category, treatment, percent, net, amount)
    SELECT tenant_id, invoice_id, 1, 'VAT', 'DE', 'standard', 'taxed', 19, 100, 19
      FROM invoices WHERE tenant_id = %(tenant)s;
    INSERT INTO invoice_lines (tenant_id, invoice_id, line, rate_card, dimensions, service_start, service_end, quantity,
                               amount_exact, amount, tax)
    SELECT i.tenant_id, i.invoice_id, l.line, 'card-' || l.line, '{}', i.period_start, i.period_end, 1, l.amount,
           l.amount, l.tax
      FROM invoices i CROSS JOIN (VALUES (1, 60, 11.4), (2, 40, 7.6)) AS l (line, amount, tax)
     WHERE i.tenant_id = %(tenant)s;
"""
_PAYMENTS = """
    INSERT INTO payments (tenant_id, key, customer_id, gateway, purpose, invoice_id, currency, amount, reference,
                          requested_at, state, moved_at, cause, provider_id, paid_at, fee)
    SELECT tenant_id, 'collect:' || number || ':1', customer_id, 'fake', 'invoice', invoice_id, 'EUR', 119, number,
           issued_at, 'succeeded', issued_at, 'paid', 'pi_' || invoice_id, issued_at, 3.45
      FROM invoices WHERE tenant_id = %(tenant)s ORDER BY invoice_id;
    INSERT INTO provider_movements (tenant_id, gateway, kind, movement_id, provider_id, amount, currency, moved_at,
                                    learnt_at)
    SELECT tenant_id, 'fake', m.kind, m.kind || payment_id, provider_id, m.amount, 'EUR', paid_at, paid_at
      FROM payments CROSS JOIN (VALUES ('payment', 119), ('fee', 3.45)) AS m (kind, amount)
     WHERE tenant_id = %(tenant)s;
"""
_TRANSFERS = """
    WITH own AS (
        SELECT code, account_id FROM accounts WHERE tenant_id = %(tenant)s AND customer_id IS NULL
    ), theirs AS (
        SELECT customer_id, max(account_id) FILTER (WHERE code = 'receivable') AS receivable,
               max(account_id) FILTER (WHERE code = 'prepaid') AS prepaid
          FROM accounts WHERE tenant_id = %(tenant)s AND customer_id IS NOT NULL GROUP BY customer_id
    ), facts AS (
        SELECT i.number, i.issued_at AS at, t.receivable, t.prepaid,
               (SELECT account_id FROM own WHERE code = 'revenue') AS revenue,
               (SELECT account_id FROM own WHERE code = 'tax_payable') AS tax,
               (SELECT account_id FROM own WHERE code = 'provider_clearing') AS clearing,
               (SELECT account_id FROM own WHERE code = 'payment_fees') AS fees
          FROM invoices i JOIN theirs t USING (customer_id) WHERE i.tenant_id = %(tenant)s
    )
    INSERT INTO transfers (tenant_id, transfer_id, key, kind, currency, reference, effective_at, booked_at, input_hash,
                           account_ids, amounts)
    SELECT %(tenant)s, nextval('transfer_ids'), f.key, f.kind, 'EUR', f.reference, f.at, f.at, '', f.ids, f.amounts
      FROM (
        SELECT 'invoice:' || number AS key, 'invoice_issued' AS kind, number AS reference, at,
               ARRAY[receivable, revenue, tax] AS ids, ARRAY[119, -100, -19]::numeric[] AS amounts FROM facts
        UNION ALL
        SELECT 'payment:collect:' || number || ':1', 'payment_received', number, at, ARRAY[clearing, receivable],
               ARRAY[119, -119] FROM facts
        UNION ALL
        SELECT 'payment_fee:collect:' || number || ':1', 'payment_fee', number, at, ARRAY[fees, clearing],
               ARRAY[3.45, -3.45] FROM facts
        UNION ALL
        SELECT 'draw:' || number || ':' || n, 'wallet_draw', '', at - n * interval '1 day', ARRAY[prepaid, revenue],
               ARRAY[0.0000325, -0.0000325] FROM facts CROSS JOIN generate_series(1, 2) AS n
      ) f ORDER BY f.at
"""


def run(bench: Bench) -> list[Row]:
    """The books are written once; then each report is made of all of them, or of a year where it is over a period."""
    app = bench.app
    customers = max(10, bench.sizes.entries // (ENTRIES_PER_INVOICE * INVOICES_PER_CUSTOMER))
    invoices = customers * INVOICES_PER_CUSTOMER
    with bench.saying(f"writing {invoices:,} invoices, {invoices * ENTRIES_PER_INVOICE:,} entries"):
        tenant_id = _books(app, customers)
    times: dict[ReportName, list[Stretch]] = {name: [] for name in ReportName}
    with bench.saying("making reports"):
        for _ in range(bench.sizes.long_repetitions):
            for name in ReportName:
                times[name].append(_made(app, tenant_id, name, invoices))
    slowest = [max(some, key=lambda one: one.seconds) for some in zip(*times.values(), strict=True)]
    return [
        Row(
            f"Reports of {invoices * ENTRIES_PER_INVOICE:,} entries: slowest",
            "ms",
            series(one.seconds * 1e3 for one in slowest),
            less_is_better=True,
        ),
        Row("  its CPU", "ms", series(one.cpu_seconds * 1e3 for one in slowest), less_is_better=True),
        *(
            Row(
                f"  {name.value.replace('-', ' ')}",
                "ms",
                series(one.seconds * 1e3 for one in times[name]),
                less_is_better=True,
            )
            for name in ReportName
        ),
    ]


def _made(app: App, tenant_id: int, name: ReportName, invoices: int) -> Stretch:
    start, end = YEAR if name in OVER_A_PERIOD else (None, None)
    with stretch(postmaster(app.settings.data_dir)) as measured:
        report = make_report(app.books, tenant_id, name, start, end, NOW)
    require_equal(f"{name.value} ties", [tie for tie in report.ties if not tie.holds], [])
    if name is ReportName.TAX:
        year = invoices * 12 // INVOICES_PER_CUSTOMER
        require_equal(
            "tax of a year", [row[-2:] for row in report.rows], [(Decimal(100) * year, Decimal(19) * year)]
        )
    return measured


def _books(app: App, customers: int) -> int:
    """A tenant with its invoices, payments and transfers."""
    tenant_id = create_tenant(app.books, "finance-benchmark", "Finance", START)
    card = {"key": "fee", "name": "Fee", "price": {"model": "flat", "amount": "100"}}
    document = {
        "plans": [
            {"key": "fee", "name": "Fee", "currency": "EUR", "interval": "month", "rate_cards": [card]}
        ],
        "customers": [
            {"key": f"c{place}", "name": f"C {place}", "currency": "EUR"} for place in range(customers)
        ],
        "subscriptions": [
            {"key": f"s{place}", "customer": f"c{place}", "plan": "fee", "start": "2021-01-01T00:00:00Z"}
            for place in range(customers)
        ],
    }
    apply(app.books, tenant_id, document, START)
    given = {"tenant": tenant_id, "start": START, "months": INVOICES_PER_CUSTOMER}
    with app.books.transaction(tenant_id) as conn:
        for script in (_CUSTOMERS, _ACCOUNTS, _INVOICES, _PAYMENTS, _TRANSFERS):
            for statement in script.split(";"):
                if statement.strip():
                    conn.execute(statement, given)
    return tenant_id
