"""Combines what the machine has with what the user grants into the session's budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.settings import RamBudget, Settings
from pytest_nbgroups.core.units import format_size
from pytest_nbgroups.machine.cpu import CpuLimit, find_cpus
from pytest_nbgroups.machine.gpu import GpuFindings, find_gpus
from pytest_nbgroups.machine.gpu_choice import choose
from pytest_nbgroups.machine.memory import RamLimit, find_ram

_SHARED_FRACTION = 0.80  # the desktop, its browser and the page cache need their part
_ALLOTTED_FRACTION = 0.95  # nobody else lives in the container or the allocation


def find_budget(
    settings: Settings,
    *,
    env: Mapping[str, str] = os.environ,
    proc: Path = Path("/proc"),
    root: Path = Path("/"),
) -> Budget:
    """The part of this machine, container or allocation that a session may use.

    Called once in a session. Never raises for what it finds: what cannot be read sets no limit.
    Raises SelectionError if the GPUs that the user names are not there.
    ``root`` stands before the cgroup mount points.
    """
    return combine(
        settings,
        cpus=find_cpus(env=env, proc=proc, root=root),
        ram=find_ram(env=env, proc=proc, root=root),
        gpus=choose(find_gpus(env), settings.gpus),
    )


def combine(settings: Settings, *, cpus: CpuLimit, ram: RamLimit, gpus: GpuFindings) -> Budget:
    """Apply the user's settings to what was found; more than that is cut, with a note."""
    granted_cpus, cpu_note = _grant_cpus(settings.cpu_budget, cpus)
    ram_bytes, ram_source, ram_note = _grant_ram(settings.ram_budget, ram)
    return Budget(
        cpus=granted_cpus.cpus,
        cpus_source=granted_cpus.source,
        cpu_domain=cpus.domain,
        ram_bytes=ram_bytes,
        ram_capacity_bytes=ram.bytes,
        ram_source=ram_source,
        ram_is_size=settings.ram_budget.size is not None,
        ram_domain=ram.domain,
        gpus=gpus.gpus,
        gpus_reason=gpus.reason,
        notes=tuple(note for note in (cpu_note, ram_note, *gpus.notes) if note),
    )


def _grant_cpus(declared: float | None, found: CpuLimit) -> tuple[CpuLimit, str]:
    if declared is None:
        return found, ""
    if declared <= found.cpus:
        return CpuLimit(cpus=declared, source="declared"), ""
    return found, f"CPU budget {declared:g} is cut to the {found.cpus:g} found ({found.source})"


def _grant_ram(declared: RamBudget, found: RamLimit) -> tuple[int, str, str]:
    """Bytes, their source, and a note or nothing."""
    if declared.size is not None:
        if declared.size.bytes <= found.bytes:
            return declared.size.bytes, "declared", ""
        note = f"RAM budget {declared.size} is cut to the {format_size(found.bytes)} found"
        return found.bytes, found.source, f"{note} ({found.source})"
    fraction = declared.fraction
    if fraction is None:
        fraction = _ALLOTTED_FRACTION if found.allotted else _SHARED_FRACTION
    fraction = min(fraction, 1.0)
    return int(found.bytes * fraction), f"{fraction:.0%} of {found.source}", ""
