"""What the experiments of this repository have in common: the four hooks of pytest-nbgroups."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups import NotebookFinished

if TYPE_CHECKING:
    import pytest

    from pytest_nbgroups import Event, Resources


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-size",
        action="store_true",
        help="run the experiments on all of their data, not on the smaller sample for tests",
    )
    parser.addoption(
        "--timings",
        metavar="FILE",
        help="append experiment, notebook, outcome and seconds of each notebook to this CSV file",
    )


def pytest_experiment_notebooks(notebooks: Sequence[Path]) -> list[Path] | None:
    """Leave out the drafts; None where there is none, which changes nothing."""
    kept = [notebook for notebook in notebooks if not notebook.name.startswith("draft-")]
    return kept if len(kept) < len(notebooks) else None


def pytest_experiment_resources(config: pytest.Config, resources: Resources) -> Resources | None:
    """Give each experiment the machine to itself at full size, so that its times compare."""
    return (
        replace(resources, exclusive=True) if config.getoption("full_size", default=False) else None
    )


def pytest_experiment_env(config: pytest.Config) -> dict[str, str]:
    """Tell the notebooks how much to do: 1-phantom.ipynb reads EXAMPLE_SIZE."""
    return {"EXAMPLE_SIZE": "full" if config.getoption("full_size", default=False) else "small"}


def pytest_experiment_event(config: pytest.Config, event: Event) -> None:
    """Write down how long each notebook took. Calls come one at a time: no lock is needed."""
    file = config.getoption("timings", default=None)
    if file and isinstance(event, NotebookFinished):
        result = event.result
        row = (event.experiment, result.name, result.outcome, f"{result.duration_s:.2f}")
        with Path(file).open("a", newline="", encoding="utf-8") as table:
            csv.writer(table).writerow(row)
