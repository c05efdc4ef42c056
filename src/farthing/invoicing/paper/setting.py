"""How the table of a printed invoice is set: widths of its columns, heights of its rows. Pure.

A column is as wide as its widest figure and a row of one line as high as a line: typesetting that knows both
beforehand takes half the time of one that measures. Lengths are whole thousandths of a point.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from farthing.invoicing.paper.face import DIGIT, SEPARATOR, width
from farthing.invoicing.paper.wording import Figure, aligned
from farthing.kernel.value import value

PAGE_WIDTHS = {"a4": 595_280, "us-letter": 612_000}
MARGIN = 54_000
LETTERS, NOTE_LETTERS, TITLE_LETTERS = 9_500, 8_500, 8_000
"""Sizes of the letters of rows, of the notes below them, and of the titles of columns."""
GAP = 16_000
"""Between columns."""
LINE = 9_000
AIR = 6_500
"""Above and below a rule."""
AIRY_LEADING, DENSE_LEADING = 3_500, 2_500
"""Between two lines of a section."""
WORDS_WIDTH_MIN = 120_000
AIRY_LINES_MAX = 24
"""Up to here every line stands apart; a longer invoice is set closer."""

HEADING, MEMBER, CHARGE, CHARGE_OF_MEMBER = "heading", "member", "charge", "charge of member"
"""What a row of the table is; the template knows how each looks."""
TIERED, UNPRICED = "tiered", "unpriced"
"""What stands in a figure's place where the rows below say it, or nothing does."""
QUIET_KINDS = (CHARGE, CHARGE_OF_MEMBER)
INDENTS = {HEADING: 0, MEMBER: 10_000, CHARGE: 10_000, CHARGE_OF_MEMBER: 20_000}


@value
class Row:
    """One row of the table: what it is, its words, notes below them, a figure for each column or for none."""

    kind: str
    text: str
    notes: tuple[str, ...]
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """widest: the widest figure, in thousandths of the size of its letters."""

    title: str
    widest: int

    def width(self, letters: int) -> int:
        return max(-(-self.widest * letters // 1000), width(self.title) * TITLE_LETTERS // 1000)


def set_table(
    titles: Sequence[str], sections: Sequence[Sequence[Row]], page_width: int, *, dense: bool
) -> dict[str, Any]:
    """The table as the template places it; a rule stands below each section.

    Heights and what stands between rows are runs: of how many rows, and how much. A height is none where words may
    need more than one line. Numbers of dozens of digits are set smaller rather than over each other.
    """
    figures = [row.figures for rows in sections for row in rows if row.figures]
    aligned_columns = [aligned(column) for column in zip(*figures, strict=True)] or [[] for _ in titles]
    columns = [_Column(title, _widest(column)) for title, column in zip(titles, aligned_columns, strict=True)]
    all_width = page_width - 2 * MARGIN - len(columns) * GAP
    wanted = sum(column.width(LETTERS) for column in columns)
    letters = min(LETTERS, LETTERS * (all_width - WORDS_WIDTH_MIN) // wanted)
    widths = [column.width(letters) for column in columns]
    words_width = all_width - sum(widths)
    leading = DENSE_LEADING if dense else AIRY_LEADING
    figures_of_rows = zip(*aligned_columns, strict=True)
    heights = [[_height(row, words_width, letters, leading) for row in rows] for rows in sections]
    for ones in heights:  # the air above a rule is part of the last row
        ones[-1] = None if ones[-1] is None else ones[-1] + AIR
    return {
        "dense": dense,
        "letters": letters,
        "leading": leading,
        "columns": list(titles),
        "widths": [words_width, *widths],
        "heights": _runs(height for ones in heights for height in ones),
        "gutters": _runs(gap for ones in heights for gap in (*[leading] * (len(ones) - 1), AIR)),
        "sections": [
            [
                {
                    "kind": row.kind,
                    "text": row.text,
                    "notes": row.notes,
                    "fits": height is not None,
                    "figures": [
                        (
                            text,
                            _room(digits, point) * letters // 1000,
                            row.kind in QUIET_KINDS or text in (TIERED, UNPRICED),
                        )
                        for text, digits, point in (next(figures_of_rows) if row.figures else ())
                    ],
                }
                for row, height in zip(rows, ones, strict=True)
            ]
            for rows, ones in zip(sections, heights, strict=True)
        ],
    }


def _runs(lengths: Iterable[int | None]) -> list[tuple[int, int | None]]:
    """How many of a length stand beside each other, and that length."""
    return [(len(list(alike)), length) for length, alike in groupby(lengths)]


def _widest(figures: Sequence[Figure]) -> int:
    return max((width(text) + _room(digits, point) for text, digits, point in figures), default=0)


def _room(digits: int, point: bool) -> int:
    """How wide the digits and the point are that a figure lacks to be as long as its neighbours."""
    return digits * DIGIT + point * SEPARATOR


def _height(row: Row, words_width: int, letters: int, leading: int) -> int | None:
    if not _fits(row.text, letters, words_width - INDENTS[row.kind]):
        return None
    if not all(_fits(note, NOTE_LETTERS, words_width) for note in row.notes):
        return None
    return (1 + len(row.notes)) * (LINE + leading) - leading


def _fits(text: str, letters: int, room: int) -> bool:
    """Whether a text surely needs no second line; pairs of letters that stand apart are allowed 3 %."""
    return width(text) * letters * 103 < room * 100_000
