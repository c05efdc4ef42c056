-- Corrections: what usage that came after the invoice of its period makes of that invoice, as a line of a later one.
-- Such a line is of a rate card, and of the invoice that it corrects (adjustment_key).
ALTER TABLE invoice_lines
    DROP CONSTRAINT invoice_lines_adjustment_check,
    DROP CONSTRAINT invoice_lines_check,
    ADD CONSTRAINT invoice_lines_adjustment_check CHECK (adjustment IN
        ('coupon', 'commitment', 'prepaid', 'drawdown', 'overage', 'true_up', 'lapse', 'minimum', 'billed', 'carried',
         'correction')),
    ADD CONSTRAINT invoice_lines_of_what CHECK (
        CASE WHEN adjustment = 'correction' THEN rate_card IS NOT NULL
             ELSE (adjustment IS NULL) = (rate_card IS NOT NULL) END);
CREATE INDEX invoice_lines_corrections ON invoice_lines (tenant_id, adjustment_key) WHERE adjustment = 'correction';
