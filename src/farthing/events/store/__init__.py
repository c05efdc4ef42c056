"""The event store: immutable columnar segments, and what the books know about them."""
