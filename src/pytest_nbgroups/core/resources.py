"""Needs, machine, leases and usage: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_nbgroups.core.codec import Amount, Count
from pytest_nbgroups.core.units import Size

RamSource: TypeAlias = Literal["declared", "history", "slow start"]

AUTO_SHARE = Size(0, "auto")
"""``gpu_memory = "auto"``: a share of a GPU by history; a whole GPU if history has no value."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Declared resources of an experiment. ``None`` means undeclared."""

    cpus: float | None = None
    ram: Size | None = None
    ram_limit: bool = False
    """True if an experiment that takes more than ``ram`` is killed."""
    gpus: int | None = None
    gpu_min_memory: Size | None = None
    gpu_memory: Size | None = None
    locks: tuple[str, ...] = ()
    exclusive: bool = False

    @property
    def gpu_count(self) -> int:
        """Number of whole or shared GPUs; declared GPU memory implies one."""
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
    """True if its memory is the host's RAM."""
    usable: bool = True
    """True if its compute mode lets programs use it."""
    parent_uuid: str | None = None
    """For a MIG device, the GPU that it is a part of."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The part of the machine that this session may use, and the source of each limit."""

    cpus: float
    """CPUs that the session may use."""
    cpus_source: str
    """Source of this number."""
    cpu_domain: str = "machine"
    """Domain of the CPUs: sessions in one domain share them."""
    ram_bytes: Count
    """RAM that the session may use."""
    ram_capacity_bytes: Count
    """Total RAM."""
    ram_source: str
    """Source of this number."""
    ram_is_size: bool = False
    """True if the user set a size; other processes' use does not reduce it."""
    ram_domain: str = "machine"
    """Domain of the RAM: sessions in one domain share it."""
    gpus: tuple[Gpu, ...] = ()
    """GPUs that the session may use."""
    gpus_reason: str = ""
    """Reason why there is no GPU."""
    notes: tuple[str, ...] = ()
    """Remarks on the budget."""
    lender: Claim | None = None
    """The lender of its lease: the session runs inside that experiment."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimate from history for an experiment on this kind of machine. ``None`` means unknown."""

    runs: Count
    """Number of earlier runs behind the estimate."""
    duration_s: float | None = None
    """From lease to release, in seconds."""
    peak_bytes: Count | None = None
    """Peak RAM."""
    cpus: float | None = None
    """CPUs kept busy on average: CPU time / wall time."""
    gpu_bytes: Count | None = None
    """Peak memory of one GPU; 0 if it uses no GPU."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Usage of the process tree of one kernel, or of an experiment's kernels in turn."""

    peak_bytes: Count
    """Peak RAM of a kernel and its descendants; shared pages count once."""
    is_upper_bound: bool = False
    """True if the real peak may be lower: the platform counts shared pages several times."""
    cpu_s: float = 0.0
    """CPU time, in seconds."""
    gpu_bytes: Count | None = None
    """Peak memory held on one GPU; None if it cannot be measured."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Resources to grant to a run of an experiment, with every value resolved."""

    cpus: Amount
    ram_bytes: Count
    ram_source: RamSource
    gpus: Count = 0
    gpu_min_bytes: Count = 0
    """Free memory that each whole GPU must have."""
    gpu_share_bytes: Count | None = None
    """Memory of a share of one GPU; None asks for whole GPUs."""
    locks: tuple[str, ...] = ()
    exclusive: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A need, its owner and its grant: the content of a ticket in the lease pool.

    Domains are compared as text; GPUs, locks and ``exclusive`` hold for the whole machine.
    """

    need: Need
    experiment: str
    session: str
    """Random, one for each invocation."""
    ticket: str = ""
    """Name of its ticket, as found in the pool; empty before it has one."""
    lender: str = ""
    """Ticket of the lease that it borrows from; empty if it takes from the machine."""
    nodeid: str = ""
    place: str = ""
    """`Experiment.place`; empty if unknown."""
    pid: Count = 0
    user: str = ""
    since: Amount = 0.0
    """Start of its wait or, once granted, of its lease; seconds since the epoch."""
    cpu_domain: str = "machine"
    ram_domain: str = "machine"
    cpu_limit: Amount | None = None
    """Its session's CPU budget; None if unknown."""
    ram_limit_bytes: Count | None = None
    gpu_choices: tuple[str, ...] = ()
    """UUIDs of the GPUs that its session may use."""
    slow_start_limit: Count | None = None
    """Limit on claims of its session with ``ram_source == "slow start"`` that hold at once."""
    gpus: tuple[str, ...] = ()
    """UUIDs granted; empty while it waits."""
    bound_cpus: tuple[Count, ...] = ()
    """Numbers of the CPUs that its kernels are bound to; empty if they are not bound."""
    used_bytes: Count = 0
    """RAM of its kernel's process tree in the last sample."""
    gpu_used_bytes: Mapping[str, Count] = field(default_factory=dict)
    """UUID -> GPU memory of its kernel's process tree in the last sample; absent if unknown."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Resources that a run of an experiment held; times are in seconds since the epoch."""

    need: Need
    gpus: tuple[str, ...] = ()
    """UUIDs."""
    waited_s: float = 0.0
    waited_for: str = ""
    """The lacking resource and its holders at the first refusal."""
    granted_at: float = 0.0
    released_at: float | None = None
    """None while it is held."""
    notes: tuple[str, ...] = ()
