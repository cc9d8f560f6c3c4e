"""Suggestions for declarations, from hints and history."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Estimate
from pytest_nbgroups.core.units import counted, format_size
from pytest_nbgroups.hints.finding import Hints

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
    # Measured use only: code that uses a GPU often runs without one too.
    if declared.gpus is None and not declared.gpu_count and estimate.gpu_bytes:
        used = f"used {format_size(estimate.gpu_bytes)} of GPU memory {_in_runs(estimate)}"
        yield f"{used} and no gpus are declared", "gpus = 1"
    if declared.cpus is None:
        found, cpus = _cpu_use(hints, estimate)
        if found:
            yield f"{found} and no cpus are declared", f"cpus = {cpus}"


def _cpu_use(hints: Hints, estimate: Estimate) -> tuple[str, str]:
    hint = hints.parallelism
    if hint is None or (estimate.cpus is not None and estimate.cpus < _SEVERAL_CPUS):
        return "", ""
    source = f"{hint.notebook} cell {hint.cell} uses {hint.sign}"
    if estimate.cpus is None:
        return source, str(hint.count or "N")
    busy = f"{estimate.cpus:.1f} cpus were busy {_in_runs(estimate)}"
    return f"{source}, {busy}", str(round(estimate.cpus))


def _in_runs(estimate: Estimate) -> str:
    return f"in {counted(estimate.runs, 'run')}"
