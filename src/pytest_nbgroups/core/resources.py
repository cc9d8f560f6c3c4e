"""Needs of experiments, budget of the machine, leases and usage: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_nbgroups.core.codec import Amount, Count
from pytest_nbgroups.core.units import Size

RamSource: TypeAlias = Literal["declared", "history", "slow start"]

AUTO_SHARE = Size(0, "auto")
"""``gpu_memory = "auto"``: the share of a GPU that history shows; a whole one until it does."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources that an experiment declares. ``None`` means undeclared."""

    cpus: float | None = None
    ram: Size | None = None
    ram_limit: bool = False
    """Whether what takes more than ``ram`` is killed."""
    gpus: int | None = None
    gpu_min_memory: Size | None = None
    gpu_memory: Size | None = None
    locks: tuple[str, ...] = ()
    exclusive: bool = False

    @property
    def gpu_count(self) -> int:
        """Whole or shared GPUs needed; to declare GPU memory implies one."""
        if self.gpus is not None:
            return self.gpus
        return 1 if self.gpu_memory or self.gpu_min_memory else 0


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU or MIG device as NVML describes it. Its identity is the UUID."""

    uuid: str
    """Its identity."""
    index: Count
    """Its NVML index, which is the PCI bus order."""
    name: str
    """Its model."""
    total_bytes: Count
    """Its memory."""
    free_bytes: Count
    """Its free memory when it was read, at the start of the session."""
    utilization: float = 0.0
    """0 to 1; 0 if it is not known."""
    unified: bool = False
    """Whether its memory is the host's RAM."""
    usable: bool = True
    """Whether its compute mode lets programs use it."""
    parent_uuid: str | None = None
    """For a MIG device, the GPU that it is a part of."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The part of the machine that this session may use, and the source of each limit."""

    cpus: float
    """CPUs that the session may use."""
    cpus_source: str
    """Where this number comes from."""
    cpu_domain: str = "machine"
    """What the CPUs belong to: sessions of one domain share them."""
    ram_bytes: Count
    """RAM that the session may use."""
    ram_capacity_bytes: Count
    """RAM that there is in all."""
    ram_source: str
    """Where this number comes from."""
    ram_is_size: bool = False
    """Whether a size was asked for, which what other processes use does not reduce."""
    ram_domain: str = "machine"
    """What the RAM belongs to: sessions of one domain share it."""
    gpus: tuple[Gpu, ...] = ()
    """GPUs that the session may use."""
    gpus_reason: str = ""
    """Why there are none."""
    notes: tuple[str, ...] = ()
    """Remarks on the budget."""
    lender: Claim | None = None
    """Whose lease it is a part of: the session runs inside that experiment."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimate from history for an experiment on a machine of this kind. ``None`` means not known."""

    runs: Count
    """How many earlier runs it rests on."""
    duration_s: float | None = None
    """From lease to release, in seconds."""
    peak_bytes: Count | None = None
    """The most RAM."""
    cpus: float | None = None
    """CPUs kept busy on average: CPU time / wall time."""
    gpu_bytes: Count | None = None
    """The most of the memory of one GPU; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Memory and CPU time of the process tree of one kernel, or of an experiment's kernels in turn."""

    peak_bytes: Count
    """The most RAM of a kernel and all below it, shared pages once."""
    is_upper_bound: bool = False
    """Whether the true peak may be lower: the platform counts shared pages often."""
    cpu_s: float = 0.0
    """CPU time, in seconds."""
    gpu_bytes: Count | None = None
    """The most that was held of the memory of one GPU; None if nothing can measure it."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Resources to grant to a run of an experiment: every question answered."""

    cpus: Amount
    ram_bytes: Count
    ram_source: RamSource
    gpus: Count = 0
    gpu_min_bytes: Count = 0
    """Free memory that each whole GPU must have."""
    gpu_share_bytes: Count | None = None
    """Memory of a share of one GPU; None asks for whole ones."""
    locks: tuple[str, ...] = ()
    exclusive: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A need, who has it, and what it has got: the content of a ticket of the lease pool.

    Domains are compared as text; GPUs, locks and ``exclusive`` hold for the whole machine.
    """

    need: Need
    experiment: str
    session: str
    """Random, one for each invocation."""
    ticket: str = ""
    """Name of its ticket, as found in the pool; empty before it has one."""
    lender: str = ""
    """The ticket of the lease that it takes from; empty if it takes from the machine."""
    nodeid: str = ""
    place: str = ""
    """`Experiment.place`; empty if it is not known."""
    pid: Count = 0
    user: str = ""
    since: Amount = 0.0
    """When it began to wait or, once granted, to hold; seconds since the epoch."""
    cpu_domain: str = "machine"
    ram_domain: str = "machine"
    cpu_limit: Amount | None = None
    """Its session's CPU budget; None if that is not told."""
    ram_limit_bytes: Count | None = None
    gpu_choices: tuple[str, ...] = ()
    """UUIDs of the GPUs that its session may use."""
    slow_start_limit: Count | None = None
    """At most so many claims of its session with ``ram_source == "slow start"`` hold at once."""
    gpus: tuple[str, ...] = ()
    """UUIDs granted; empty while it waits."""
    bound_cpus: tuple[Count, ...] = ()
    """Numbers of the CPUs that its kernels are bound to; empty if they are not bound."""
    used_bytes: Count = 0
    """RAM that its kernel's tree was last seen to use."""
    gpu_used_bytes: Mapping[str, Count] = field(default_factory=dict)
    """UUID -> GPU memory that its kernel's tree was last seen to use; absent if unknown."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Resources that a run of an experiment held. Times are seconds since the epoch."""

    need: Need
    gpus: tuple[str, ...] = ()
    """UUIDs."""
    waited_s: float = 0.0
    waited_for: str = ""
    """What it lacked when it was first refused, and who held that."""
    granted_at: float = 0.0
    released_at: float | None = None
    """None while it is held."""
    notes: tuple[str, ...] = ()
