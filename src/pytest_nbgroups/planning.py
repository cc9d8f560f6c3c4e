"""How many experiments fit at once, and which never will. Pure: values in, values out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_nbgroups.model import Budget, Gpu, Resources
from pytest_nbgroups.units import Size, format_size


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """``fit``: the largest number such that any so many of the experiments fit together."""

    fit: int
    experiments: int
    limit: str
    """What keeps one more from fitting, empty where nothing does."""


def cpus_of(resources: Resources, budget: Budget) -> float:
    """CPUs to reserve: as declared (default 1), clamped to the budget."""
    return min(resources.cpus if resources.cpus is not None else 1.0, budget.cpus)


def clamp_note(resources: Resources, budget: Budget) -> str | None:
    """What to say where more CPUs are declared than there are."""
    if resources.cpus is None or resources.cpus <= budget.cpus:
        return None
    return f"declares {resources.cpus:g} cpus, the budget has {budget.cpus:g}"


def unmet(resources: Resources, budget: Budget) -> str | None:
    """Why this machine can never grant what is declared; None where it can."""
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
    asked = f"needs {needed} GPU{'s' if needed > 1 else ''}"
    if len(budget.gpus) < needed:
        why = f" ({budget.gpus_reason})" if budget.gpus_reason and not budget.gpus else ""
        return f"{asked}, found {len(budget.gpus) or 'none'}{why}"
    memory = resources.gpu_min_memory or resources.gpu_memory
    if memory is None or _gpus_with(memory, budget) >= needed:
        return None
    large = _gpus_with(memory, budget)
    if large:
        return f"{asked} with {memory} of memory each, {large} of {len(budget.gpus)} has that much"
    largest = max(gpu.total_bytes for gpu in budget.gpus)
    return f"{asked} with {memory} of memory, the largest has {format_size(largest)}"


def _gpus_with(memory: Size, budget: Budget) -> int:
    return sum(gpu.total_bytes >= memory.bytes for gpu in budget.gpus)


def parallelism(declared: Iterable[Resources], budget: Budget, *, default_ram: Size) -> Parallelism:
    """Find the largest N such that any N of the experiments fit together, at least 1.

    Those that can never be granted do not count. An undeclared ``ram`` counts as ``default_ram``.
    """
    able = [resources for resources in declared if unmet(resources, budget) is None]
    fit, limit = 1, ""
    for count in range(2, len(able) + 1):
        limit = _obstacle(able, count, budget, default_ram)
        if limit:
            break
        fit = count
    return Parallelism(fit=fit, experiments=len(able), limit=limit)


def _obstacle(able: Sequence[Resources], count: int, budget: Budget, default_ram: Size) -> str:
    """Why some ``count`` of the experiments do not fit together; empty where all do."""
    cpus = _largest((cpus_of(r, budget) for r in able), count)
    ram = _largest(((r.ram or default_ram).bytes for r in able), count)
    if any(r.exclusive for r in able):
        return "an exclusive experiment"
    if _shared_lock(able):
        return f"the lock {_shared_lock(able)!r}"
    if cpus > budget.cpus:
        return f"{budget.cpus:g} cpu{'s' if budget.cpus != 1 else ''}"
    if ram > budget.ram_bytes:
        return f"{format_size(budget.ram_bytes)} of RAM"
    if not _gpus_suffice(able, count, budget.gpus):
        return f"{len(budget.gpus)} gpu{'s' if len(budget.gpus) != 1 else ''}"
    return ""


def _largest(values: Iterable[float], count: int) -> float:
    return math.fsum(sorted(values, reverse=True)[:count])


def _shared_lock(able: Sequence[Resources]) -> str | None:
    uses = Counter(lock for resources in able for lock in set(resources.locks))
    return next((lock for lock, times in uses.items() if times > 1), None)


def _gpus_suffice(able: Sequence[Resources], count: int, gpus: Sequence[Gpu]) -> bool:
    """Whether any ``count`` fit: of the GPUs with so much memory, no more are needed than there are."""
    for least in {_gpu_bytes(resources) for resources in able}:
        asking = [resources for resources in able if _gpu_bytes(resources) >= least]
        large = [gpu for gpu in gpus if gpu.total_bytes >= least]
        if _gpus_needed(asking, count, large) > len(large):
            return False
    return True


def _gpu_bytes(resources: Resources) -> int:
    """Memory that a GPU must have to serve at all."""
    memory = resources.gpu_memory or resources.gpu_min_memory
    return memory.bytes if memory else 0


def _gpus_needed(able: Sequence[Resources], count: int, gpus: Sequence[Gpu]) -> int:
    """GPUs that the ``count`` greediest need: whole ones, and shares as many to a GPU as surely fit."""
    shares = [r.gpu_memory.bytes for r in able if r.gpu_memory is not None]
    whole = sorted((r.gpu_count for r in able if r.gpu_memory is None), reverse=True)
    whole = [gpus for gpus in whole if gpus][:count]
    sharing = min(len(shares), count - len(whole))
    if sharing <= 0:
        return sum(whole)
    smallest = min((gpu.total_bytes for gpu in gpus), default=0)
    per_gpu = max(1, smallest // max(shares))
    return sum(whole) + math.ceil(sharing / per_gpu)
