"""What is wrong with a file."""


class Unreadable(ValueError):
    """A file that is not there or does not hold what it should."""
