-- A billing run issues a thousand invoices in one statement, so what is checked of them is asked once for each statement,
-- of columns: neither row by row nor by reading the documents again.

-- When the invoice is due. Of those that were issued before this column it stands in invoice_balances alone.
ALTER TABLE invoices ADD due_at timestamptz;

CREATE OR REPLACE FUNCTION open_invoices() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO invoice_balances (tenant_id, invoice_id, customer_id, currency, issued_at, due_at, payable)
    SELECT i.tenant_id, i.invoice_id, i.customer_id, i.currency, i.issued_at, coalesce(i.due_at, i.issued_at),
           -- What wallets paid is paid.
           greatest(i.total - i.paid_from_wallets, 0)
      FROM issued i ORDER BY i.invoice_id;
    INSERT INTO customer_credits (tenant_id, customer_id, currency, source, reference, amount, arose_at)
    SELECT i.tenant_id, i.customer_id, i.currency, 'invoice', i.number, -i.total, i.issued_at
      FROM issued i WHERE i.total < 0 ORDER BY i.invoice_id;
    RETURN NULL;
END $$;

-- An invoice is never removed, and a row's key never changes, so it is enough to look when rows are made.
ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_tenant_id_invoice_id_fkey;
ALTER TABLE invoice_taxes DROP CONSTRAINT invoice_taxes_tenant_id_invoice_id_fkey;

CREATE FUNCTION refuse_unknown_invoices() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT tenant_id, invoice_id FROM made) m
                 LEFT JOIN invoices i USING (tenant_id, invoice_id)
                WHERE i.number IS NULL) THEN
        RAISE EXCEPTION 'a row of % names an invoice that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_known AFTER INSERT ON invoice_lines
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_invoices();
CREATE TRIGGER invoice_taxes_known AFTER INSERT ON invoice_taxes
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION refuse_unknown_invoices();
