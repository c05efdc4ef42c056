"""The baseline of authorisations: one conditional UPDATE a request, over HTTP, with the server and decoder of ours.

`python -m uvicorn benchmarks.baseline_wallets:app`, with the connection string in BASELINE_DATABASE. It does less: no
price, no expiry, no record of the hold, no idempotency, and the event of a settled call is nowhere.
"""

from collections.abc import MutableMapping
from decimal import Decimal
from typing import Any

import msgspec

from benchmarks.baseline_server import Receive, Send, _body, _pool

TABLE = """
    DROP TABLE IF EXISTS baseline_wallets;
    CREATE TABLE baseline_wallets (
        wallet bigint PRIMARY KEY,
        funded numeric NOT NULL,
        held numeric NOT NULL DEFAULT 0,
        spent numeric NOT NULL DEFAULT 0,
        CHECK (held + spent <= funded)) WITH (fillfactor = 50);
"""
_HOLD = """
    UPDATE baseline_wallets SET held = held + %b WHERE wallet = %b AND funded - held - spent >= %b
"""
_SETTLE = "UPDATE baseline_wallets SET held = held - %b, spent = spent + %b WHERE wallet = %b"


class _Call(msgspec.Struct, gc=False):
    wallet: int
    amount: Decimal
    spent: Decimal = Decimal(0)


_decoder = msgspec.json.Decoder(_Call)


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """One request, one transaction of one statement."""
    call = _decoder.decode(await _body(receive))
    pool = await _pool()
    async with pool.connection() as conn:
        if scope["path"] == "/hold":
            done = await conn.execute(_HOLD, [call.amount, call.wallet, call.amount])
        else:
            done = await conn.execute(_SETTLE, [call.amount, call.spent, call.wallet])
    status = 200 if done.rowcount == 1 else 402
    answer = b'{"done":true}' if status == 200 else b'{"done":false}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
