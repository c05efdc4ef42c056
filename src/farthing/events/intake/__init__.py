"""From the bytes of a request or a file to canonical event lines."""
