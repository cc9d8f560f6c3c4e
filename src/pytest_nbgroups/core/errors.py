"""All errors that a user can meet. A message states the problem, its place and a remedy."""

from __future__ import annotations


class NbgroupsError(Exception):
    """Base of the errors raised by pytest-nbgroups; its text is meant for the user as it stands."""


class DeclarationError(NbgroupsError):
    """A declaration (experiment.toml, pyproject.toml, option, hook or marker) has a bad value."""


class DataError(NbgroupsError):
    """A value that a file or another process gives is not of the declared type."""


class SelectionError(NbgroupsError):
    """An experiment's notebooks cannot be selected or ordered as declared."""


class NotebookError(NbgroupsError):
    """A notebook cannot be run: its file or its kernel is at fault."""


class KernelStartError(NotebookError):
    """No kernel can be found for a notebook, or the one found does not start."""


class KernelHostError(NbgroupsError):
    """The kernel host could not start, or has ended."""


class HistoryError(NbgroupsError):
    """A history file cannot be read, written or merged."""


class CheckpointError(NbgroupsError):
    """A checkpoint cannot be read, or the dependencies of a notebook cannot be found out."""


class LeaseError(NbgroupsError):
    """The lease pool cannot be used, or gives no lease."""


class LeaseTimeoutError(LeaseError):
    """A lease was not granted within the time that the user set."""


class LeaseCancelledError(LeaseError):
    """The wait for a lease was cancelled."""
