-- What comes late to a subscription that has ended has an invoice to stand on: a settlement, of which there may be several.
ALTER TABLE invoices DROP CONSTRAINT invoices_check2;
ALTER TABLE invoices ADD CONSTRAINT invoices_sequence
    CHECK (CASE reason WHEN 'interim' THEN sequence >= 1 WHEN 'settlement' THEN sequence >= 0 ELSE sequence = 0 END);
