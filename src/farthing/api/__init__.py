"""API: the HTTP doors and resources, and the processes that serve them.

Owns: API keys, problem details (which error is which status), the ingest door, the resources under
`/v1`, OpenAPI, idempotency keys, cursors, the supervisor with its workers.
Does not own: any rule of the business; each route parses, calls one service and renders.
Laws: a request acts for the tenant of its key and no other (12); a repeated write with one
idempotency key and another input is a conflict (13); every input has a named limit (14); bad input
is never answered with 5xx, and no answer shows a stack trace.
"""
