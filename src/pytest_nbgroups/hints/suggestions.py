"""Suggestions for declarations, from hints and history."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Estimate
from pytest_nbgroups.core.units import format_size
from pytest_nbgroups.hints.finding import Hint, Hints

_SEVERAL_CPUS = 1.5
"""Cores kept busy from which on an experiment needs more than the one CPU that is the default."""


def hint_lines(
    experiment: Experiment, hints: Hints, estimate: Estimate | None, *, toml_path: str
) -> tuple[str, ...]:
    """Return a line for each resource that is used but not declared, with the key to add.

    If history has a measured value, it decides, and the source does not count.
    """
    return tuple(
        f"{experiment.name}: {found}; put {key} into [resources] of {toml_path}"
        for found, key in _undeclared(experiment, hints, estimate or Estimate(runs=0))
    )


def _undeclared(
    experiment: Experiment, hints: Hints, estimate: Estimate
) -> Iterator[tuple[str, str]]:
    """Yield the sign of use, and the key that declares it."""
    declared = experiment.resources
    if declared.gpus is None and not declared.gpu_count:
        found = _gpu_use(hints, estimate)
        if found:
            yield f"{found} and no gpus are declared", "gpus = 1"
    if declared.cpus is None:
        found, cpus = _cpu_use(hints, estimate)
        if found:
            yield f"{found} and no cpus are declared", f"cpus = {cpus}"


def _gpu_use(hints: Hints, estimate: Estimate) -> str:
    if estimate.gpu_bytes is not None:
        used = f"used {format_size(estimate.gpu_bytes)} of GPU memory {_in_runs(estimate)}"
        return used if estimate.gpu_bytes else ""
    hint = hints.first("gpu")
    return f"{_place(hint)} uses a GPU ({hint.sign})" if hint else ""


def _cpu_use(hints: Hints, estimate: Estimate) -> tuple[str, str]:
    hint = hints.first("parallel")
    if hint is None or (estimate.cpus is not None and estimate.cpus < _SEVERAL_CPUS):
        return "", ""
    source = f"{_place(hint)} uses {hint.sign}"
    if estimate.cpus is None:
        return source, str(hint.count or "N")
    busy = f"{estimate.cpus:.1f} cpus were busy {_in_runs(estimate)}"
    return f"{source}, {busy}", str(round(estimate.cpus))


def _place(hint: Hint) -> str:
    return f"{hint.notebook} cell {hint.cell}"


def _in_runs(estimate: Estimate) -> str:
    return f"in {estimate.runs} run{'s' if estimate.runs != 1 else ''}"
