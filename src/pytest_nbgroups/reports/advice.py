"""Advice after a run: wrong declarations, and other warnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_nbgroups.core.model import DECLARATION_FILE, ExperimentResult, FailureKind
from pytest_nbgroups.core.resources import Need, Usage
from pytest_nbgroups.core.units import Size, SizeUnit, excess_texts, unit_of
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.record import ExperimentRecord

SHOWN = 5
"""Lines of advice in one session."""

SHORTEST_S = 10.0
"""In a shorter run, imports and compilation keep the cores busy."""

_MARGIN = 1.1
"""Factor on the measured peak: allocations differ a little from run to run."""

_LARGE = {"GB", "GiB", "TB", "TiB"}
"""Units that are rounded to tenths."""

_KILLED = {FailureKind.RAM_LIMIT, FailureKind.OUT_OF_MEMORY, FailureKind.KERNEL_DIED}

_MUCH_MORE = 1.5
_CORES_MORE = 0.5
"""Excess over the reserved CPUs that is worth advice, as a factor and in cores."""


def session_advice(
    experiments: Iterable[ExperimentRecord], *, shown: Callable[[Path], str] = str
) -> tuple[str, ...]:
    """Return the advice on the last attempts: a few lines, then the number of further ones."""
    lines = [line for each in experiments for line in advice(each.result, shown=shown)]
    more = len(lines) - SHOWN
    rest = [f"and {more} more that used more than they reserved: see session.json"]
    return (*lines[:SHOWN], *(rest if more > 0 else ()))


def advice(result: ExperimentResult, *, shown: Callable[[Path], str] = str) -> tuple[str, ...]:
    """Return a line for each resource of which a run used more than it reserved.

    ``Heart: used 6.7GB of RAM, reserved 4GB; put ram = "7.4GB" into ...``.
    """
    if result.lease is None or result.usage is None:
        return ()
    file = shown(result.directory / DECLARATION_FILE)
    return tuple(
        one_line(f"{result.name}: {found}; put {key} into [resources] of {file}")
        for found, key in _exceeded(result, result.lease.need, result.usage)
    )


def _ran_out(result: ExperimentResult) -> bool:
    """Return whether it was killed, perhaps for its memory: then its need is not known."""
    return any(n.failure is not None and n.failure.kind in _KILLED for n in result.notebooks)


def _exceeded(result: ExperimentResult, need: Need, usage: Usage) -> Iterator[tuple[str, str]]:
    """Yield each measured use, and the key that would declare it."""
    # An upper bound proves nothing; history and slow start learn by themselves.
    is_declared = need.ram_source == "declared" and not usage.is_upper_bound
    if is_declared and usage.peak_bytes > need.ram_bytes and not _ran_out(result):
        yield _memory("RAM", "ram", usage.peak_bytes, need.ram_bytes)
    used, share = usage.gpu_bytes, need.gpu_share_bytes
    if used is not None and share is not None and used > share:
        yield _memory("GPU memory", "gpu_memory", used, share)
    cores = usage.cpu_s / result.duration_s if result.duration_s >= SHORTEST_S else 0.0
    if cores > max(_MUCH_MORE * need.cpus, need.cpus + _CORES_MORE):
        yield f"kept {cores:.1f} cpus busy, reserved {need.cpus:g}", f"cpus = {round(cores)}"


def _memory(of: str, key: str, used: int, reserved: int) -> tuple[str, str]:
    limit = Size(reserved)
    more, less = excess_texts(used, limit)
    return f"used {more} of {of}, reserved {less}", f'{key} = "{_ample(used, unit_of(limit))}"'


def _ample(used: int, unit: SizeUnit) -> str:
    """Render a size to declare for the measured one: ``7.4GB``."""
    step = unit.factor // 10 if unit.name in _LARGE else unit.factor
    return SizeUnit(unit.name).text(math.ceil(used * _MARGIN / step) * step)


def warnings_of(result: ExperimentResult) -> tuple[str, ...]:
    """Return the warnings of a session about a finished experiment, with the notes on its lease."""
    notes = result.lease.notes if result.lease else ()
    return (*result.warnings, *(one_line(f"{result.name}: {note}") for note in notes))
