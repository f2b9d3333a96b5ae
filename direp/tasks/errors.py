"""What can be wrong with data that lies in files."""


class DataMissing(ValueError):
    """Data that is in no directory and cannot be downloaded."""


class DataUnreadable(ValueError):
    """A data file that is not what it should be."""
