"""Errors that a user can mend: the scripts print them as one line and exit with code 2."""


class UserError(ValueError):
    """Something outside the program is wrong; the message says what, and what to do."""


class ConfigError(UserError):
    """A config, or an option that changes it, is wrong."""


class PathError(UserError):
    """No file can have a path, or none can be written there."""


class ClusterError(UserError):
    """A cluster is out of reach, or a node of it is unfit."""


class DataError(UserError):
    """A data file is missing, foreign, damaged, or does not fit what was asked of it."""


class CheckpointError(UserError):
    """A checkpoint is missing, foreign, damaged, or does not fit the network."""


class DivergedError(UserError):
    """A loss became NaN or infinite."""


class SearchError(UserError):
    """A search found nothing."""
