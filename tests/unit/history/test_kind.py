from __future__ import annotations

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.resources import Budget, Gpu
from pytest_nbgroups.history.kind import Machine, read_machine, usual_size

GiB = 2**30

INTEL = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz

processor\t: 1
model name\t: another
"""
GRAVITON = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


def budget(*gpus: str, cpus: float = 8) -> Budget:
    return Budget(
        cpus=cpus,
        cpus_source="test",
        ram_bytes=GiB,
        ram_capacity_bytes=31 * GiB,
        ram_source="test",
        gpus=tuple(
            Gpu(uuid=f"GPU-{n}", index=n, name=name, total_bytes=1, free_bytes=1)
            for n, name in enumerate(gpus)
        ),
    )


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        (INTEL, "Intel Xeon Platinum 8370C"),
        ("model name\t: AMD EPYC 7763 64-Core Processor\n", "AMD EPYC 7763 64-Core Processor"),
        ("model name\t: AMD Ryzen(TM) 9\n", "AMD Ryzen 9"),
        (GRAVITON, "ARM 0x41 0xd40"),
        ("cpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
        ("CPU part\t: 0xd40\n", platform.machine()),
        ("model name\t:\n", platform.machine()),
        ("\x00\xff", platform.machine()),
    ],
)
def test_cpu_model(tmp_path: Path, cpuinfo: str, model: str) -> None:
    """As Linux tells it on different processors, without what marketing adds."""
    (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="latin-1")
    assert read_machine(budget(), proc=tmp_path, env={}).cpu_model == model


def test_cpu_model_without_linux(tmp_path: Path) -> None:
    """Windows tells it in the environment; elsewhere the architecture has to do."""
    env = {"PROCESSOR_IDENTIFIER": "Intel64 Family 6 Model 85"}
    assert read_machine(budget(), proc=tmp_path, env=env).cpu_model == "Intel64 Family 6 Model 85"
    assert read_machine(budget(), proc=tmp_path, env={}).cpu_model == platform.machine()


def test_this_machine_has_a_kind() -> None:
    """Which is the same each time."""
    machine = read_machine(budget())
    assert machine.cpu_model
    assert machine.kind == read_machine(budget()).kind


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=32 * GiB), "Xeon, 8 cpus, 32 GiB"),
        (Machine(cpu_model="Xeon", cpus=1.0, ram_bytes=GiB // 2), "Xeon, 1 cpu, 512 MiB"),
        (Machine(cpu_model="Xeon", cpus=1.5, ram_bytes=GiB), "Xeon, 1.5 cpus, 1 GiB"),
        (
            Machine(cpu_model="Xeon", cpus=2.0, ram_bytes=GiB, gpus=("T4", "A100", "T4")),
            "Xeon, 2 cpus, 1 GiB, 1 x A100, 2 x T4",
        ),
    ],
)
def test_kind(machine: Machine, kind: str) -> None:
    """A line for people, in which the order of GPUs plays no part."""
    assert machine.kind == kind


def test_what_a_session_may_use_counts(tmp_path: Path) -> None:
    """Not what the machine would have besides."""
    (tmp_path / "cpuinfo").write_text(INTEL)
    machine = read_machine(budget("T4", cpus=2), proc=tmp_path)
    assert machine.kind == "Intel Xeon Platinum 8370C, 2 cpus, 32 GiB, 1 x T4"


@pytest.mark.parametrize(
    ("count", "usual"),
    [
        (0, 0),
        (1, 1),
        (3, 3),
        (5, 6),
        (int(15.6 * GiB), 16 * GiB),
        (int(15.2 * GiB), 16 * GiB),
        (16 * GiB, 16 * GiB),
        (16 * 10**9, 16 * GiB),
        (int(23.4 * GiB), 24 * GiB),
        (int(93.1 * GiB), 96 * GiB),
    ],
)
def test_usual_sizes(count: int, usual: int) -> None:
    """What was bought, from what is left of it."""
    assert usual_size(count) == usual


@given(st.integers(1, 2**60), st.integers(1, 2**60))
def test_sizes_are_rounded_up_a_little(one: int, other: int) -> None:
    """By less than half, and in order."""
    assert 2 * one <= 2 * usual_size(one) < 3 * one
    assert usual_size(min(one, other)) <= usual_size(max(one, other))
