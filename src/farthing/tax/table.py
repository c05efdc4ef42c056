"""The table of rates: which row holds in a place on a day. Pure.

A row holds from its day until a later row of the same place and category begins, or until its own last day,
whichever comes first. A row that was loaded again for the same first day takes the place of the earlier one. A place
without a row of a category bears its standard rate. A region's row stands in the place of the country's, or comes
on top of it (`adds`).

    DE  standard  19 from 2007, 16 from 1 July 2020, 19 from 1 January 2021       30 June 2020: 19, 1 July 2020: 16
    CA  standard   5;  CA QC  9.975, adds;  CA ON  13                              Quebec: 5 and 9.975, Ontario: 13
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date

from farthing.tax.model import STANDARD, TaxRate

_Where = tuple[str, str | None, str]


class TaxTable:
    """The rows of a table, in the order in which they were loaded, ready to be asked."""

    def __init__(self, rates: Iterable[TaxRate]) -> None:
        latest: dict[_Where, dict[date, TaxRate]] = {}
        for rate in rates:
            where = (rate.country, rate.region, rate.category)
            latest.setdefault(where, {})[rate.valid_from] = rate
        self._rows = {where: sorted(of.items()) for where, of in latest.items()}
        self._answers: dict[tuple[str, str | None, str, date], tuple[TaxRate, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def rates(self, country: str, region: str | None, category: str, day: date) -> tuple[TaxRate, ...]:
        """What a supply bears there on that day: the country's rate, the region's, both, or none."""
        asked = (country, region_key(region), category, day)
        if asked not in self._answers:
            self._answers[asked] = self._found(*asked)
        return self._answers[asked]

    def _found(self, country: str, region: str | None, category: str, day: date) -> tuple[TaxRate, ...]:
        of_country = self._held(country, None, category, day)
        of_region = None if region is None else self._held(country, region, category, day)
        if of_region is None:
            return () if of_country is None else (of_country,)
        if of_region.adds and of_country is not None:
            return of_country, of_region
        return (of_region,)

    def _held(self, country: str, region: str | None, category: str, day: date) -> TaxRate | None:
        found = self._row(country, region, category, day)
        return found or self._row(country, region, STANDARD, day)

    def _row(self, country: str, region: str | None, category: str, day: date) -> TaxRate | None:
        rows = self._rows.get((country, region, category), [])
        place = bisect_right(rows, day, key=lambda row: row[0])
        if not place:
            return None
        rate = rows[place - 1][1]
        return rate if rate.valid_until is None or day < rate.valid_until else None


def region_key(region: str | None) -> str | None:
    """A region as it is compared, and as it stands in the table: addresses are written by people."""
    return None if region is None else " ".join(region.split()).upper()
