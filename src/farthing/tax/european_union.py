"""Which countries are in the common system of value added tax, and when. Pure.

Council Directive 2006/112/EC. The United Kingdom left it when the transition ended, on 1 January 2021; Croatia
joined on 1 July 2013. Northern Ireland is in it for goods, and services are what is sold here.
"""

from datetime import date

_ALWAYS = frozenset(
    ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HU", "IE", "IT", "LT", "LU", "LV",
     "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK")
)  # fmt: skip
_FROM = {"HR": date(2013, 7, 1)}
_UNTIL = {"GB": date(2021, 1, 1)}

PREFIXES = {"GR": "EL"}
"""Countries whose numbers begin with other letters than their code."""


def is_member(country: str, day: date) -> bool:
    """Whether the country was a member on that day. Members of before 2007 count as such for all time."""
    if country in _FROM:
        return day >= _FROM[country]
    if country in _UNTIL:
        return day < _UNTIL[country]
    return country in _ALWAYS
