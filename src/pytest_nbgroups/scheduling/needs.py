"""Needs of a run, from its declaration, its history and the machine. Pure: values in, values out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_nbgroups.core.resources import AUTO_SHARE, Budget, Estimate, Need, RamSource, Resources
from pytest_nbgroups.core.units import counted, format_size
from pytest_nbgroups.scheduling.lending import lacking_gpus

_MARGIN = 1.1
"""Margin above the measured peak: allocations differ a little from run to run."""
_STEP_BYTES = 16 * 2**20
"""Unit for rounding estimates up, so that needs that hardly differ become equal."""
_SLOW_STARTERS = 2
"""Number of undeclared experiments that start before the first has shown its memory."""


@dataclass(frozen=True, kw_only=True)
class SlowStart:
    """Memory to reserve for experiments without a declaration or history."""

    default_bytes: int
    largest_peak_bytes: int = 0
    """Largest peak of the undeclared experiments that this session has run or runs."""
    finished: int = 0

    @property
    def reserve_bytes(self) -> int:
        return max(self.default_bytes, self.largest_peak_bytes)

    @property
    def limit(self) -> int | None:
        """Number that may run at once; None as soon as the first has shown its memory."""
        return None if self.finished else _SLOW_STARTERS


def need_of(
    resources: Resources, estimate: Estimate | None, budget: Budget, slow_start: SlowStart
) -> Need:
    """Return every need: as declared, else from history, else by slow start.

    Undeclared needs are at most the budget, so that they can be granted.
    """
    share = _gpu_share(resources, estimate, budget)
    ram_bytes, source = _ram(resources, estimate, slow_start)
    ram_bytes += _unified_bytes(resources, share, budget)
    return Need(
        cpus=min(1.0 if resources.cpus is None else resources.cpus, budget.cpus),
        ram_bytes=min(ram_bytes, budget.ram_bytes),
        ram_source=source,
        gpus=resources.gpu_count,
        gpu_min_bytes=resources.gpu_min_memory.bytes if resources.gpu_min_memory else 0,
        gpu_share_bytes=share,
        locks=tuple(sorted(set(resources.locks))),
        exclusive=resources.exclusive,
    )


def _ram(
    resources: Resources, estimate: Estimate | None, slow_start: SlowStart
) -> tuple[int, RamSource]:
    if resources.ram is not None:
        return resources.ram.bytes, "declared"
    if estimate is not None and estimate.peak_bytes is not None:
        return _with_margin(estimate.peak_bytes), "history"
    return slow_start.reserve_bytes, "slow start"


def _gpu_share(resources: Resources, estimate: Estimate | None, budget: Budget) -> int | None:
    """Return the share of a GPU; at most the lender's, so that it can be granted."""
    share = resources.gpu_memory
    if share is None:
        return None
    if share != AUTO_SHARE:
        needed = share.bytes
    elif estimate and estimate.gpu_bytes:
        needed = _with_margin(estimate.gpu_bytes)
    else:
        return None
    lent = budget.lender.need.gpu_share_bytes if budget.lender else None
    return needed if lent is None else min(needed, lent)


def _with_margin(measured: int) -> int:
    return math.ceil(measured * _MARGIN / _STEP_BYTES) * _STEP_BYTES


def _unified_bytes(resources: Resources, share: int | None, budget: Budget) -> int:
    """Return the GPU memory to charge to RAM: on unified devices it is the host's RAM."""
    if not resources.gpu_count or not all(gpu.unified for gpu in budget.gpus):
        return 0
    minimum = resources.gpu_min_memory.bytes if resources.gpu_min_memory else 0
    return share if share is not None else minimum * resources.gpu_count


def notes(resources: Resources, estimate: Estimate | None, budget: Budget) -> Iterable[str]:
    """Return remarks on a declaration that the machine or history contradicts."""
    if resources.cpus is not None and resources.cpus > budget.cpus:
        yield f"declares {resources.cpus:g} cpus, the budget has {budget.cpus:g}"
    peak = estimate.peak_bytes if estimate else None
    if resources.ram is not None and peak is not None and peak > resources.ram.bytes:
        yield f"declares ram = {resources.ram}, earlier runs used {format_size(peak)}"
    gpu_bytes = estimate.gpu_bytes if estimate else None
    share = resources.gpu_memory
    if share is not None and share != AUTO_SHARE and (gpu_bytes or 0) > share.bytes:
        yield f"declares gpu_memory = {share}, earlier runs used {format_size(gpu_bytes or 0)}"


def unmet(resources: Resources, budget: Budget) -> str | None:
    """Return why this machine can never grant the declaration; None if it can.

    For the limits of a lender, see `lacking`.
    """
    lender = budget.lender
    if lender is not None:
        return lacking_gpus(resources, lender) or _unmet_gpus(resources, budget)
    return _unmet_ram(resources, budget) or _unmet_gpus(resources, budget)


def _unmet_ram(resources: Resources, budget: Budget) -> str | None:
    if resources.ram is None or resources.ram.bytes <= budget.ram_bytes:
        return None
    return (
        f"needs {resources.ram} of RAM, the budget is {format_size(budget.ram_bytes)} "
        f"of {format_size(budget.ram_capacity_bytes)}"
    )


def _unmet_gpus(resources: Resources, budget: Budget) -> str | None:
    needed = resources.gpu_count
    if needed == 0:
        return None
    asked = f"needs {counted(needed, 'GPU')}"
    if len(budget.gpus) < needed:
        why = f" ({budget.gpus_reason})" if budget.gpus_reason and not budget.gpus else ""
        return f"{asked}, found {len(budget.gpus) or 'none'}{why}"
    memory = resources.gpu_min_memory or resources.gpu_memory
    large = sum(memory is None or gpu.total_bytes >= memory.bytes for gpu in budget.gpus)
    if large >= needed:
        return None
    if large:
        return f"{asked} with {memory} of memory each, {large} of {len(budget.gpus)} has that much"
    largest = max(gpu.total_bytes for gpu in budget.gpus)
    return f"{asked} with {memory} of memory, the largest has {format_size(largest)}"
