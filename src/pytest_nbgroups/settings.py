"""What the command line and the ini file say, resolved once for a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_nbgroups.units import Size

OrderMode: TypeAlias = Literal["natural", "lexicographic"]
Transport: TypeAlias = Literal["auto", "ipc", "tcp"]
UnmetPolicy: TypeAlias = Literal["skip", "fail"]


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Limits in seconds; ``None`` means none."""

    experiment_s: float | None = None
    notebook_s: float | None = None
    cell_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class RamBudget:
    """How much of the RAM capacity a session may use: a size, a fraction, or what is usual."""

    size: Size | None = None
    fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that is the same for all experiments of a session."""

    rootdir: Path
    roots: tuple[Path, ...] = ()
    order: OrderMode = "natural"
    unmet: UnmetPolicy = "skip"
    default_ram: Size = field(default_factory=lambda: Size(2 * 10**9, "2GB"))
    cpu_budget: float | None = None
    ram_budget: RamBudget = field(default_factory=RamBudget)
    option_deadlines: Deadlines = field(default_factory=Deadlines)
    """From the command line: above every declaration."""
    ini_deadlines: Deadlines = field(default_factory=Deadlines)
    """From the ini file: below every declaration."""
    option_kernel: str | None = None
    ini_kernel: str | None = None
    transport: Transport = "auto"
    artifacts: Path
