"""`farthing invoices correct` and `correction-policy`, `farthing credit-notes events`."""

from typing import Annotated

import typer

from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, print_json, print_table
from farthing.invoicing.late.correcting import correct_at_once, effects_behind, get_policy, put_policy
from farthing.invoicing.late.giving_back import CREDIT_NOTE

SHOWN_MAX = 1_000
CORRECT_EXAMPLE = "\b\nExample:\n  $ farthing invoices correct INV-000001"
POLICY_EXAMPLE = "\b\nExample:\n  $ farthing invoices correction-policy credit_note"
EVENTS_EXAMPLE = "\b\nExample:\n  $ farthing credit-notes events CN-000001"


def correct(
    number_: Annotated[str, typer.Argument(metavar="NUMBER", help="Like INV-000001.")],
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Give back at once what late corrections take off an invoice, by a credit note against it.

    Otherwise it lowers the next invoice of the subscription. What is given back is on no invoice again.
    """
    with opened(data, tenant, make=False) as house:
        made = correct_at_once(house.books, house.store, house.tenant_id, house.clock(), number=number_)
    if as_json:
        print_json({"invoice": number_, "credit_notes": made})
    elif made:
        print(f"{', '.join(made)} gives back what was too much of {number_}.")
    else:
        print(f"Nothing is to be given back of {number_}.")


def correction_policy(
    below_zero: Annotated[
        str | None, typer.Argument(metavar="next_invoice|credit_note", help="From now on.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Say what becomes of a correction below zero: the next invoice has it, or a credit note at once."""
    with opened(data, tenant, make=False) as house:
        if below_zero is None:
            policy = get_policy(house.books, house.tenant_id)
        else:
            policy = put_policy(house.books, house.tenant_id, {"below_zero": below_zero})
    if as_json:
        print_json(policy)
    elif policy["below_zero"] == CREDIT_NOTE:
        print("What corrections take off issued invoices is given back at once, by credit notes.")
    else:
        print("What corrections take off issued invoices lowers the next invoice.")


def events(
    number_: Annotated[str, typer.Argument(metavar="NUMBER", help="Like CN-000001.")],
    limit: Annotated[int, typer.Option(min=1, max=SHOWN_MAX, help="At most so many.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List the events behind a credit note that corrects: those that came late, or were voided."""
    with opened(data, tenant, make=False) as house:
        found = effects_behind(house.books, house.store, house.tenant_id, number_, limit)
    if as_json:
        print_json(found)
        return
    print_table(
        [
            Column("Effect", whole=True),
            Column("Id"),
            Column("Source"),
            Column("Type"),
            Column("Time", whole=True),
            Column("Known at", whole=True),
        ],
        [
            [one["effect"], one["id"], one["source"], one["type"], one["time"], one["known_at"]]
            for one in found["events"]
        ],
    )
    if found["more"]:
        print("There are more: --limit")
