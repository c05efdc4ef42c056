"""Time of use: the price depends on when.

    {"model": "time_of_use", "timezone": "Europe/Berlin",
     "windows": [{"name": "peak", "days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:00", "price": {...}}],
     "default": {...}}

`days` are 1 (Monday) to 7, all of them unless given; `from` is 00:00 and `to` 24:00 unless given. What
a window is, and what happens to it when the clocks change, stands in `rating/clock.py`. `name` is how
the window is called on the invoice; without one it is its days and hours. Windows of the same name are
one window with one price: a morning and an evening peak climb one ladder.

Law: a matrix with one more dimension, which is the window. The first window that holds a moment prices
what is used then, the default what no window holds; without a default it is unpriced: reported, never
dropped. Modifiers, lines, and prices inside prices are as in a matrix.

Something that lasts (`start` and `end`) is split exactly at the edges of the windows and is counted in
seconds, but where a price looks at single events (`timed`) a call is priced as a whole in the window in
which it begins. A time_of_use does not stand within another one.

Example, 0.40 an hour in the peak, 0.20 by default (convert divides seconds by 3600):
    Friday 17:30 to 18:30                   0.30     0.5 x 0.4 and 0.5 x 0.2
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from farthing.kernel.instant import parse_timezone
from farthing.kernel.quantity import parse_decimal
from farthing.kernel.reading import Fields, parse_list, parse_text, shown
from farthing.rating.clock import OTHER_TIMES, Clock, Window
from farthing.rating.matrix import Cell, Matrix
from farthing.rating.price import Model, Price
from farthing.rating.sheet import INVALID_PRICE, Sheet, refused

WINDOWS_MAX = 48
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
MIDNIGHT, DAY_END = "00:00", "24:00"

_DIMENSION = "time of use"
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\Z|24:00(?::00)?\Z", re.ASCII)
_DAY_NAMES = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class PricedWindow:
    """A stretch of local time on some days, and the price in it."""

    price: Price
    days: tuple[int, ...] = EVERY_DAY
    start: str = field(default=MIDNIGHT, metadata={"json": "from"})
    end: str = field(default=DAY_END, metadata={"json": "to"})
    name: str | None = None

    @property
    def label(self) -> str:
        """How the window is called: its name, or its days and hours."""
        if self.name is not None:
            return self.name
        hours = f"{self.start}-{self.end}"
        return hours if self.days == EVERY_DAY else f"{_days_text(self.days)} {hours}"


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """A price for each window of local time, and one for the rest."""

    timezone: str
    windows: tuple[PricedWindow, ...]
    default: Price | None = None
    # Clocks that differ have names that differ within one price: the sheet numbers them.
    clock: Clock = field(init=False, repr=False, compare=False)
    matrix: Matrix = field(init=False, repr=False, compare=False)

    @classmethod
    def read(cls, fields: Fields, sheet: Sheet) -> Self:
        timezone = fields.required("timezone", parse_timezone)
        with sheet.once("time_of_use", fields.at("model"), "must not stand within another time_of_use"):
            windows = sheet.parts(
                fields, "windows", lambda raw, path: _read_window(raw, path, sheet), most=WINDOWS_MAX
            )
            price = cls(timezone, windows, fields.optional("default", sheet.price, None))
        if not sheet.faults:
            _check_names(windows, fields, sheet)
            price._look_at(sheet)
        return price

    def _look_at(self, sheet: Sheet) -> None:
        """Make the clock, and the matrix over its windows."""
        windows = tuple(
            Window(window.label, window.days, _second(window.start), _second(window.end))
            for window in self.windows
        )
        dimension = sheet.named(_DIMENSION, (self.timezone, windows))
        cells = tuple(Cell(((dimension, window.label),), window.price) for window in self.windows)
        object.__setattr__(self, "clock", Clock(dimension, self.timezone, windows))
        object.__setattr__(self, "matrix", Matrix((dimension,), cells, self.default))


def _check_names(windows: Sequence[PricedWindow], fields: Fields, sheet: Sheet) -> None:
    """Windows of one name are one window, so they have one price."""
    first: dict[str, int] = {}
    for index, window in enumerate(windows):
        at = f"{fields.at('windows')}[{index}]"
        if window.name == OTHER_TIMES:
            sheet.faults.add(f"{at}.name", f"must not be {OTHER_TIMES!r}: so is called what no window holds")
        earlier = first.setdefault(window.label, index)
        named = window.name is not None or windows[earlier].name is not None
        if named and windows[earlier].price != window.price:
            sheet.faults.add(f"{at}.price", f"must be that of windows[{earlier}], which has the same name")


def _read_window(raw: object, path: str, sheet: Sheet) -> PricedWindow:
    fields = sheet.fields(raw, path)
    window = PricedWindow(
        days=fields.optional("days", lambda raw, path: _read_days(raw, path, sheet), EVERY_DAY),
        start=fields.optional("from", _parse_time, MIDNIGHT),
        end=fields.optional("to", _parse_time, DAY_END),
        name=fields.optional("name", parse_text, None),
        price=fields.required("price", sheet.price),
    )
    if window.start == DAY_END:
        sheet.faults.add(fields.at("from"), f"must be before {DAY_END}")
    elif window.start is not None and window.start == window.end:
        sheet.faults.add(fields.at("to"), f"must differ from from: a whole day is {MIDNIGHT} to {DAY_END}")
    fields.refuse_unknown()
    return window


def _read_days(raw: object, path: str, sheet: Sheet) -> tuple[int, ...]:
    days = parse_list(raw, path, _parse_day, most=len(EVERY_DAY), faults=sheet.faults)
    if isinstance(raw, list) and not raw:
        sheet.faults.add(path, "must name at least one day")
    if len(set(days)) < len(days):
        sheet.faults.add(path, "must not name a day twice")
    return tuple(sorted(days))


def _parse_day(raw: object, path: str) -> int:
    number = parse_decimal(raw, path, code=INVALID_PRICE)
    if number != int(number) or int(number) not in EVERY_DAY:
        raise refused(path, "must be 1 (Monday) to 7 (Sunday)")
    return int(number)


def _parse_time(raw: object, path: str) -> str:
    """`08:00`, or with seconds where there are any."""
    if not isinstance(raw, str) or not _TIME.match(raw):
        raise refused(path, f"must be a time of day from {MIDNIGHT} to {DAY_END}, not {shown(raw)}")
    return raw.removesuffix(":00") if raw.count(":") == 2 else raw


def _second(time: str) -> int:
    """The second of the day."""
    hours, minutes, seconds = [*map(int, time.split(":")), 0][:3]
    return hours * 3600 + minutes * 60 + seconds


def _days_text(days: tuple[int, ...]) -> str:
    """`Mon-Fri`, `Sat, Sun`."""
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{_DAY_NAMES[days[0]]}-{_DAY_NAMES[days[-1]]}"
    return ", ".join(_DAY_NAMES[day] for day in days)


def matrix_of(model: Model) -> Matrix | None:
    """The matrix that a model holds its prices in; None for a formula."""
    if isinstance(model, Matrix):
        return model
    return model.matrix if isinstance(model, TimeOfUse) else None
