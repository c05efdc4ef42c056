"""How wide the letters of a printed invoice are, so that what surely fits on one line need not be measured. Pure.

Lengths are whole thousandths of the size of the letters: of Libertinus Serif, with figures of one width.
"""

_FROM_SPACE_ON = (
    250, 288, 336, 465, 465, 637, 705, 190, 298, 298, 369, 550, 220, 338, 220, 323,
    465, 465, 465, 465, 465, 465, 465, 465, 465, 465, 236, 236, 550, 550, 550, 435,
    895, 695, 588, 646, 701, 557, 485, 685, 730, 297, 322, 637, 528, 839, 699, 702,
    541, 702, 587, 485, 597, 661, 652, 951, 660, 575, 604, 356, 287, 356, 518, 486,
    392, 457, 493, 428, 506, 447, 310, 500, 538, 271, 272, 512, 264, 790, 542, 504,
    519, 503, 372, 390, 316, 531, 497, 747, 490, 515, 424, 277, 205, 277, 449,
)  # fmt: skip
"""Of the letters from the space to the tilde."""
_WIDEST = 2000
"""More than any letter has, of any script."""


class _Widths(dict[str, int]):
    def __missing__(self, letter: str) -> int:
        return _WIDEST


_WIDTHS = _Widths(zip(map(chr, range(0x20, 0x7F)), _FROM_SPACE_ON, strict=True))
_WIDTHS |= {"−": 550, "–": 548, "·": 250, "×": 550, "\u200b": 0}
DIGIT, SEPARATOR = _WIDTHS["0"], _WIDTHS["."]


def width(text: str) -> int:
    """No less than the text is wide on one line, but for letters that stand further apart beside each other."""
    return sum(map(_WIDTHS.__getitem__, text))
