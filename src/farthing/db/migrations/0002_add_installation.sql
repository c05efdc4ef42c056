-- Which data directory these books belong to. Events lie in files whose meaning the books hold: with
-- other books they would look like debris.
CREATE TABLE installation (
    only_one        boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    installation_id key_text NOT NULL
);
GRANT SELECT, INSERT ON installation TO farthing_app;
