"""The judgement after every round: journals against segments, usage, account, invoices and doctor."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random

from pyarrow import ArrowException

from tests.crash import traffic
from tests.crash.injection import Plan, arm, disarm
from tests.crash.oracle import Facts, Identity, Verdict, expected_usage
from tests.crash.outside import Invoice
from tests.crash.site import Broken, Site

EVER = {"from": "1990-01-01T00:00:00Z", "to": "2190-01-01T00:00:00Z"}
BILL_ATTEMPTS_MAX = 12
BILL_COMMITS = 2
"""Transactions of a billing run that write, at least: among these is the one that it is killed at."""


def judge(site: Site) -> int:
    """Hold everything against the journals; the number of counted events. Raises Broken."""
    counted = 0
    for tenant in traffic.TENANTS:
        try:
            held = site.house.outside.held(site.tenant_ids[tenant])
        except (OSError, ArrowException) as error:
            raise Broken(f"{tenant}: a segment that the books name cannot be read: {error}") from error
        verdict = site.oracle.judge(tenant, held)
        if not verdict:
            raise Wrong(tenant, verdict)
        site.verdicts[tenant] = verdict
        counted += len(verdict.counted)
        account = site.house.account(tenant)
        sealed = {
            name: account and account[name] for name in ("accepted", "counted", "duplicate", "quarantined")
        }
        if sealed != held.tally:
            raise Broken(f"{tenant}: the account says {account}, the seals {held.tally}")
        usage_is_right(site, tenant)
    return counted


class Wrong(Broken):
    """Journals and system differ."""

    def __init__(self, tenant: str, verdict: Verdict) -> None:
        super().__init__(f"{tenant}:\n{verdict}")
        self.verdict = verdict


def usage_is_right(site: Site, tenant: str, *, or_refused: bool = False) -> None:
    """The sums over HTTP are those over exactly the counted events. `or_refused`: or there are none."""
    expected = expected_usage(site.verdicts[tenant].counted)
    for meter, place in (("calls", 0), ("tokens", 1)):
        grouped = ["customer", "model"] if meter == "tokens" else ["customer"]
        status, document = site.house.ask(tenant, "/v1/usage", meter=meter, group_by=grouped, **EVER)
        if status != 200:
            if or_refused:
                continue
            raise Broken(f"{tenant}: the usage of {meter} is refused with {status} {document}")
        found: dict[tuple[str | None, ...], Decimal] = {
            tuple(row["group"][name] for name in grouped): Decimal(row["quantity"])
            for row in document["rows"]
        }
        wanted: dict[tuple[str | None, ...], Decimal] = {}
        for key, sums in expected.items():
            group = key[: len(grouped)]
            wanted[group] = wanted.get(group, Decimal(0)) + sums[place]
        if found != wanted:
            raise Broken(f"{tenant}: the usage of {meter} should be {wanted} and is {found}")


def doctor_is_content(site: Site) -> None:
    """`farthing doctor` finds nothing."""
    command = site.house.run("doctor")
    if command.code != 0:
        raise Broken(f"doctor: {command.output.read_text()} {command.complaint()}")


def bill_month(site: Site, random: Random, *, kill: bool) -> int:
    """Bill the month, killed some times on the way if so wanted; how often it was.

    What is billed are the quantities of the counted events, earlier invoices are what they were, and a
    second run issues nothing.
    """
    tenant = traffic.TENANTS[0]
    before = site.house.outside.invoices(site.tenant_ids[tenant])
    end = traffic.month_start(site.month + 1)
    words = ["bill", "--until", end.date().isoformat()]
    kills = 0
    for _ in range(BILL_ATTEMPTS_MAX):
        if kill and kills < 2:
            call = random.choice(("commit", "committed"))
            arm(
                site.house.faults,
                "bill",
                Plan(next(site.plans), call, "", random.randint(1, BILL_COMMITS), "kill"),
            )
        command = site.house.command(*words, armed=kill)
        code = command.wait()
        disarm(site.house.faults, "bill")
        if code == 0:
            break
        if code != -9:
            raise Broken(f"billing ends with {code}: {command.complaint()}")
        kills += 1
    after = site.house.outside.invoices(site.tenant_ids[tenant])
    if after[: len(before)] != before:
        raise Broken("an invoice that was issued has changed")
    again = site.house.run(*words)
    if again.code != 0 or again.document()["issued"]:
        raise Broken(f"a second billing run issues invoices: {again.output.read_text()} {again.complaint()}")
    if site.house.outside.invoices(site.tenant_ids[tenant]) != after:
        raise Broken("a second billing run changes invoices")
    _quantities_are_right(site, after[len(before) :], site.verdicts[tenant].counted)
    site.month += 1
    site.invoices = len(after)
    return kills


def _quantities_are_right(site: Site, issued: list[Invoice], counted: Mapping[Identity, Facts]) -> None:
    """Who got an invoice was billed all calls of the month and of every month before, late ones included.

    Who got none used nothing in the month. A call that came late for a month that is invoiced stands on the
    next invoice as a correction; a month in which nothing had been used is billed as soon as something was.
    """
    billed = site.house.outside.billed(site.tenant_ids[traffic.TENANTS[0]])
    answered = {invoice.customer for invoice in issued}
    for month in range(site.month + 1):
        start, end = traffic.month_start(month), traffic.month_start(month + 1)
        wanted: dict[str, tuple[Decimal, Decimal]] = {}
        for (customer, _), (calls, tokens) in expected_usage(counted, start, end).items():
            if customer is not None:
                so_far = wanted.get(customer, (Decimal(0), Decimal(0)))
                wanted[customer] = (so_far[0] + calls, so_far[1] + tokens)
        for customer in sorted(set(traffic.CUSTOMER_OF.values())):
            owed = wanted.get(customer, (Decimal(0), Decimal(0)))
            found = billed.get((customer, start), (Decimal(0), Decimal(0)))
            if found != owed and (customer in answered or month == site.month):
                raise Broken(f"{customer} should be billed {owed} of {start:%B %Y} and is billed {found}")
