"""Run directories of ordered Jupyter notebooks as atomic, parallel pytest items."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_nbgroups._version import __version__ as __version__
    from pytest_nbgroups.api import run_experiment
    from pytest_nbgroups.core.errors import DeclarationError, NbgroupsError, SelectionError
    from pytest_nbgroups.core.events import (
        CellStarted,
        Event,
        ExperimentFinished,
        ExperimentStarted,
        ExperimentWaiting,
        NotebookFinished,
        NotebookStarted,
    )
    from pytest_nbgroups.core.model import (
        CellReference,
        Experiment,
        ExperimentOutcome,
        ExperimentResult,
        Failure,
        FailureKind,
        Notebook,
        NotebookOutcome,
        NotebookResult,
    )
    from pytest_nbgroups.core.resources import Estimate, Lease, Need, Resources, Usage
    from pytest_nbgroups.core.units import Size

__all__ = [
    "CellReference",
    "CellStarted",
    "DeclarationError",
    "Estimate",
    "Event",
    "Experiment",
    "ExperimentFinished",
    "ExperimentOutcome",
    "ExperimentResult",
    "ExperimentStarted",
    "ExperimentWaiting",
    "Failure",
    "FailureKind",
    "Lease",
    "NbgroupsError",
    "Need",
    "Notebook",
    "NotebookFinished",
    "NotebookOutcome",
    "NotebookResult",
    "NotebookStarted",
    "Resources",
    "SelectionError",
    "Size",
    "Usage",
    "run_experiment",
]

_HOMES = ("core.model", "core.resources", "core.events", "core.errors", "core.units", "api")


def __getattr__(name: str) -> Any:  # noqa: ANN401  any public name
    """Import a public name when it is first used: pytest loads this package in every run."""
    if name == "__version__":
        return import_module("pytest_nbgroups._version").__version__
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
