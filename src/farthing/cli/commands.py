"""Which commands there are. A command's module is imported when it is called for, and not before.

Listing them takes a tenth of a second this way, and `farthing rate` does not wait for a database
driver that it never uses.
"""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

WIDTH_MAX: Final = 100
"""Help and, where standard output is no terminal, tables are at most this wide."""

COMMANDS: Final = {
    "demo": "The whole journey on generated traffic, in a temporary directory.",
    "serve": "Run everything: PostgreSQL, the HTTP API, the engine that seals events.",
    "apply": "Bring meters, plans, coupons, customers and subscriptions to what a file says.",
    "ingest": "Count the events of files: NDJSON, CSV with --map, Parquet.",
    "usage": "How much of a meter was used.",
    "customers": "Customers: erase one's personal data; erasures.",
    "plans": "Plans: list, show; move subscriptions to another version.",
    "subscriptions": "Subscriptions: list, show, change, cancel, pause, resume, charge.",
    "bill": "Issue the invoices that are due.",
    "invoices": "Invoices: list, show, pdf, explain a line, upcoming; credit, void, correct.",
    "credit-notes": "Credit notes: list, show, pdf, events. `invoices credit` issues them.",
    "accrued": "What has accrued in open periods, and when it is charged.",
    "collection": "When subscriptions are charged: show, set, unset.",
    "payments": "Payments: list, show, record, refund, collect, balance, credits, reconcile; methods.",
    "payouts": "Payouts of gateways to the bank: list, show, sync, arrived.",
    "disputes": "Disputes: list, evidence, answer, answered.",
    "bank": "The bank: import statements, export direct debits.",
    "estimate": "What usage would cost before it happens.",
    "coupons": "Coupons: create, list, redeem, redeemed.",
    "commitments": "Commitments of subscriptions: add, list.",
    "wallets": "Wallets: create, grant, list, show, void, history.",
    "authorizations": "Authorisations, money set aside for calls under way: list, show.",
    "limits": "Spending limits of customers, projects and API keys: set, list, remove.",
    "tax": "Tax: import and list rates; customer: tax ids and exemptions; explain.",
    "ledger": "The ledger: trial-balance, accounts, entries, export.",
    "report": "Reports that tie to the ledger: receivables, revenue, deferred revenue, tax, cash, ...",
    "books": "The books: close a month, reopen it, recognise revenue.",
    "facts": "What happened that the world outside may want to know.",
    "events": "Find events: list, show one's whole way, void, replace, corrections, later.",
    "unbilled": "Accepted events that nobody is billed for, by cause, and what they would make.",
    "account": "What became of every accepted event.",
    "quarantine": "Events that were set aside: list, show, retry, drop.",
    "rate": "Rate quantities: JSON lines in, JSON lines out.",
    "periods": "Billing periods: JSON lines in, JSON lines out.",
    "backup": "Copy everything into a directory while it runs.",
    "restore": "Bring a backup back, or check one.",
    "doctor": "Check the laws on live data and print what is off.",
    "tenants": "Tenants: create, list; keep: for how long; seller: who invoices come from.",
    "keys": "API keys: create, list, revoke.",
    "config": "The settings in force, and where each one comes from.",
}


_EPILOG: Final = """\b
Every command has --help with an example, --json, --data DIR and --tenant KEY.
Exit codes: 0 done   1 the answer is no (doctor, apply --check)   2 the input is wrong
            3 not found or in conflict   4 not now (database, disk)   5 stored data is damaged"""


class _Commands(TyperGroup):
    """The group of all commands, made from the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"farthing.cli.{cmd_name.replace('-', '_')}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def new_app(**options: Any) -> typer.Typer:
    """An app for one command or one group of them: plain help, no second opinion about errors."""
    context = {"max_content_width": WIDTH_MAX, "help_option_names": ["--help", "-h"]}
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=context,
        **options,
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        from farthing import __version__

        print(f"farthing {__version__}")
        raise typer.Exit


def command_line() -> Any:
    """All of Farthing's command line as one object to run."""
    app = new_app(cls=_Commands, no_args_is_help=True)

    @app.callback(epilog=_EPILOG)
    def farthing(
        _version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
        ] = False,
    ) -> None:
        """Turn API calls into money that adds up."""

    commands: Any = typer.main.get_command(app)
    commands.commands.update(dict.fromkeys(COMMANDS))  # the names to suggest from after a typing mistake
    return commands
