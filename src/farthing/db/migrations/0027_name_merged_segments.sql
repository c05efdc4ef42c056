-- A segment that others were put together in, or that was written anew, names them: whoever has looked at their events
-- need not look at its.
ALTER TABLE segments ADD merged_from text[] COLLATE "C";    -- the ids of those whose events it has; none: it was sealed
