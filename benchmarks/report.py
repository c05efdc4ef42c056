"""What was found: one table for people, one JSON file for comparisons."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Series

WIDTH = 100
NOISY_VARIATION = 0.10
"""Repetitions that vary more than this (standard deviation over mean) are marked."""

_TITLES = ("what", "figure", "unit", "baseline", "ratio", "runs", "min - max")
_WIDTHS = (36, 8, 10, 9, 6, 4, 15)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the table.

    what: two spaces ahead of it make it a detail of the row above.
    baseline: the same figure of what it is compared with; `ratio` says how many times better ours is.
    """

    what: str
    unit: str
    ours: Series
    baseline: Series | None = None
    less_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better than the baseline; below 1 it is worse."""
        if self.baseline is None:
            return None
        ours, theirs = self.ours.median, self.baseline.median
        over, under = (theirs, ours) if self.less_is_better else (ours, theirs)
        return over / under if under else None

    @property
    def noisy(self) -> bool:
        """Whether the repetitions differ too much to claim anything."""
        return self.ours.variation > NOISY_VARIATION

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what.strip(),
            "unit": self.unit,
            "less_is_better": self.less_is_better,
            "median": self.ours.median,
            "figures": list(self.ours.figures),
            "baseline_figures": list(self.baseline.figures) if self.baseline else None,
            "ratio": self.ratio,
        }


def table(rows: Sequence[Row]) -> str:
    """All figures in one table, at most a hundred characters wide."""
    lines = [_line(_TITLES), _line(tuple("-" * width for width in _WIDTHS))]
    for row in rows:
        ours = row.ours
        ratio = "" if row.ratio is None else f"{row.ratio:.{1 if row.ratio >= 0.95 else 2}f}x"
        spread = f"{_short(ours.low)} - {_short(ours.high)}" if len(ours.figures) > 1 else ""
        cells = (
            row.what,
            ("~" if row.noisy else "") + figure(ours.median),
            row.unit,
            figure(row.baseline.median) if row.baseline else "",
            ratio,
            str(len(ours.figures)),
            spread,
        )
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    aligned = [
        cell.ljust(width) if place in (0, 2) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def figure(value: float) -> str:
    """Three digits that count: 312,000; 12.4; 0.083."""
    if value == 0:
        return "0"
    if value >= 1_000_000:
        return f"{value / 1_000_000:.2f} M"
    if value >= 10_000:
        return f"{round(value, -2):,.0f}"
    for least, form in ((100, "{:,.0f}"), (10, "{:.1f}"), (1, "{:.2f}"), (0.1, "{:.3f}")):
        if value >= least:
            return form.format(value)
    return f"{value:.4f}"


def _short(value: float) -> str:
    """The same in at most six characters: 312k; 12.4; 0.0831."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.2f}M"
    return f"{value / 1000:.0f}k" if value >= 10_000 else figure(value).replace(",", "")


def write_json(
    path: Path, machine: Mapping[str, Any], rows: Mapping[str, Sequence[Row]], **more: Any
) -> None:
    """Everything, with every repetition."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": dict(machine),
        **more,
        "benchmarks": {name: [row.as_json() for row in some] for name, some in rows.items()},
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
