"""The usage of bills, asked of the event store for all of them at once."""

from collections.abc import Mapping, Sequence

from farthing.catalog.model import Meter
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.drafting.usage_lines import UsageOfBills
from farthing.invoicing.model import Bill
from farthing.invoicing.run import usage_needed
from farthing.usage.service import billable_usage


def usage_of(
    conn: BooksConnection,
    store: EventStore,
    tenant_id: int,
    meters: Mapping[str, Meter],
    bills: Sequence[Bill],
) -> UsageOfBills:
    """The usage of all these bills: one query for each meter and detail."""
    return UsageOfBills(
        {
            (meter, detail): billable_usage(store, conn, tenant_id, meters[meter], detail, spans)
            for (meter, detail), spans in usage_needed(bills).items()
        }
    )
