-- Which segments follow each other, and what subjects each has: a question about one customer opens the files that
-- may have an answer, and no others.

ALTER TABLE segments
    ADD COLUMN first_subjects text[] COLLATE "C",   -- of each of event_types, in byte order; none: not known
    ADD COLUMN last_subjects  text[] COLLATE "C",
    ADD COLUMN merge_id       key_text,             -- the merge that made it; none: in the order of arrival
    ADD CHECK (cardinality(first_subjects) = cardinality(event_types)
               AND cardinality(last_subjects) = cardinality(event_types));
