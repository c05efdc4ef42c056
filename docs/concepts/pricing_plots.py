"""Draw the pictures of `pricing.md`: what a price costs, against how much is used.

    python docs/concepts/pricing_plots.py

Every curve is asked of `farthing rate` at a few hundred quantities, for the prices that stand in the
page, so a picture cannot show another price than the text beside it. The SVG is written by hand: the
same prices give the same bytes, and a test holds the pictures to the page.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import floor, log10
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from farthing.rating.wire import rate_line

PAGE = Path(__file__).with_name("pricing.md")
PICTURES = PAGE.with_suffix("")

STEPS = 500
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 20, 44
INK, FAINT, PAPER = "#1c2733", "#d8dee6", "#ffffff"
COLOURS = ("#0b6e99", "#c2571a", "#4f7d2c")
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"

Usage = Mapping[str, object]


@dataclass(frozen=True)
class Plot:
    """What stands on the axes. `usage` makes the line of `farthing rate` for so much used."""

    most: str
    used: str
    usage: Callable[[str], Usage] = lambda quantity: {"quantity": quantity}
    curves: Mapping[str, Callable[[str], Usage]] = field(default_factory=dict)

    def named(self) -> Mapping[str, Callable[[str], Usage]]:
        """Every curve by its name; a single one needs none."""
        return self.curves or {"": self.usage}


def rows_of(**dimensions: str) -> Callable[[str], Usage]:
    """Usage of one combination of dimensions."""
    return lambda quantity: {"rows": [{"dimensions": dimensions, "quantity": quantity}]}


def at(moment: str) -> Callable[[str], Usage]:
    """Usage at one moment."""
    return lambda quantity: {"start": moment, "quantity": quantity}


PLOTS = {
    "flat": Plot("100", "units"),
    "per_unit": Plot("20000000", "tokens"),
    "package": Plot("4000", "units"),
    "graduated": Plot("3000", "units"),
    "volume": Plot("3000", "units"),
    "stair_step": Plot("2500", "units"),
    "percentage": Plot("600", "amount of one payment", lambda amount: {"events": [{"amount": amount}]}),
    "graduated_percentage": Plot("200000", "amount processed"),
    "block": Plot("4000", "units"),
    "capacity": Plot(
        "700",
        "seats",
        curves={
            "3 projects": lambda seats: {"quantities": {"seats": seats, "projects": "3"}},
            "30 projects": lambda seats: {"quantities": {"seats": seats, "projects": "30"}},
        },
    ),
    "matrix": Plot("1000", "thousand tokens", curves={"opus": rows_of(model="opus"), "others": rows_of()}),
    "shared_ladder": Plot(
        "300", "units", curves={"opus": rows_of(model="opus"), "haiku": rows_of(model="haiku")}
    ),
    "dynamic": Plot("100", "sum of the amounts in the events"),
    "time_of_use": Plot(
        "100",
        "kilowatt-hours",
        curves={
            "Friday 12:00": at("2026-03-06T12:00:00+01:00"),
            "Friday 22:00": at("2026-03-06T22:00:00+01:00"),
        },
    ),
    "timed": Plot("240", "seconds of one call", lambda seconds: {"seconds": seconds}),
    "credits": Plot("500", "calls"),
    "free_units": Plot("3000", "units"),
    "minimum_maximum": Plot("5000", "units"),
    "discounts": Plot("100", "units"),
    "convert": Plot("5000", "tokens"),
}


def main() -> None:
    """Draw every picture again."""
    PICTURES.mkdir(exist_ok=True)
    for name, price in prices_of(PAGE.read_text(encoding="utf-8")):
        (PICTURES / f"{name}.svg").write_text(drawn(name, price), encoding="utf-8")


def prices_of(page: str) -> Iterator[tuple[str, Any]]:
    """The pictures that the page shows, and the price that stands under each."""
    yaml = YAML(typ="safe", pure=True)
    for name, block in re.findall(r"!\[[^\]]*\]\(pricing/(\w+)\.svg\)\n+```yaml\n(.*?)```", page, re.DOTALL):
        yield name, yaml.load(block)["price"]


def drawn(name: str, price: Any) -> str:
    """The picture as SVG."""
    plot = PLOTS[name]
    quantities = [Decimal(plot.most) * step / STEPS for step in range(STEPS + 1)]
    curves = {
        label: [cost(price, usage(format(quantity.normalize(), "f"))) for quantity in quantities]
        for label, usage in plot.named().items()
    }
    highest = max(max(amounts) for amounts in curves.values())
    across = Axis(float(quantities[-1]), LEFT, WIDTH - RIGHT)
    up = Axis(float(highest) * 1.05 or 1.0, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(across, up), *_names(plot), *_legend(curves)]
    for colour, amounts in zip(COLOURS, curves.values(), strict=False):
        points = " ".join(
            f"{across.place(float(quantity)):.1f},{up.place(float(amount)):.1f}"
            for quantity, amount in _bends(quantities, amounts)
        )
        parts.append(
            f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2.5' stroke-linejoin='round'/>"
        )
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        f"role='img' aria-label='{name}: cost against use'>\n"
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='{PAPER}'/>\n{body}\n</svg>\n"
    )


def cost(price: Any, usage: Usage) -> Decimal:
    """What `farthing rate` says it costs."""
    answer = rate_line({"price": price, **usage})
    assert "amount" in answer, answer
    return Decimal(str(answer["amount"]))


@dataclass(frozen=True)
class Axis:
    """From 0 to `most`, laid between two places of the picture."""

    most: float
    begins: float
    ends: float

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self.begins + (self.ends - self.begins) * value / self.most

    def ticks(self) -> list[float]:
        """Round values, four to eight of them."""
        rough = self.most / 5
        size = 10 ** floor(log10(rough))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
        return [step * number for number in range(int(self.most / step + 1e-9) + 1)]


def _bends(quantities: Sequence[Decimal], amounts: Sequence[Decimal]) -> Iterator[tuple[Decimal, Decimal]]:
    """The points at which a curve changes its slope: those between lie on a straight line."""
    last = len(quantities) - 1
    for index, (quantity, amount) in enumerate(zip(quantities, amounts, strict=True)):
        if index in (0, last) or amount - amounts[index - 1] != amounts[index + 1] - amount:
            yield quantity, amount


def _grid(across: Axis, up: Axis) -> Iterator[str]:
    floor_, ceiling = HEIGHT - BOTTOM, TOP
    for value in up.ticks():
        y = up.place(value)
        yield f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{FAINT}'/>"
        yield _text(LEFT - 8, y + 4, f"{value:,g}", anchor="end")
    for value in across.ticks():
        x = across.place(value)
        yield f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{floor_}' y2='{floor_ + 4}' stroke='{INK}'/>"
        at_the_edge = x > WIDTH - 2 * RIGHT
        yield _text(
            WIDTH - 4 if at_the_edge else x,
            floor_ + 18,
            f"{value:,.10g}",
            anchor="end" if at_the_edge else "middle",
        )
    yield f"<path d='M{LEFT} {ceiling}V{floor_}H{WIDTH - RIGHT}' fill='none' stroke='{INK}'/>"


def _names(plot: Plot) -> Iterator[str]:
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, plot.used, anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield _text(14, middle, "cost", anchor="middle", turn=f" transform='rotate(-90 14 {middle:g})'")


def _legend(labels: Iterable[str]) -> Iterator[str]:
    """The names of the curves, one under the other where cost is high and use is low: little stands there."""
    for place, (colour, label) in enumerate(zip(COLOURS, filter(None, labels), strict=False)):
        yield _text(LEFT + 12, TOP + 14 + 17 * place, label, colour=colour, weight="600")


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = INK,
    anchor: str = "start",
    weight: str = "400",
    turn: str = "",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='12' font-weight='{weight}' fill='{colour}' "
        f"text-anchor='{anchor}'{turn}>{text}</text>"
    )


if __name__ == "__main__":
    main()
