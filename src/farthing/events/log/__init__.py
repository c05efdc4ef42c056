"""The event log: durable, append-only, replayable. Acknowledged means on disk here."""
