from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_nbgroups.core.resources import Budget, Gpu
from pytest_nbgroups.core.settings import RamBudget, Settings
from pytest_nbgroups.core.units import parse_size
from pytest_nbgroups.machine.capacity import combine, find_budget
from pytest_nbgroups.machine.cpu import CpuLimit, find_cpus
from pytest_nbgroups.machine.gpu import GpuFindings
from pytest_nbgroups.machine.memory import RamLimit

GIB = 2**30
GPU = Gpu(uuid="GPU-a", index=0, name="A100", total_bytes=GIB, free_bytes=GIB)


def budget(
    *,
    cpus: float | None = None,
    ram: RamBudget | None = None,
    allotted: bool = False,
    gpus: GpuFindings | None = None,
) -> Budget:
    """What is granted of 8 CPUs, 10 GiB and perhaps some GPUs."""
    source = "cgroup memory.max of /" if allotted else "physical memory"
    return combine(
        Settings(rootdir=Path(), artifacts=Path(), cpu_budget=cpus, ram_budget=ram or RamBudget()),
        cpus=CpuLimit(cpus=8, source="affinity"),
        ram=RamLimit(bytes=10 * GIB, source=source, allotted=allotted),
        gpus=gpus or GpuFindings(reason="no NVIDIA driver"),
    )


def test_usual() -> None:
    """By default: all CPUs, and of the physical memory what leaves room for the system."""
    assert budget() == Budget(
        cpus=8,
        cpus_source="affinity",
        ram_bytes=8 * GIB,
        ram_capacity_bytes=10 * GIB,
        ram_source="80% of physical memory",
        gpus_reason="no NVIDIA driver",
    )


def test_allotted() -> None:
    """What a cgroup or SLURM gives is ours alone, so more of it may be used."""
    found = budget(allotted=True)
    assert found.ram_bytes == int(9.5 * GIB)
    assert found.ram_source == "95% of cgroup memory.max of /"


@pytest.mark.parametrize("cpus", [0.5, 3, 8])
def test_declared_cpus(cpus: float) -> None:
    """Up to what is found, the user's number of CPUs counts."""
    found = budget(cpus=cpus)
    assert (found.cpus, found.cpus_source, found.notes) == (cpus, "declared", ())


def test_too_many_cpus() -> None:
    """More CPUs than are found are not granted, with a note."""
    found = budget(cpus=16)
    assert (found.cpus, found.cpus_source) == (8, "affinity")
    assert found.notes == ("CPU budget 16 is cut to the 8 found (affinity)",)


def test_declared_size() -> None:
    """Up to the capacity, the user's size counts."""
    found = budget(ram=RamBudget(size=parse_size("9GiB")))
    assert (found.ram_bytes, found.ram_source, found.notes) == (9 * GIB, "declared", ())


def test_too_large_size() -> None:
    """More RAM than the capacity is not granted, with a note that echoes the size."""
    found = budget(ram=RamBudget(size=parse_size("64GB")))
    assert (found.ram_bytes, found.ram_source) == (10 * GIB, "physical memory")
    assert found.notes == ("RAM budget 64GB is cut to the 10 GiB found (physical memory)",)


@pytest.mark.parametrize("allotted", [False, True])
def test_declared_fraction(allotted: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A fraction is of the capacity, whatever sets that."""
    found = budget(ram=RamBudget(fraction=0.5), allotted=allotted)
    assert found.ram_bytes == 5 * GIB
    assert found.ram_source.startswith("50% of ")


def test_too_large_fraction() -> None:
    """A fraction grants the capacity at most."""
    assert budget(ram=RamBudget(fraction=1.5)).ram_bytes == 10 * GIB


def test_gpus() -> None:
    """GPUs and the notes on those left out are passed on, after the other notes."""
    found = budget(cpus=16, gpus=GpuFindings(gpus=(GPU,), notes=("GPU 1 is left out: x",)))
    assert (found.gpus, found.gpus_reason) == ((GPU,), "")
    assert found.notes[1:] == ("GPU 1 is left out: x",)


def test_found(machine: Callable[..., dict[str, Path]]) -> None:
    """A container's limits in /proc and cgroup, and a SLURM job's in the environment, make the budget."""
    paths = machine("v2", "0::/job\n", {"job/memory.max": 64 * 2**20, "cpu.max": "10000 100000"})
    settings = Settings(rootdir=Path(), artifacts=Path())
    env = {"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "32"}
    found = find_budget(settings, env=env, **paths)
    assert (found.cpus, found.cpus_source) == (0.1, "cgroup cpu.max of /")
    assert found.ram_capacity_bytes == 32 * 2**20
    assert found.ram_source == "95% of SLURM_MEM_PER_NODE"
    assert found.gpus == ()
    assert found.gpus_reason


def test_domains_of_a_machine(machine: Callable[..., dict[str, Path]]) -> None:
    """Without limits, all sessions share the machine."""
    found = find_budget(
        Settings(rootdir=Path(), artifacts=Path()), env={}, **machine("v2", "0::/\n")
    )
    assert (found.cpu_domain, found.ram_domain) == ("machine", "machine")


def test_domains_of_cgroups(machine: Callable[..., dict[str, Path]]) -> None:
    """Sessions share what the same cgroup limits, whatever path they see it under."""
    limits = {"job/memory.max": 64 * 2**20, "cpu.max": "10000 100000"}

    def domains(membership: str, files: Mapping[str, object]) -> tuple[str, str]:
        settings = Settings(rootdir=Path(), artifacts=Path(), cpu_budget=0.05)
        found = find_budget(settings, env={}, **machine("v2", membership, files))
        return found.cpu_domain, found.ram_domain

    cpu, ram = domains("0::/job\n", limits)
    assert domains("0::/job/step\n", {**limits, "job/step/memory.max": "max"}) == (cpu, ram)
    other = {**limits, "job/step/memory.max": 32 * 2**20}
    assert domains("0::/job/step\n", other)[0] == cpu
    assert len({cpu, ram, domains("0::/job/step\n", other)[1]}) == 3
    assert cpu.startswith("cgroup ")


def test_domains_of_slurm(machine: Callable[..., dict[str, Path]]) -> None:
    """Sessions of one job share what SLURM gave it."""
    env = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "32", "SLURM_CPUS_ON_NODE": "1"}
    paths = machine("v2", "0::/\n")
    found = find_budget(Settings(rootdir=Path(), artifacts=Path()), env=env, **paths)
    assert found.ram_domain == "slurm:7"
    affinity = CpuLimit(cpus=8, source="affinity")
    assert find_cpus(env=env, affinity=affinity, **paths).domain == "slurm:7"


@pytest.mark.parametrize(
    ("ram", "is_size"),
    [
        (RamBudget(size=parse_size("9GiB")), True),
        (RamBudget(size=parse_size("64GB")), True),
        (RamBudget(fraction=0.5), False),
        (RamBudget(), False),
    ],
)
def test_named_size(ram: RamBudget, is_size: bool) -> None:  # noqa: FBT001  parameters of the test
    """It is remembered whether the user named a size."""
    assert budget(ram=ram).ram_is_size == is_size


def test_real_machine() -> None:
    """On this machine, whatever it has, there is a budget."""
    found = find_budget(Settings(rootdir=Path(), artifacts=Path()))
    assert found.cpus > 0
    assert 0 < found.ram_bytes <= found.ram_capacity_bytes
