"""Properties of an experiment in JUnit XML, beside its outcome."""

from __future__ import annotations

from pytest_nbgroups.core.model import ExperimentResult, NotebookOutcome
from pytest_nbgroups.reports.lines import one_line


def properties(result: ExperimentResult) -> list[tuple[str, str]]:
    """Return the properties of an item, for pytest's ``user_properties``.

    * ``nbgroups_experiment``: its name
    * ``nbgroups_notebooks``: number of its notebooks
    * ``nbgroups_notebooks_passed``: number of those that passed or were reused
    * ``nbgroups_notebooks_reused``: number of those that were reused, if any was
    * ``nbgroups_duration_s:<notebook>``: seconds, for each notebook that ran
    * ``nbgroups_failed_notebook``: the notebook that failed, if one did
    * ``nbgroups_failed_cell``: 1-based position of the cell that failed, if one did
    * ``nbgroups_failure_kind``: kind of the failure, as in ``session.json``, if there is one
    """
    passed = sum(notebook.outcome.is_done for notebook in result.notebooks)
    return [
        ("nbgroups_experiment", one_line(result.name)),
        ("nbgroups_notebooks", str(len(result.notebooks))),
        ("nbgroups_notebooks_passed", str(passed)),
        *_reused(result),
        *_durations(result),
        *_failed(result),
    ]


def _reused(result: ExperimentResult) -> list[tuple[str, str]]:
    count = sum(notebook.outcome is NotebookOutcome.REUSED for notebook in result.notebooks)
    return [("nbgroups_notebooks_reused", str(count))] if count else []


def _durations(result: ExperimentResult) -> list[tuple[str, str]]:
    ran = {NotebookOutcome.PASSED, NotebookOutcome.FAILED, NotebookOutcome.INTERRUPTED}
    return [
        (f"nbgroups_duration_s:{one_line(notebook.name)}", f"{notebook.duration_s:.3f}")
        for notebook in result.notebooks
        if notebook.outcome in ran
    ]


def _failed(result: ExperimentResult) -> list[tuple[str, str]]:
    notebook = result.failed_notebook
    kind = [("nbgroups_failure_kind", result.failure.kind.value)] if result.failure else []
    if notebook is None or notebook.failure is None:
        return kind
    cell = notebook.failure.cell
    number = [("nbgroups_failed_cell", str(cell.number))] if cell else []
    return [("nbgroups_failed_notebook", one_line(notebook.name)), *number, *kind]
