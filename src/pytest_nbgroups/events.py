"""The events that hooks and ``on_event`` receive while experiments run."""

from __future__ import annotations

from pytest_nbgroups.core.events import (
    CellStarted,
    Event,
    ExperimentFinished,
    ExperimentStarted,
    ExperimentWaiting,
    NotebookFinished,
    NotebookStarted,
)

__all__ = [
    "CellStarted",
    "Event",
    "ExperimentFinished",
    "ExperimentStarted",
    "ExperimentWaiting",
    "NotebookFinished",
    "NotebookStarted",
]
