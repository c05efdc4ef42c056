"""SQL that replaces who a customer was, in the books. All of it in one erasing transaction.

What a row is about (amounts, numbers, times, states, what was sold) stays; the database sees to that (migration 0024).
Keys that people chose become the pseudonym with a number, everywhere that they stand; free text becomes empty.
"""

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

from farthing.db.pool import BooksConnection
from farthing.events.erasing.erased import ERASED_SOURCE

# Everything that has a key of the customer's, and what it is called from now on.
_RENAMED = """
    CREATE TEMP TABLE renamed ON COMMIT DROP AS
    WITH subs AS (SELECT * FROM subscriptions WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s),
         paid AS (SELECT * FROM payments WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s),
         purses AS (SELECT * FROM wallets WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)
    SELECT 'customer' AS kind, 0::bigint AS owner, subject::text AS old, %(pseudonym)s::text AS new
      FROM customer_subjects
     WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s AND subject <> %(pseudonym)s
    UNION ALL SELECT 'subscription', 0, key, %(pseudonym)s || '-subscription-' || subscription_id FROM subs
    UNION ALL SELECT 'charge', 0, c.key, %(pseudonym)s || '-charge-' || row_number() OVER (ORDER BY c.made_at, c.key)
      FROM one_off_charges c JOIN subs USING (tenant_id, subscription_id)
    UNION ALL SELECT 'commitment', subscription_id, c.key,
                     %(pseudonym)s || '-commitment-'
                         || row_number() OVER (ORDER BY c.created_at, subscription_id, c.key)
      FROM commitments c JOIN subs USING (tenant_id, subscription_id)
    UNION ALL SELECT 'wallet', 0, key, %(pseudonym)s || '-wallet-' || wallet_id FROM purses
    UNION ALL SELECT 'recurring_grant', 0, r.key, %(pseudonym)s || '-recurring-' || recurring_grant_id
      FROM recurring_grants r JOIN purses USING (tenant_id, wallet_id)
    UNION ALL SELECT 'grant', 0, key, %(pseudonym)s || '-grant-' || grant_id
      FROM grants WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
    UNION ALL SELECT 'top_up', 0, t.key, %(pseudonym)s || '-top-up-' || top_up_id
      FROM top_ups t JOIN purses USING (tenant_id, wallet_id)
    UNION ALL SELECT 'method', 0, key, %(pseudonym)s || '-method-' || payment_method_id
      FROM payment_methods WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
    UNION ALL SELECT 'payment', 0, key, %(pseudonym)s || '-payment-' || payment_id FROM paid
    UNION ALL SELECT 'refund', 0, r.key, %(pseudonym)s || '-refund-' || refund_id
      FROM refunds r JOIN paid USING (tenant_id, payment_id)
    UNION ALL SELECT 'dispute', 0, d.key, %(pseudonym)s || '-dispute-' || dispute_id
      FROM disputes d JOIN paid USING (tenant_id, payment_id)
    UNION ALL SELECT 'credit_note', 0, key, %(pseudonym)s || '-credit-note-' || credit_note_id
      FROM credit_notes WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
    UNION ALL SELECT 'hold', 0, key, %(pseudonym)s || '-hold-' || row_number() OVER (ORDER BY created_at, key)
      FROM holds WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
"""

_NOTHING = "sha256(convert_to(gen_random_uuid()::text, 'UTF8'))"
"""A hash of nothing: what was asked for under a key that is gone is asked for by nobody."""

_SUBS = (
    "(SELECT subscription_id FROM subscriptions WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)"
)
_INVOICES = "(SELECT invoice_id FROM invoices WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)"
_PAYMENTS = "(SELECT payment_id FROM payments WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)"
_WALLETS = "(SELECT wallet_id FROM wallets WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)"
_CAUSE = "regexp_replace(cause, '^dispute .* was won$', 'a dispute was won')"


def _new(kind: str, column: str = "key") -> str:
    return f"(SELECT new FROM renamed WHERE kind = '{kind}' AND old = {column} LIMIT 1)"


def _mapped(column: str) -> str:
    """An object whose texts are words: each as it is called from now on."""
    word = "coalesce(to_jsonb(%(words)s::jsonb ->> (m.value #>> '{}')), m.value)"
    return f"""(SELECT coalesce(jsonb_object_agg(m.name, {word}), '{{}}')
                  FROM jsonb_each({column}) AS m (name, value))"""


# What the ledger calls a fact, and of which key it is.
_BOOKED = """
    (SELECT p.prefix || ':' || r.old AS old, p.prefix || ':' || r.new AS new
       FROM renamed r JOIN (VALUES ('payment', 'payment'), ('payment_fee', 'payment'), ('refund', 'refund'),
                                   ('chargeback', 'dispute'), ('grant', 'grant'), ('grant_expiry', 'grant'),
                                   ('grant_void', 'grant')) AS p (prefix, kind) USING (kind)) AS b
"""
_ACCOUNTS = """
    ARRAY(SELECT account_id FROM accounts WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)
"""

_STATEMENTS: Sequence[str] = (
    # Credit that a grant left is named by the grant, as in the ledger.
    """UPDATE customer_credits c SET reference = r.new || right(c.reference, -length(r.old)) FROM renamed r
        WHERE c.tenant_id = %(tenant)s AND c.customer_id = %(customer)s AND c.source = 'grant' AND r.kind = 'grant'
          AND (c.reference = r.old
               OR (starts_with(c.reference, r.old) AND right(c.reference, -length(r.old)) ~ '^:[0-9]+$'))""",
    # The ledger and the outbox first: they are found by the keys as they stand.
    f"""UPDATE transfers t SET key = b.new, reference = '', input_hash = {_NOTHING} FROM {_BOOKED}
         WHERE t.tenant_id = %(tenant)s AND t.key = b.old""",
    f"""UPDATE transfers t SET key = b.new || right(t.key, -length(b.old)), reference = '', input_hash = {_NOTHING}
          FROM {_BOOKED}
         WHERE t.tenant_id = %(tenant)s AND t.account_ids && {_ACCOUNTS} AND starts_with(t.key, b.old)
           AND right(t.key, -length(b.old)) ~ '^:[0-9]+$'""",
    f"""UPDATE transfers t SET corrects = b.new FROM {_BOOKED}
         WHERE t.tenant_id = %(tenant)s AND t.account_ids && {_ACCOUNTS} AND t.corrects = b.old""",
    """UPDATE outbox o
          SET subject = CASE WHEN o.kind ~ '^(invoice|credit_note|charge)[.]' THEN o.subject::text
                             ELSE coalesce((SELECT new FROM renamed WHERE old = o.subject LIMIT 1), o.subject) END,
              body = (SELECT coalesce(jsonb_object_agg(m.name,
                        CASE WHEN jsonb_typeof(m.value) <> 'string' THEN m.value
                             WHEN m.name IN ('failure', 'note') THEN '""'
                             WHEN m.name = 'reason' AND o.kind <> 'charge.due' THEN '""'
                             WHEN m.name IN ('customer', 'subscription', 'wallet', 'grant', 'top_up', 'payment',
                                             'refund', 'dispute', 'payment_method', 'key', 'subject', 'reference')
                             THEN coalesce((SELECT to_jsonb(new) FROM renamed WHERE old = m.value #>> '{}' LIMIT 1),
                                           CASE WHEN m.name = 'reference' THEN '""' ELSE m.value END)
                             ELSE m.value END), '{}') FROM jsonb_each(o.body) AS m (name, value))
        WHERE o.tenant_id = %(tenant)s
          AND (o.body ->> 'customer' IN (SELECT old FROM renamed WHERE kind = 'customer')
               OR (NOT o.body ? 'customer' AND o.kind !~ '^(invoice|credit_note|charge)[.]'
                   AND o.subject IN (SELECT old FROM renamed))
               OR o.subject IN (SELECT number FROM invoices
                                 WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
                                 UNION SELECT number FROM credit_notes
                                        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s))""",
    # Answers that were kept for whoever asks again.
    """DELETE FROM idempotent_writes w
        WHERE w.tenant_id = %(tenant)s
          AND (w.operation = 'POST /v1/erasures'
               OR EXISTS (SELECT FROM renamed r WHERE strpos(w.operation || '/', '/' || r.old || '/') > 0)
               OR (left(w.response, 1) IN ('{', '[') AND EXISTS (
                   SELECT FROM jsonb_path_query(w.response::jsonb,
                       'lax $.**.keyvalue() ? (@.value.type() == "string" && (@.key == "customer" || @.key == "key"
                            || @.key == "subscription" || @.key == "wallet" || @.key == "payment" || @.key == "grant"))
                        .value') AS said WHERE said #>> '{}' IN (SELECT old FROM renamed))))""",
    # Events that were set aside, and corrections of events that are in no segment any more.
    """INSERT INTO quarantine_resolutions (tenant_id, quarantine_id, resolution, resolved_at)
       SELECT q.tenant_id, q.quarantine_id, 'dropped', %(now)s FROM quarantine q
        WHERE q.tenant_id = %(tenant)s AND (event_attribute(q.raw, 'subject') = ANY(%(subjects)s)
              OR EXISTS (SELECT FROM unnest(%(quoted)s::bytea[]) AS text WHERE position(text IN q.raw) > 0))
       ON CONFLICT DO NOTHING""",
    """UPDATE quarantine q SET raw = '', detail = '', origin = ''
        WHERE q.tenant_id = %(tenant)s AND (event_attribute(q.raw, 'subject') = ANY(%(subjects)s)
              OR EXISTS (SELECT FROM unnest(%(quoted)s::bytea[]) AS text WHERE position(text IN q.raw) > 0))""",
    """UPDATE otlp_streams s SET unconfirmed = ''
        WHERE s.tenant_id = %(tenant)s
          AND EXISTS (SELECT FROM unnest(%(quoted)s::bytea[]) AS text WHERE position(text IN s.unconfirmed) > 0)""",
    """UPDATE event_corrections c SET target_source = %(erased)s, target_id = 'removed-' || c.correction_id,
              source = CASE WHEN c.source = %(erased)s THEN c.source::text ELSE %(erased)s END,
              event_id = CASE WHEN c.source = %(erased)s THEN c.event_id::text
                              ELSE 'correcting-' || c.correction_id END,
              reason = ''
         FROM voided_events v
        WHERE c.tenant_id = %(tenant)s AND v.tenant_id = c.tenant_id AND v.correction_id = c.correction_id
          AND v.subject = ANY(%(subjects)s) AND v.source <> %(erased)s""",
    """UPDATE voided_events v SET source = %(erased)s, event_id = 'removed-' || v.correction_id, subject = %(pseudonym)s
        WHERE v.tenant_id = %(tenant)s AND v.subject = ANY(%(subjects)s) AND v.source <> %(erased)s""",
    """UPDATE event_corrections c SET target_source = %(erased)s, target_id = 'waiting-' || c.correction_id
        WHERE c.tenant_id = %(tenant)s AND c.source = %(erased)s AND c.target_source <> %(erased)s
          AND NOT EXISTS (SELECT FROM voided_events v
                           WHERE v.tenant_id = c.tenant_id AND v.correction_id = c.correction_id)""",
    # Payments.
    """UPDATE dispute_evidence SET content = '{}'
        WHERE tenant_id = %(tenant)s AND dispute_id IN (
              SELECT d.dispute_id FROM disputes d JOIN payments p USING (tenant_id, payment_id)
               WHERE d.tenant_id = %(tenant)s AND p.customer_id = %(customer)s)""",
    """UPDATE provider_movements m SET provider_id = x.new
         FROM (SELECT p.gateway, p.provider_id AS old, r.new FROM payments p
                 JOIN renamed r ON r.kind = 'payment' AND r.old = p.key
                WHERE p.tenant_id = %(tenant)s AND p.customer_id = %(customer)s
               UNION ALL
               SELECT p.gateway, f.provider_id, r.new FROM refunds f JOIN payments p USING (tenant_id, payment_id)
                 JOIN renamed r ON r.kind = 'refund' AND r.old = f.key
                WHERE f.tenant_id = %(tenant)s AND p.customer_id = %(customer)s) AS x
        WHERE m.tenant_id = %(tenant)s AND m.gateway = x.gateway AND m.provider_id = x.old""",
    """UPDATE provider_events e
          SET said = e.said || jsonb_build_object('object_id', NULL,
                'payment', (SELECT new FROM renamed WHERE kind = 'payment' AND old = e.said ->> 'payment' LIMIT 1))
        WHERE e.tenant_id = %(tenant)s
          AND (e.said ->> 'payment' IN (SELECT old FROM renamed WHERE kind = 'payment')
               OR e.said ->> 'object_id' IN (
                  SELECT provider_id FROM payments WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
                   UNION SELECT r.provider_id FROM refunds r JOIN payments p USING (tenant_id, payment_id)
                          WHERE r.tenant_id = %(tenant)s AND p.customer_id = %(customer)s
                   UNION SELECT old FROM renamed WHERE kind = 'dispute'))""",
    f"""UPDATE bank_entries SET payer = '', remittance = '', end_to_end = ''
         WHERE tenant_id = %(tenant)s
           AND (payment_id IN {_PAYMENTS}
                OR payment_id IS NULL AND payer IN (
                   SELECT name FROM customers WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s
                    UNION SELECT mandate ->> 'holder' FROM payment_methods
                           WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s))""",
    f"""UPDATE refunds SET key = {_new("refund")}, reason = '', failure = CASE WHEN failure IS NOT NULL THEN '' END,
               provider_id = CASE WHEN provider_id IS NOT NULL THEN {_new("refund")} END
         WHERE tenant_id = %(tenant)s AND payment_id IN {_PAYMENTS}""",
    f"""UPDATE disputes SET key = {_new("dispute")}, reason = ''
         WHERE tenant_id = %(tenant)s AND payment_id IN {_PAYMENTS}""",
    f"""UPDATE payment_moves SET cause = {_CAUSE} WHERE tenant_id = %(tenant)s AND payment_id IN {_PAYMENTS}""",
    f"""UPDATE payments SET reference = '', cause = {_CAUSE}, top_up = {_new("top_up", "top_up")},
               failure = CASE WHEN failure IS NOT NULL THEN '' END,
               provider_id = CASE WHEN provider_id IS NOT NULL THEN {_new("payment")} END, key = {_new("payment")}
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    f"""UPDATE payment_methods SET label = '', reference = '', key = {_new("method")}, is_default = false,
               removed_at = coalesce(removed_at, %(now)s),
               mandate = CASE WHEN mandate IS NOT NULL THEN (
                   SELECT jsonb_object_agg(m.name, CASE WHEN m.name = 'signed_on' OR jsonb_typeof(m.value) <> 'string'
                                                        THEN m.value ELSE '""' END)
                     FROM jsonb_each(mandate) AS m (name, value)) END
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    f"UPDATE write_offs SET reason = '' WHERE tenant_id = %(tenant)s AND invoice_id IN {_INVOICES}",
    # Wallets and authorisations.
    """UPDATE grant_endings SET note = ''
         WHERE tenant_id = %(tenant)s AND grant_id IN (
               SELECT grant_id FROM grants WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s)""",
    f"""UPDATE top_ups SET key = {_new("top_up")}, failure = CASE WHEN failure IS NOT NULL THEN '' END
         WHERE tenant_id = %(tenant)s AND wallet_id IN {_WALLETS}""",
    f"""UPDATE grants SET key = {_new("grant")}, reference = '', input_hash = {_NOTHING}
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    f"""UPDATE recurring_grants SET key = {_new("recurring_grant")}
         WHERE tenant_id = %(tenant)s AND wallet_id IN {_WALLETS}""",
    f"""UPDATE wallets SET name = %(pseudonym)s, key = {_new("wallet")}
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    f"""UPDATE holds SET input_hash = {_NOTHING}, positions = '[]', key = {_new("hold")},
               event_source = CASE WHEN event_source IS NOT NULL THEN %(erased)s END,
               event_id = CASE WHEN event_id IS NOT NULL THEN {_new("hold")} END,
               event_hash = CASE WHEN event_hash IS NOT NULL THEN {_NOTHING} END
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    """UPDATE spending_limits SET name = %(pseudonym)s || '-' || limit_id
        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s AND level <> 'customer'""",
    # Invoices: what stands beside their documents.
    f"UPDATE invoice_voids SET reason = '' WHERE tenant_id = %(tenant)s AND invoice_id IN {_INVOICES}",
    f"""UPDATE invoice_lines l SET dimensions = {_mapped("l.dimensions")}, one_off = {_new("charge", "l.one_off")},
               rate_card = coalesce({_new("charge", "l.one_off")}, l.rate_card),
               subscription = coalesce({_new("subscription", "l.subscription")}, l.subscription),
               adjustment_key = coalesce((SELECT r.new FROM renamed r JOIN invoices i ON i.tenant_id = l.tenant_id
                                                                                AND i.invoice_id = l.invoice_id
                                           WHERE r.kind = 'commitment' AND r.old = l.adjustment_key
                                             AND r.owner = i.subscription_id
                                             AND l.adjustment IN ('commitment', 'prepaid', 'drawdown', 'overage',
                                                                  'true_up', 'lapse')), l.adjustment_key),
               corrected_key = coalesce((SELECT r.new FROM renamed r JOIN invoices i ON i.tenant_id = l.tenant_id
                                                                               AND i.invoice_id = l.invoice_id
                                          WHERE r.kind = 'commitment' AND r.old = l.corrected_key
                                            AND r.owner = i.subscription_id
                                            AND l.corrected NOT IN ('coupon', 'minimum')), l.corrected_key)
         WHERE l.tenant_id = %(tenant)s AND l.invoice_id IN {_INVOICES}""",
    f"""UPDATE correction_credits l SET dimensions = {_mapped("l.dimensions")},
               corrected_key = coalesce((SELECT r.new FROM renamed r JOIN invoices i ON i.tenant_id = l.tenant_id
                                                                               AND i.invoice_id = l.invoice_id
                                          WHERE r.kind = 'commitment' AND r.old = l.corrected_key
                                            AND r.owner = i.subscription_id
                                            AND l.corrected NOT IN ('coupon', 'minimum')), l.corrected_key)
         WHERE l.tenant_id = %(tenant)s AND l.invoice_id IN {_INVOICES}""",
    f"""UPDATE usage_positions p SET dimensions = CASE WHEN p.dimensions = '' THEN ''
                                                      ELSE {_mapped("p.dimensions::jsonb")}::text END
         WHERE p.tenant_id = %(tenant)s AND p.subscription_id IN {_SUBS}""",
    f"""UPDATE credit_notes SET key = {_new("credit_note")}, request = '{{}}'
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    # Subscriptions and the customer.
    f"""UPDATE one_off_charges SET key = {_new("charge")}, description = ''
         WHERE tenant_id = %(tenant)s AND subscription_id IN {_SUBS}""",
    f"""UPDATE commitments c SET key = r.new,
               definition = c.definition || jsonb_build_object('key', r.new, 'name', r.new)
          FROM renamed r
         WHERE c.tenant_id = %(tenant)s AND c.subscription_id IN {_SUBS} AND r.kind = 'commitment'
           AND r.owner = c.subscription_id AND r.old = c.key""",
    # Keys that a program chose say where a change came from; others are somebody's.
    f"""UPDATE subscription_changes SET key = %(pseudonym)s || '-change-' || change_id
         WHERE tenant_id = %(tenant)s AND subscription_id IN {_SUBS}
           AND key !~ '^(start-.*|phase-[0-9]+|withdraw-[0-9]+|end)$'""",
    f"""UPDATE subscriptions SET key = {_new("subscription")}
         WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    """UPDATE customer_tax_facts SET tax_ids = '[]', exemption = NULL
        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    """DELETE FROM customer_subjects
        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s AND NOT is_key""",
    """UPDATE customer_subjects SET subject = %(pseudonym)s
        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
    """UPDATE customers SET key = %(pseudonym)s::text, name = %(pseudonym)s::text, email = NULL, address = '{}'
        WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s""",
)


def replace_identity(
    conn: BooksConnection,
    tenant_id: int,
    customer_id: int,
    pseudonym: str,
    words: Mapping[str, str],
    subjects: Sequence[str],
    quoted: Sequence[bytes],
    now: object,
) -> None:
    """Replace who a customer was in every row but the documents that were issued to it.

    words: what stands for the words of its events. quoted: its subjects as they stand in JSON.
    """
    given = {
        "tenant": tenant_id,
        "customer": customer_id,
        "pseudonym": pseudonym,
        "words": Jsonb(dict(words)),
        "subjects": list(subjects),
        "quoted": list(quoted),
        "erased": ERASED_SOURCE,
        "now": now,
    }
    conn.execute(_RENAMED.encode(), given)
    conn.execute("CREATE INDEX ON renamed (old)")
    for statement in _STATEMENTS:
        conn.execute(statement.encode(), given)


def select_words(conn: BooksConnection, tenant_id: int, customer_id: int) -> set[str]:
    """The words of its events that stand in the books: dimensions of lines, and of what was counted so far."""
    rows = conn.execute(
        f"""
        SELECT m.value #>> '{{}}' AS word FROM invoice_lines l CROSS JOIN LATERAL jsonb_each(l.dimensions) AS m
         WHERE l.tenant_id = %(tenant)s AND l.invoice_id IN {_INVOICES}
         UNION
        SELECT m.value #>> '{{}}' FROM usage_positions p
         CROSS JOIN LATERAL jsonb_each(CASE WHEN p.dimensions = '' THEN '{{}}' ELSE p.dimensions END::jsonb) AS m
         WHERE p.tenant_id = %(tenant)s AND p.subscription_id IN {_SUBS}
        """.encode(),
        {"tenant": tenant_id, "customer": customer_id},
    ).fetchall()
    return {row["word"] for row in rows if row["word"] is not None}


def select_identity_tables(conn: BooksConnection) -> list[str]:
    """The tables with columns that identify somebody, and those that erasing writes to beside."""
    rows = conn.execute(
        """
        SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'public'::regnamespace AND t.tgname = c.relname || '_identity' ORDER BY c.relname
        """
    ).fetchall()
    return [*(row["relname"] for row in rows), "segments", "erasures", "idempotent_writes"]
