"""From acknowledged lines of the log to segments that count."""
