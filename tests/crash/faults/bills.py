"""Billing runs that are killed around their commits, and run again."""

import time
from random import Random

from tests.crash.check import bill_month
from tests.crash.site import Fault, Hit, Site


def kill_bill(site: Site, random: Random) -> Hit | None:
    """The month is billed; what was killed is finished by the next."""
    at = time.monotonic()
    kills = bill_month(site, random, kill=True)
    return Hit("kill bill", at, {"kills": kills}) if kills else None


FAULTS = (Fault("kill bill", "quiet", kill_bill, frozenset({"victim"})),)
