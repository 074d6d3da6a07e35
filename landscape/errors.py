"""The errors a caller can handle; a wrong argument raises the built-in ``ValueError`` or ``TypeError`` instead."""


class LandscapeError(Exception):
    """Base class of the errors that a caller can handle; the message says what was expected, found, and what to do."""


class DataError(LandscapeError):
    """A data set is missing, damaged, or not what its name promises."""


class CheckpointError(LandscapeError):
    """A checkpoint or run directory is missing, damaged, or belongs to another architecture."""


class StoreError(LandscapeError):
    """An HDF5 file is missing, damaged, locked, of another format or settings, or exists and must not be replaced."""


class UnsoundError(LandscapeError):
    """An assumption of the whole sweep does not hold, as opposed to a failure at one point."""


class NonFiniteLossError(LandscapeError):
    """The training loss became NaN or infinite; the last good checkpoint is kept."""


class AlignmentError(LandscapeError):
    """The hidden units of a network cannot be permuted without changing what it computes, as far as can be told."""


class UserCodeError(LandscapeError):
    """User code that was imported or called ended the program, as ``exit()`` and ``parse_args()`` do."""


class UntrustedCodeError(LandscapeError):
    """A file names code to be run, and the caller neither gave the same reference nor trusts the file."""


class MissingLibraryError(LandscapeError):
    """A library that an optional step needs (OpenGL, MPI, transformers) is not installed or cannot be loaded."""


class DerivativeError(LandscapeError):
    """The loss cannot be differentiated as often as needed, or its derivatives are not finite."""
