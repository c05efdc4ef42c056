"""Whether a worker was told to stop."""


class Draining:
    """Whether this worker was told to stop."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        self.begun = True
