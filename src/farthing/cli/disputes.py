"""`farthing disputes`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from farthing.cli.commands import new_app
from farthing.cli.options import AsJson, Data, Tenant, opened
from farthing.cli.output import Column, moment, money, print_facts, print_json, print_table, printable
from farthing.kernel.quantity import plain
from farthing.payments.answering.content import EVENTS_DEFAULT, EVENTS_MAX, answer_content
from farthing.payments.answering.service import answer_dispute, get_answer
from farthing.payments.content import dispute_json
from farthing.payments.evidence import evidence_of
from farthing.payments.model import DisputeState
from farthing.payments.money_back.service import list_disputes

LIMIT_MAX = 100

app = new_app(help="Disputes: money that payers' banks took back.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="DISPUTE", help="The key of the dispute.")]
Events = Annotated[
    int,
    typer.Option(min=1, max=EVENTS_MAX, metavar="COUNT", help="Events that are told of each line, at most."),
]


@app.command("list", epilog="\b\nExample:\n  $ farthing disputes list --state needs_response")
def list_some(
    state: Annotated[DisputeState | None, typer.Option(help="Only those in this state.")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Begin behind this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """List disputes in the order of their opening."""
    with opened(data, tenant, make=False) as house:
        found = list_disputes(house.books, house.tenant_id, after, limit + 1, state)
    page, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"disputes": [dispute_json(one) for _, one in page], "more": more})
        return
    if not page:
        print("No disputes.")
        return
    print_table(
        [
            Column("Dispute"),
            Column("Customer"),
            Column("Amount", "right"),
            Column("State", whole=True),
            Column("Answer by", whole=True),
        ],
        [
            [
                one.key,
                one.customer,
                money(plain(one.amount), one.currency),
                one.state.value.replace("_", " "),
                "-" if one.respond_by is None else moment(one.respond_by),
            ]
            for _, one in page
        ],
    )
    if more:
        print(f"There are more: --after {page[-1][0]}")


@app.command(epilog="\b\nExample:\n  $ farthing disputes evidence stripe:dp_1Nx --json > evidence.json")
def evidence(
    key: Key,
    events: Events = EVENTS_DEFAULT,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Show what an answer would tell; with --json all that is known: invoices, lines, charges, events."""
    with opened(data, tenant, make=False) as house:
        found = evidence_of(house.books, house.store, house.tenant_id, key, events)
    if as_json:
        print_json(found)
    else:
        _print_content(answer_content(found, None))


@app.command(
    epilog="\b\nExample:\n  $ farthing disputes answer stripe:dp_1Nx --note 'They wrote to us on 3 March.'"
)
def answer(
    key: Key,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What else there is to say.")] = None,
    events: Events = EVENTS_DEFAULT,
    as_json: AsJson = False,
    data: Data = None,
    tenant: Tenant = None,
) -> None:
    """Write an answer from the evidence. The engine, or `farthing payments collect`, sends it to the gateway, once."""
    raw: dict[str, Any] = {"note": note, "events": events}
    with opened(data, tenant, make=False) as house:
        found, _ = answer_dispute(house.books, house.store, house.tenant_id, key, raw, house.clock())
    _print(found, as_json)


@app.command(epilog="\b\nExample:\n  $ farthing disputes answered stripe:dp_1Nx")
def answered(key: Key, as_json: AsJson = False, data: Data = None, tenant: Tenant = None) -> None:
    """Show the answer to a dispute, and what became of it."""
    with opened(data, tenant, make=False) as house:
        found = get_answer(house.books, house.tenant_id, key)
    _print(found, as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    facts = {
        "Dispute": found["dispute"],
        "Answer": found["state"],
        "Written at": found["written_at"],
        "Refused": found["code"] or "",
    }
    print_facts({name: value for name, value in facts.items() if value})
    print()
    _print_content(found["content"])


def _print_content(content: Mapping[str, str]) -> None:
    for name, text in content.items():
        print(f"{name.replace('_', ' ').capitalize()}:")
        print("\n".join(printable(line) for line in text.split("\n")))
