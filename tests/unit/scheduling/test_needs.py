"""What a run is to be granted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget

from pytest_nbgroups.core.resources import AUTO_SHARE, Budget, Estimate, Resources
from pytest_nbgroups.core.units import Size, parse_size
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, notes, unmet

SLOW_START = SlowStart(default_bytes=2 * GB)


def share(size: str) -> Resources:
    """Of one GPU."""
    return Resources(gpu_memory=parse_size(size))


def whole(count: int, least: str | None = None) -> Resources:
    """GPUs, each with so much memory."""
    return Resources(gpus=count, gpu_min_memory=parse_size(least) if least else None)


def test_what_is_declared_comes_first() -> None:
    """Also where history has seen something else."""
    declared = Resources(
        cpus=2, ram=Size(3 * GB), gpus=1, gpu_min_memory=Size(4 * GB), locks=("b", "a", "b")
    )
    need = need_of(declared, Estimate(runs=3, peak_bytes=9 * GB), budget(gpus=(8,)), SLOW_START)
    assert (need.cpus, need.ram_bytes, need.ram_source) == (2, 3 * GB, "declared")
    assert (need.gpus, need.gpu_min_bytes, need.gpu_share_bytes) == (1, 4 * GB, None)
    assert need.locks == ("a", "b")


def test_history_tells_the_memory_of_what_declares_none() -> None:
    """With a margin over the peak, and a little more so that needs that hardly differ are equal."""
    need = need_of(Resources(), Estimate(runs=1, peak_bytes=GB), budget(), SLOW_START)
    assert need.ram_source == "history"
    assert 1.1 * GB <= need.ram_bytes <= 1.1 * GB + 16 * 2**20
    same = need_of(Resources(), Estimate(runs=1, peak_bytes=GB + 1), budget(), SLOW_START)
    assert same == need


@pytest.mark.parametrize("estimate", [None, Estimate(runs=1, duration_s=3)])
def test_slow_start_where_nothing_tells(estimate: Estimate | None) -> None:
    """The default at first, then the largest peak that such experiments have shown."""
    first = need_of(Resources(), estimate, budget(), SLOW_START)
    assert (first.ram_bytes, first.ram_source) == (2 * GB, "slow start")
    grown = replace(SLOW_START, largest_peak_bytes=5 * GB)
    assert need_of(Resources(), estimate, budget(), grown).ram_bytes == 5 * GB
    small = replace(SLOW_START, largest_peak_bytes=GB)
    assert need_of(Resources(), estimate, budget(), small).ram_bytes == 2 * GB


def test_two_slow_starters_until_one_has_ended() -> None:
    """After that, what it has shown is what is reserved."""
    assert SLOW_START.limit == 2
    assert replace(SLOW_START, finished=1).limit is None


@given(
    st.builds(Resources, cpus=st.none() | st.floats(0.1, 99)),
    st.none() | st.integers(1, 10**14).map(lambda peak: Estimate(runs=1, peak_bytes=peak)),
    st.integers(1, 10**12),
)
def test_what_is_not_declared_can_always_be_granted(
    declared: Resources, estimate: Estimate | None, ram: int
) -> None:
    """No estimate may keep an experiment from ever running."""
    machine = budget(ram=ram)
    need = need_of(declared, estimate, machine, SLOW_START)
    assert 0 < need.ram_bytes <= machine.ram_bytes
    assert 0 < need.cpus <= machine.cpus


def test_a_share_that_history_tells() -> None:
    """``gpu_memory = "auto"`` takes a whole GPU until a run has shown how much it uses."""
    auto, machine = Resources(gpu_memory=AUTO_SHARE), budget(gpus=(8,))
    first = need_of(auto, None, machine, SLOW_START)
    assert (first.gpus, first.gpu_share_bytes) == (1, None)
    later = need_of(auto, Estimate(runs=1, gpu_bytes=GB), machine, SLOW_START)
    assert later.gpus == 1
    assert later.gpu_share_bytes is not None
    assert 1.1 * GB <= later.gpu_share_bytes <= 1.1 * GB + 16 * 2**20
    assert need_of(share("3GB"), None, machine, SLOW_START).gpu_share_bytes == 3 * GB


def test_unified_memory_is_charged_to_ram() -> None:
    """There is but one memory, and the pool of RAM is the one that guards it."""
    machine = budget(gpus=(16,))
    unified = replace(machine, gpus=(replace(machine.gpus[0], unified=True),))
    declared = replace(share("3GB"), ram=Size(2 * GB))
    assert need_of(declared, None, unified, SLOW_START).ram_bytes == 5 * GB
    assert need_of(declared, None, machine, SLOW_START).ram_bytes == 2 * GB
    minimum = replace(whole(1, "4GB"), ram=Size(2 * GB))
    assert need_of(minimum, None, unified, SLOW_START).ram_bytes == 6 * GB
    assert need_of(Resources(ram=Size(GB)), None, unified, SLOW_START).ram_bytes == GB


def test_cpus_are_clamped() -> None:
    """More than there are is a wish."""
    assert need_of(Resources(cpus=16), None, budget(), SLOW_START).cpus == 4
    assert need_of(Resources(cpus=2), None, budget(), SLOW_START).cpus == 2
    assert need_of(Resources(), None, budget(), SLOW_START).cpus == 1
    assert need_of(Resources(), None, budget(cpus=0.5), SLOW_START).cpus == 0.5


@pytest.mark.parametrize(
    ("declared", "estimate", "note"),
    [
        (Resources(cpus=16), None, "declares 16 cpus, the budget has 4"),
        (Resources(cpus=4.5), None, "declares 4.5 cpus, the budget has 4"),
        (
            Resources(ram=parse_size("1GB")),
            Estimate(runs=2, peak_bytes=2**31),
            "declares ram = 1GB, earlier runs used 2 GiB",
        ),
        (
            share("1GB"),
            Estimate(runs=2, gpu_bytes=2**31),
            "declares gpu_memory = 1GB, earlier runs used 2 GiB",
        ),
    ],
)
def test_what_the_machine_or_history_contradicts(
    declared: Resources, estimate: Estimate | None, note: str
) -> None:
    """It is granted as declared, and the user is told."""
    assert list(notes(declared, estimate, budget(gpus=(8,)))) == [note]


@pytest.mark.parametrize(
    ("declared", "estimate"),
    [
        (Resources(cpus=4), Estimate(runs=2, peak_bytes=2**40, gpu_bytes=2**40)),
        (Resources(ram=Size(GB)), Estimate(runs=2, peak_bytes=GB)),
        (share("1GB"), Estimate(runs=2, gpu_bytes=GB)),
        (Resources(gpu_memory=AUTO_SHARE), Estimate(runs=2, gpu_bytes=GB)),
        (Resources(), None),
    ],
)
def test_nothing_to_say(declared: Resources, estimate: Estimate | None) -> None:
    """What was declared holds, or nothing was declared."""
    assert list(notes(declared, estimate, budget())) == []


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
