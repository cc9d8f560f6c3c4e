"""Settings from the command line and the ini file, resolved once for a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_nbgroups.core.units import Size

OrderMode: TypeAlias = Literal["natural", "lexicographic"]
Transport: TypeAlias = Literal["auto", "ipc", "tcp"]
KernelStart: TypeAlias = Literal["warm", "plain"]
UnmetPolicy: TypeAlias = Literal["skip", "fail"]
LostPolicy: TypeAlias = Literal["fail", "retry"]
BusyPolicy: TypeAlias = Literal["wait", "fail"]
Schedule: TypeAlias = Literal["longest", "shortest", "collection"]
GpuDefault: TypeAlias = Literal["auto", "none"]
GpuNaming: TypeAlias = Literal["uuid", "index"]
ErrorOutputs: TypeAlias = Literal["warn", "fail", "ignore"]


ARTIFACTS_FOLDER = ".experiments"
"""Default name of the artifacts folder."""
OUTPUT_LIMIT = Size(50 * 10**6, "50MB")
"""Browsers and GitHub have trouble with larger notebooks. Keeping and saving one takes eight times
this memory."""
SHUTDOWN_GRACE_S = 10.0
"""Jupyter's own 2.5 s are too short for exit handlers that write files."""
CHECKPOINT_LIMIT = Size(10 * 10**9, "10GB")
"""A gigabyte takes one to three seconds from a local disk, and ten from a busy server."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Limits in seconds; ``None`` means no limit."""

    experiment_s: float | None = None
    notebook_s: float | None = None
    cell_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class RamBudget:
    """Part of the RAM capacity that a session may use: a size, a fraction, or the default."""

    size: Size | None = None
    fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class GpuSelection:
    """GPUs that a session may use: named ones, a number, or all."""

    count: int | None = None
    names: tuple[str, ...] | None = None
    """NVML indices and beginnings of UUIDs."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several machines among which the experiments are split."""

    index: int
    """From 1 to ``count``."""
    count: int
    weights: Mapping[str, float] | None = None
    """Seconds by node id, the same for all shards; None if a hash decides."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that all experiments of a session share."""

    rootdir: Path
    roots: tuple[Path, ...] = ()
    order: OrderMode = "natural"
    unmet: UnmetPolicy = "skip"
    default_ram: Size = field(default_factory=lambda: Size(2 * 10**9, "2GB"))
    cpu_budget: float | None = None
    ram_budget: RamBudget = field(default_factory=RamBudget)
    gpus: GpuSelection = field(default_factory=GpuSelection)
    gpu_default: GpuDefault = "auto"
    """True if an experiment without a declared GPU gets one when its code or history uses a GPU."""
    gpu_naming: GpuNaming = "uuid"
    """Format of the leased GPUs in ``CUDA_VISIBLE_DEVICES``."""
    cpu_affinity: bool = False
    """True if kernels are bound to as many CPUs as their experiment has leased."""
    max_parallel: int | None = None
    schedule: Schedule = "longest"
    wait_s: float | None = None
    """Time that an experiment may wait for its lease; ``None`` means for ever."""
    busy: BusyPolicy = "wait"
    """Action if another session uses an experiment's directory."""
    lost: LostPolicy = "fail"
    """Action if an experiment's worker dies: with ``retry`` it runs once more."""
    plan: bool = False
    """True to show the plan and run nothing."""
    resume: bool = False
    """True to reuse notebooks that have passed and have not changed."""
    shard: Shard | None = None
    """None if this machine runs all experiments."""
    weights: Path | None = None
    """The file that balances shards; it need not exist."""
    option_deadlines: Deadlines = field(default_factory=Deadlines)
    """From the command line: above every declaration."""
    ini_deadlines: Deadlines = field(default_factory=Deadlines)
    """From the ini file: below every declaration."""
    option_kernel: str | None = None
    ini_kernel: str | None = None
    transport: Transport = "auto"
    kernel_start: KernelStart = "warm"
    preload: tuple[str, ...] = ()
    """Modules that warm kernels find imported."""
    output_limit: Size = OUTPUT_LIMIT
    """Limit on the stored outputs of one notebook."""
    shutdown_grace_s: float = SHUTDOWN_GRACE_S
    """Time that the exit handlers of a kernel have."""
    checkpoint_limit: Size = CHECKPOINT_LIMIT
    """Limit on the bytes read for the checkpoint of one experiment in one run."""
    error_outputs: ErrorOutputs = "warn"
    """Treatment of a cell that passes with an error among its outputs."""
    artifacts: Path


DEFAULTS = Settings(rootdir=Path(), artifacts=Path(ARTIFACTS_FOLDER))
