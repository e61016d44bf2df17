"""Errors a user can act on.

Every message says what must hold, what came, and the way out. The command line prints the message alone
and exits with 2; anything else that is raised is our fault and exits with 1.
"""


class LesionForgeError(ValueError):
    """The input is wrong, or cannot be worked with; nothing already on disk was changed."""


class LeakError(LesionForgeError):
    """Scoring would happen on a patient whose pixels went into training."""


class StorageError(LesionForgeError):
    """A file is missing, cut short, foreign, in the way, or cannot be written."""


class TrainingDivergedError(LesionForgeError):
    """Training left the finite numbers; the last good checkpoint was kept."""


class UnfitDataError(LesionForgeError):
    """One scan or file of many cannot be used. ``reason`` is short, holds no names, and is the same for the like."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["UnfitDataError"], tuple[str, str]]:  # it comes back from other processes
        return type(self), (self.reason, str(self))
