"""Law 9 on live books: transfers balance, and the balances that are kept are the sum of entries."""

from psycopg.rows import DictRow

from farthing.db import Books
from farthing.kernel.checked import FINDINGS_MAX, Checked, checked
from farthing.kernel.quantity import trimmed
from farthing.ledger import checks_store as rows


def check_transfers_balance(books: Books, tenant_id: int) -> Checked:
    """Every transfer debits and credits the same amount, on accounts of its own currency."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_transfers(conn, tenant_id)
        found = rows.select_unbalanced(conn, tenant_id, FINDINGS_MAX + 1)
    return checked(count, "transfer", [_complaint(row) for row in found])


def check_balances(books: Books, tenant_id: int) -> Checked:
    """The balance that is kept for each account is the sum of its entries."""
    with books.read_only(tenant_id) as conn:
        count = rows.count_accounts(conn, tenant_id)
        found = rows.select_unlike_fold(conn, tenant_id, FINDINGS_MAX + 1)
    findings = [
        f"the account {row['code']}{' of ' + row['customer'] if row['customer'] else ''} ({row['account_id']}) says "
        f"{trimmed(row['balance'])} {row['currency']} from {row['entries']} entries; "
        f"its {row['folded']} entries sum to {trimmed(row['fold'])}"
        for row in found
    ]
    return checked(count, "account", findings)


def _complaint(row: DictRow) -> str:
    if row["foreign_accounts"]:
        return (
            f"the transfer {row['key']} touches an account that is not there, or is not in {row['currency']}"
        )
    rest = f"{trimmed(row['rest'])} {row['currency']}"
    return f"the debits of the transfer {row['key']} are {rest} more than its credits"
