"""What experiments need, what the machine has, what was held and used: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_nbgroups.core.units import Size

RamSource: TypeAlias = Literal["declared", "history", "slow start"]

AUTO_SHARE = Size(0, "auto")
"""``gpu_memory = "auto"``: the share of a GPU that history shows; a whole one until it does."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an experiment declares it needs. ``None`` means undeclared."""

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
    index: int
    """NVML index, which is the PCI bus order."""
    name: str
    total_bytes: int
    free_bytes: int
    utilization: float = 0.0
    """0 to 1; 0 where NVML cannot say."""
    unified: bool = False
    """Its memory is the host's RAM."""
    usable: bool = True
    parent_uuid: str | None = None
    """For a MIG device, the GPU that it is a part of."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The part of the machine that this session may use, and where each limit comes from."""

    cpus: float
    cpus_source: str
    cpu_domain: str = "machine"
    """What the CPU limit belongs to: sessions of one domain share its CPUs."""
    ram_bytes: int
    ram_capacity_bytes: int
    ram_source: str
    ram_is_size: bool = False
    """The user named a size: it is not reduced in proportion to what other processes use."""
    ram_domain: str = "machine"
    """As ``cpu_domain``."""
    gpus: tuple[Gpu, ...] = ()
    gpus_reason: str = ""
    """Why there are none."""
    notes: tuple[str, ...] = ()
    lender: Claim | None = None
    """Whose lease it is a part of: the session runs inside that experiment."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What history expects of an experiment on a machine of this kind. ``None`` means not known."""

    runs: int
    """How many recorded runs it rests on."""
    duration_s: float | None = None
    """From lease to release."""
    peak_bytes: int | None = None
    cpus: float | None = None
    """CPU time / wall time: the cores that it keeps busy on average."""
    gpu_bytes: int | None = None
    """The most that it held of the memory of one GPU; 0 where it has used none."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the process tree of one kernel, or of an experiment's kernels in turn, used."""

    peak_bytes: int
    """Of RAM, shared pages counted once."""
    is_upper_bound: bool = False
    """The platform cannot tell shared pages apart: the true peak is no higher."""
    cpu_s: float = 0.0
    gpu_bytes: int | None = None
    """The most held of the memory of one GPU; None where nothing can tell."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a run of an experiment is to be granted: every question answered."""

    cpus: float
    ram_bytes: int
    ram_source: RamSource
    gpus: int = 0
    gpu_min_bytes: int = 0
    """Free memory that each whole GPU must have."""
    gpu_share_bytes: int | None = None
    """Memory of a share of one GPU; None asks for whole ones."""
    locks: tuple[str, ...] = ()
    exclusive: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A need, who has it, and what it has got: what a ticket of the lease pool says.

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
    """`Experiment.place`; empty where it is not known."""
    pid: int = 0
    user: str = ""
    since: float = 0.0
    """When it began to wait or, once granted, to hold; seconds since the epoch."""
    cpu_domain: str = "machine"
    ram_domain: str = "machine"
    cpu_limit: float | None = None
    """Its session's CPU budget; None where that is not told."""
    ram_limit_bytes: int | None = None
    gpu_choices: tuple[str, ...] = ()
    """UUIDs of the GPUs that its session may use."""
    slow_start_limit: int | None = None
    """At most so many claims of its session with ``ram_source == "slow start"`` hold at once."""
    gpus: tuple[str, ...] = ()
    """UUIDs granted; empty while it waits."""
    bound_cpus: tuple[int, ...] = ()
    """Numbers of the CPUs that its kernels are bound to; empty where they are not bound."""
    used_bytes: int = 0
    """RAM that its kernel's tree was last seen to use."""
    gpu_used_bytes: Mapping[str, int] = field(default_factory=dict)
    """UUID -> GPU memory that its kernel's tree was last seen to use; absent where unknown."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a run of an experiment held, from when to when, in seconds since the epoch."""

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
