"""The tests: see CONTRIBUTING.md. A package, so that no other package called `tests` stands in its place."""
