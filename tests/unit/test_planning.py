from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.model import Budget, Gpu, Resources
from pytest_nbgroups.planning import Parallelism, clamp_note, cpus_of, parallelism, unmet
from pytest_nbgroups.units import Size, parse_size

GB = 10**9
DEFAULT_RAM = Size(2 * GB, "2GB")


def budget(cpus: float = 4, ram: int = 16 * GB, gpus: tuple[int, ...] = ()) -> Budget:
    """A machine; its GPUs are given by their memory in GB."""
    return Budget(
        cpus=cpus,
        cpus_source="test",
        ram_bytes=ram,
        ram_capacity_bytes=2 * ram,
        ram_source="test",
        gpus=tuple(
            Gpu(uuid=f"GPU-{i}", index=i, name="T", total_bytes=size * GB, free_bytes=0)
            for i, size in enumerate(gpus)
        ),
    )


def fit(declared: list[Resources], of: Budget) -> Parallelism:
    """How many of them fit."""
    return parallelism(declared, of, default_ram=DEFAULT_RAM)


cpus = st.none() | st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 9.0])
ram = st.none() | st.integers(1, 20).map(lambda gigabytes: Size(gigabytes * GB))
declarations = st.lists(st.builds(Resources, cpus=cpus, ram=ram), max_size=6)
budgets = st.builds(
    budget, cpus=st.sampled_from([1, 2, 3.5, 8]), ram=st.integers(1, 40).map(GB.__mul__)
)


@given(declarations, budgets)
def test_any_so_many_fit_and_not_any_one_more(declared: list[Resources], of: Budget) -> None:
    """Tried out with all combinations; those that can never run do not count."""
    able = [r for r in declared if unmet(r, of) is None]
    found = fit(declared, of)
    assert found.experiments == len(able)
    assert 1 <= found.fit <= max(1, len(able))
    if found.fit > 1:
        assert all(fits_together(some, of) for some in combinations(able, found.fit))
    if found.fit < len(able):
        assert not all(fits_together(some, of) for some in combinations(able, found.fit + 1))
    assert bool(found.limit) is (found.fit < len(able))


def fits_together(some: tuple[Resources, ...], of: Budget) -> bool:
    """The definition, in CPUs and RAM."""
    tenths_of_cpus = sum(round(10 * min(r.cpus or 1, of.cpus)) for r in some)
    ram_bytes = sum((r.ram or DEFAULT_RAM).bytes for r in some)
    return tenths_of_cpus <= 10 * of.cpus and ram_bytes <= of.ram_bytes


@given(declarations, budgets, st.sampled_from([0, 1, 7]), st.integers(0, 20))
def test_more_machine_is_never_worse(
    declared: list[Resources], of: Budget, more_cpus: float, more_ram: int
) -> None:
    """As long as it lets no greedier experiment run, of which it then has to think."""
    able = [replace(r, cpus=cpus_of(r, of)) for r in declared if unmet(r, of) is None]
    larger = replace(of, cpus=of.cpus + more_cpus, ram_bytes=of.ram_bytes + more_ram * GB)
    assert fit(able, larger).fit >= fit(able, of).fit


@given(
    st.lists(
        st.builds(Resources, gpus=st.sampled_from([0, 1, 2]))
        | st.builds(Resources, gpu_memory=st.integers(1, 8).map(lambda size: Size(size * GB))),
        max_size=6,
    ),
    st.integers(0, 4),
)
def test_more_gpus_are_never_worse(declared: list[Resources], count: int) -> None:
    """Of one kind, with whole ones and shares mixed."""
    of = budget(cpus=99, ram=99 * GB, gpus=(8,) * count)
    able = [r for r in declared if unmet(r, of) is None]
    more = budget(cpus=99, ram=99 * GB, gpus=(8,) * (count + 1))
    assert fit(able, more).fit >= fit(able, of).fit


@pytest.mark.parametrize(
    ("declared", "machine", "expected", "limit"),
    [
        ([], budget(), 1, ""),
        ([Resources(ram=Size(99 * GB))] * 3, budget(), 1, ""),
        ([Resources()] * 4, budget(), 4, ""),
        ([Resources()] * 5, budget(), 4, "4 cpus"),
        ([Resources()] * 3, budget(cpus=1.5), 1, "1.5 cpus"),
        ([Resources(cpus=0.1)] * 11, budget(cpus=1, ram=99 * GB), 10, "1 cpu"),
        ([Resources(cpus=99), Resources()], budget(), 1, "4 cpus"),
        ([Resources()] * 3, budget(ram=4 * 2**30), 2, "4 GiB of RAM"),
        ([Resources()] * 2, budget(ram=GB), 1, "953.7 MiB of RAM"),
        ([Resources(ram=Size(12 * GB)), *[Resources()] * 3], budget(), 3, "14.9 GiB of RAM"),
        ([Resources(), Resources(exclusive=True)], budget(), 1, "an exclusive experiment"),
        ([Resources(exclusive=True)], budget(), 1, ""),
        ([Resources(locks=("a", "b")), Resources(locks=("c", "b"))], budget(), 1, "the lock 'b'"),
        ([Resources(locks=("a", "a")), Resources(locks=("b",))], budget(), 2, ""),
    ],
)
def test_what_limits(declared: list[Resources], machine: Budget, expected: int, limit: str) -> None:
    """The header names it."""
    found = fit(declared, machine)
    assert (found.fit, found.limit) == (expected, limit)


def share(size: str) -> Resources:
    """Of one GPU."""
    return Resources(gpu_memory=parse_size(size))


def whole(count: int, least: str | None = None) -> Resources:
    """GPUs, each with so much memory."""
    return Resources(gpus=count, gpu_min_memory=parse_size(least) if least else None)


@pytest.mark.parametrize(
    ("declared", "gpus", "expected", "limit"),
    [
        ([whole(1)] * 3, (8,), 1, "1 gpu"),
        ([whole(1)] * 3, (8, 8), 2, "2 gpus"),
        ([whole(2), whole(1), whole(1)], (8, 8, 8), 2, "3 gpus"),
        ([whole(0)] * 3, (), 3, ""),
        ([whole(1), *[Resources()] * 3], (8,), 4, ""),
        ([whole(1)] * 3, (), 1, ""),
        ([share("4GB")] * 5, (8, 8), 4, "2 gpus"),
        ([share("5GB")] * 3, (8, 8), 2, "2 gpus"),
        ([share("2GB"), share("4GB"), share("4GB")], (8,), 2, "1 gpu"),
        ([whole(1), share("4GB"), share("4GB")], (8, 8), 3, ""),
        ([whole(1), *[share("4GB")] * 3], (8, 8), 3, "2 gpus"),
        # Only some of the GPUs have the memory that is asked for.
        ([whole(1, "24GB")] * 2, (24, 8), 1, "2 gpus"),
        ([whole(1, "24GB"), whole(1)], (24, 8), 2, ""),
        ([share("20GB")] * 2, (24, 8), 1, "2 gpus"),
        ([share("20GB")] * 2, (24, 24, 8), 2, ""),
        ([share("20GB"), whole(1, "24GB")], (24, 8), 1, "2 gpus"),
    ],
)
def test_gpus(declared: list[Resources], gpus: tuple[int, ...], expected: int, limit: str) -> None:
    """Whole ones, shares of one, and those that are large enough."""
    found = fit(declared, budget(cpus=99, ram=99 * GB, gpus=gpus))
    assert (found.fit, found.limit) == (expected, limit)


def test_cpus_are_clamped() -> None:
    """More than there are is a wish, and the user is told."""
    assert cpus_of(Resources(cpus=16), budget()) == 4
    assert cpus_of(Resources(cpus=2), budget()) == 2
    assert cpus_of(Resources(), budget()) == 1
    assert cpus_of(Resources(), budget(cpus=0.5)) == 0.5
    assert clamp_note(Resources(cpus=16), budget()) == "declares 16 cpus, the budget has 4"
    assert (
        clamp_note(Resources(cpus=2.5), budget(cpus=1.5)) == "declares 2.5 cpus, the budget has 1.5"
    )
    assert clamp_note(Resources(cpus=4), budget()) is None
    assert clamp_note(Resources(), budget(cpus=0.5)) is None


@pytest.mark.parametrize(
    ("declared", "machine", "reason"),
    [
        (Resources(), budget(), None),
        (Resources(cpus=99), budget(), None),
        (Resources(ram=Size(16 * GB)), budget(), None),
        (
            Resources(ram=parse_size("17GB")),
            budget(),
            "needs 17GB of RAM, the budget is 14.9 GiB of 29.8 GiB",
        ),
        (whole(0), budget(), None),
        (whole(1), budget(), "needs 1 GPU, found none"),
        (share("8GB"), budget(), "needs 1 GPU, found none"),
        (whole(3), budget(gpus=(8, 8)), "needs 3 GPUs, found 2"),
        (
            whole(1),
            replace(budget(), gpus_reason="no NVIDIA driver"),
            "needs 1 GPU, found none (no NVIDIA driver)",
        ),
        (
            whole(2, "24GB"),
            budget(gpus=(24, 8)),
            "needs 2 GPUs with 24GB of memory each, 1 of 2 has that much",
        ),
        (whole(1, "24GB"), budget(gpus=(24, 8)), None),
        (
            share("9GB"),
            budget(gpus=(8,)),
            "needs 1 GPU with 9GB of memory, the largest has 7.5 GiB",
        ),
        (share("8GB"), budget(gpus=(8,)), None),
        (Resources(gpu_min_memory=Size(GB)), budget(), "needs 1 GPU, found none"),
    ],
)
def test_what_can_never_be_granted(
    declared: Resources, machine: Budget, reason: str | None
) -> None:
    """The reason to skip names what is asked for and what there is."""
    assert unmet(declared, machine) == reason
