"""The kind of machine of a measurement: properties that decide its speed, never its identity."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.units import counted, format_size

_MODEL_FIELDS = ("model name", "cpu model", "cpu")
"""Fields of /proc/cpuinfo, on x86, MIPS and POWER."""
_ARM_FIELDS = ("CPU implementer", "CPU part")
_DECORATION = re.compile(r"\((?:R|TM|C)\)|\bCPU\b|\s@.*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The part of a machine that a session can use."""

    cpu_model: str
    cpus: float
    ram_bytes: int
    """RAM, rounded up to the next usual size."""
    gpus: tuple[str, ...] = ()
    """Names of the GPUs, in order."""

    @property
    def kind(self) -> str:
        """Return ``Intel Xeon Platinum 8370C, 8 cpus, 32 GiB, 2 x NVIDIA A100``: equal for equal machines."""
        gpus = (f"{count} x {name}" for name, count in sorted(Counter(self.gpus).items()))
        return ", ".join(
            [self.cpu_model, counted(self.cpus, "cpu"), format_size(self.ram_bytes), *gpus]
        )


def read_machine(
    budget: Budget, *, proc: Path = Path("/proc"), env: Mapping[str, str] = os.environ
) -> Machine:
    """Return the part of this machine that the session may use. Never raises."""
    return Machine(
        cpu_model=_cpu_model(proc) or env.get("PROCESSOR_IDENTIFIER") or platform.machine(),
        cpus=budget.cpus,
        ram_bytes=usual_size(budget.ram_capacity_bytes),
        gpus=tuple(gpu.name for gpu in budget.gpus),
    )


def usual_size(count: int) -> int:
    """Return the smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24 … that is not below ``count``.

    Firmware and kernels reserve some memory, and the amount differs by version. So the visible size
    is somewhat smaller than the installed one.
    """
    power: int = 1 << max(0, count - 1).bit_length()
    between = power // 4 * 3
    return between if count <= between else power


def _cpu_model(proc: Path) -> str:
    """Return the CPU model; empty if it is unknown."""
    try:
        text = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = _first_values(text)
    model = next((fields[name] for name in _MODEL_FIELDS if fields.get(name)), "")
    if not model and all(name in fields for name in _ARM_FIELDS):
        model = " ".join(["ARM", *(fields[name] for name in _ARM_FIELDS)])
    return " ".join(_DECORATION.sub(" ", model).split())


def _first_values(text: str) -> Mapping[str, str]:
    """Return the fields of the first processor only: large machines have hundreds."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields
