"""Doors that speak as other systems do: each file turns one system's requests into events.

Pure translations in front of the same path: whatever comes in here meets the bounds, the log, the deduplication
and the quarantine that every event meets. Laws: the same request again gives the same ids, so it is a duplicate;
no number loses a digit; what cannot be translated is named with its place.

How these systems behave is told in docs/guides/other-doors.md, with what to change in an existing stack.
"""
