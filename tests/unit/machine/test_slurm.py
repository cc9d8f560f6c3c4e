"""What a SLURM job may use of this node."""

from __future__ import annotations

import pytest

from pytest_nbgroups.machine.slurm import slurm_cpus, slurm_domain, slurm_ram

JOB = {"SLURM_JOB_ID": "7"}
MIB = 2**20


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({"SLURM_CPUS_ON_NODE": "8"}, (8, "SLURM_CPUS_ON_NODE")),
        ({"SLURM_CPUS_PER_TASK": "4"}, (4, "SLURM_CPUS_PER_TASK")),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "4"}, (8, "SLURM_CPUS_ON_NODE")),
        (
            {"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "4", "SLURM_STEP_ID": "0"},
            (4, "SLURM_CPUS_PER_TASK"),
        ),
        (
            {
                "SLURM_CPUS_ON_NODE": "8",
                "SLURM_CPUS_PER_TASK": "4",
                "SLURM_STEP_ID": str(0xFFFFFFFB),
            },
            (8, "SLURM_CPUS_ON_NODE"),
        ),
        ({"SLURM_CPUS_ON_NODE": "0"}, None),
        ({}, None),
    ],
)
def test_cpus(env: dict[str, str], found: tuple[int, str] | None) -> None:
    """A task of a step has its own number; to the batch script that number is no limit."""
    assert slurm_cpus({**JOB, **env}) == found
    assert slurm_cpus(env) is None


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({"SLURM_MEM_PER_NODE": "1000"}, (1000 * MIB, "SLURM_MEM_PER_NODE")),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        (
            {"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "8"},
            (800 * MIB, "SLURM_MEM_PER_CPU"),
        ),
        (
            {"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_PER_TASK": "2"},
            (200 * MIB, "SLURM_MEM_PER_CPU"),
        ),
        ({"SLURM_MEM_PER_CPU": "100"}, None),
        (
            {"SLURM_MEM_PER_GPU": "300", "SLURM_GPUS_ON_NODE": "2"},
            (600 * MIB, "SLURM_MEM_PER_GPU"),
        ),
        (
            {
                "SLURM_MEM_PER_NODE": "1000",
                "SLURM_MEM_PER_GPU": "300",
                "SLURM_GPUS_ON_NODE": "2",
            },
            (600 * MIB, "SLURM_MEM_PER_GPU"),
        ),
    ],
)
def test_memory(env: dict[str, str], found: tuple[int, str] | None) -> None:
    """The least of what is said, in bytes; a share of nothing known is no limit."""
    assert slurm_ram({**JOB, **env}) == found
    assert slurm_ram(env) is None


def test_processes_of_one_job_share() -> None:
    """Another job is another domain."""
    assert slurm_domain(JOB) == slurm_domain({**JOB, "SLURM_STEP_ID": "1"})
    assert slurm_domain(JOB) != slurm_domain({"SLURM_JOB_ID": "8"})
