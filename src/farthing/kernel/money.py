"""Currencies and their minor units (ISO 4217, list one of 2024-06-25).

An amount is a Decimal; the currency stands beside it and says how many digits a document shows.
Codes without a minor unit of their own (gold, special drawing rights, test codes) are not
currencies that an invoice can be in, and are refused.
"""

from dataclasses import dataclass
from decimal import Decimal

from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.quantity import trimmed
from farthing.kernel.rounding import Rounding, round_money

_BY_MINOR_UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD "
    "RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD "
    "USN UYU UZS VED VES WST XCD YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

MINOR_UNITS: dict[str, int] = {
    code: minor_units for minor_units, codes in _BY_MINOR_UNITS.items() for code in codes.split()
}
"""Digits after the point, by currency code: USD 2, JPY 0, KWD 3, CLF 4."""


def parse_currency(raw: object, path: str) -> str:
    """An ISO 4217 code that has a minor unit. Raises InvalidInput `invalid_currency` naming the path."""
    if isinstance(raw, str) and raw in MINOR_UNITS:
        return raw
    shown = repr(raw)[:40]
    raise InvalidInput.of("invalid_currency", [Fault(path, f"{shown} is not an ISO 4217 currency code")])


def amount_text(amount: Decimal, currency: str) -> str:
    """The amount with at least the digits of its currency, and every further digit that it has: `30.00`, `12.005`."""
    whole, _, rest = trimmed(amount).partition(".")
    digits = rest.ljust(MINOR_UNITS[currency], "0")
    return f"{whole}.{digits}" if digits else whole


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency. Adding two currencies raises."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        assert self.currency == other.currency, f"cannot add {other.currency} to {self.currency}"
        return Money(self.amount + other.amount, self.currency)

    def rounded(self, rounding: Rounding = Rounding.HALF_UP) -> "Money":
        """At the currency's minor unit."""
        return Money(round_money(self.amount, MINOR_UNITS[self.currency], rounding), self.currency)
