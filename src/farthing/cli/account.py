"""`farthing account`: where every accepted event stands."""

from collections.abc import Mapping
from dataclasses import asdict

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, number, print_json, print_table
from farthing.events.service import account as account_of

app = new_app()


@app.command(epilog="\b\nExample:\n  $ farthing account")
def account(as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Say what became of every accepted event.

    accepted = counted + duplicate + quarantined + waiting, always. Waiting events stand in the log and
    are counted as soon as they are sealed: by a running server, or by the next command that needs them.
    An event that was retried out of quarantine stays there as it was and is accepted once more.
    """
    with opened(data, tenant, make=False) as house:
        found = account_of(house.books, house.log_dir, house.tenant_id)
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        ["Accepted", number(found.accepted)],
        ["  counted", number(found.counted)],
        *([["    of these voided since", number(found.voided)]] if found.voided else []),
        ["  duplicate", number(found.duplicate)],
        ["  quarantined", number(found.quarantined)],
        *([f"    {reason}", number(count)] for reason, count in found.quarantined_by_reason.items()),
        *_states(found.quarantined_by_state),
        ["  waiting to be sealed", number(found.waiting)],
    ]
    print_table([Column(""), Column("Events", "right")], rows)


def _states(by_state: Mapping[str, int]) -> list[list[str]]:
    """What was done about the quarantined ones, once something was."""
    if not by_state["retried"] and not by_state["dropped"]:
        return []
    return [[f"    of all these {state}", number(count)] for state, count in by_state.items()]
