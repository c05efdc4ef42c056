"""How reports are written: as JSON and as CSV. Pure."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.finance.model import BEGINNING, FOREVER, Cell, CellKind, Report
from farthing.kernel.instant import format_instant
from farthing.kernel.money import amount_text
from farthing.kernel.quantity import trimmed
from farthing.ledger.model import PeriodClosing


def report_document(report: Report) -> dict[str, Any]:
    """A report as JSON: each row an object by the keys of the columns; amounts are decimal strings."""
    return {
        "report": report.name.value,
        "title": report.title,
        "from": _bound(report.start, BEGINNING),
        "to": _bound(report.end, FOREVER),
        "rows": [
            {column.key: _value(cell) for column, cell in zip(report.columns, row, strict=True)}
            for row in report.rows
        ],
        "ties": [
            {
                "what": tie.what,
                "currency": tie.currency,
                "report": trimmed(tie.report),
                "ledger": trimmed(tie.ledger),
                "holds": tie.holds,
            }
            for tie in report.ties
        ],
    }


def report_csv(report: Report) -> str:
    """A report as CSV (RFC 4180), with the keys of the columns above it.

    A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection).
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.key for column in report.columns])
    for row in report.rows:
        writer.writerow(
            [
                _harmless(text) if column.kind is CellKind.TEXT else text
                for column, text in zip(report.columns, row_texts(report, row), strict=True)
            ]
        )
    return out.getvalue()


def row_texts(report: Report, row: Sequence[Cell]) -> list[str]:
    """The cells of a row as text: amounts with every digit, and at least those of their currency's minor unit."""
    keys = [column.key for column in report.columns]
    currency = str(row[keys.index("currency")])
    return [
        amount_text(cell, currency) if isinstance(cell, Decimal) else "" if cell is None else str(cell)
        for cell in row
    ]


def closing_document(closing: PeriodClosing) -> dict[str, Any]:
    """A closing of the books as JSON."""
    return {
        "closing_id": closing.closing_id,
        "closed_until": None if closing.closed_until is None else format_instant(closing.closed_until),
        "reason": closing.reason,
        "closed_at": format_instant(closing.closed_at),
    }


def _value(cell: Cell) -> str | None:
    return trimmed(cell) if isinstance(cell, Decimal) else cell


def _bound(moment: datetime | None, unbounded: datetime) -> str | None:
    return None if moment is None or moment == unbounded else format_instant(moment)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
