"""Which GPUs a claim gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, need

from pytest_nbgroups.core.resources import Claim, Gpu
from pytest_nbgroups.scheduling.placement import place, unleased, wanted, wanting


def gpu(index: int, free: float = 8, total: int = 8, **more: object) -> Gpu:
    """A GPU; memory in GB."""
    made = Gpu(
        uuid=f"G{index}",
        index=index,
        name="T",
        total_bytes=total * GB,
        free_bytes=int(free * GB),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def claim(
    name: str = "A", *, share: float | None = None, least: float = 0, count: int = 1
) -> Claim:
    return Claim(
        need=need(gpus=count, share=share, least=least),
        experiment=name,
        session="s",
        gpu_choices=("G0", "G1", "G2"),
    )


def placed(
    asking: Claim, *gpus: Gpu, holders: tuple[Claim, ...] = (), ahead: tuple[Claim, ...] = ()
) -> object:
    return place(asking, holders=holders, ahead=ahead, gpus=gpus)


def test_the_emptiest_gpu_is_taken() -> None:
    """Free memory counts more than idleness; among equals the lowest index is taken."""
    assert placed(claim(), gpu(0, free=2), gpu(1, free=8)) == ("G1",)
    assert placed(claim(), gpu(0, utilization=0.9), gpu(1)) == ("G1",)
    assert placed(claim(), gpu(0, free=8, utilization=1.0), gpu(1, free=2)) == ("G0",)
    assert placed(claim(), gpu(1), gpu(0)) == ("G0",)


def test_only_its_own_choices_count() -> None:
    """Neither a GPU that its session may not use nor one that is broken."""
    asking = replace(claim(), gpu_choices=("G1",))
    assert placed(asking, gpu(0), gpu(1, free=1)) == ("G1",)
    assert placed(asking, gpu(0), gpu(1, usable=False)) is None


def test_whole_and_shared_do_not_mix() -> None:
    """A whole GPU has no sharer, and a shared one is nobody's whole one."""
    whole = replace(claim("W"), gpus=("G0",))
    sharer = replace(claim("S", share=2), gpus=("G0",))
    assert placed(claim(share=1), gpu(0), holders=(whole,)) is None
    assert placed(claim(), gpu(0), holders=(sharer,)) is None
    assert placed(claim(share=6), gpu(0), holders=(sharer,)) == ("G0",)
    assert placed(claim(share=6.1), gpu(0), holders=(sharer,)) is None


def test_a_sharer_is_not_counted_twice() -> None:
    """What a sharer already uses is part of its lease; what others use comes on top."""
    sharer = replace(claim("S", share=4), gpus=("G0",), gpu_used_bytes={"G0": 3 * GB})
    assert placed(claim(share=4), gpu(0, free=5), holders=(sharer,)) == ("G0",)
    assert (
        placed(claim(share=4), gpu(0, free=4.5), holders=(sharer,)) is None
    )  # 0.5 GB of a stranger


def test_a_sharer_that_outgrows_its_lease() -> None:
    """It counts with what it uses."""
    sharer = replace(claim("S", share=2), gpus=("G0",), gpu_used_bytes={"G0": 5 * GB})
    assert placed(claim(share=3), gpu(0, free=3), holders=(sharer,)) == ("G0",)
    assert placed(claim(share=3.1), gpu(0, free=3), holders=(sharer,)) is None


def test_free_memory_for_a_whole_one() -> None:
    """As much as is declared, to the byte."""
    assert placed(claim(least=4), gpu(0, free=4)) == ("G0",)
    assert placed(claim(least=4), gpu(0, free=3.999)) is None


def test_unified_memory_is_not_asked_for() -> None:
    """It is charged to RAM."""
    assert placed(claim(least=99), gpu(0, free=1, unified=True)) == ("G0",)


def test_one_that_waits_keeps_what_could_serve_it() -> None:
    """Else small claims would starve one that needs several GPUs."""
    pair = claim("Pair", count=2)
    busy = replace(claim("Busy"), gpus=("G0",))
    assert placed(claim(), gpu(0), gpu(1), holders=(busy,), ahead=(pair,)) is None
    assert placed(claim(), gpu(0), gpu(1), holders=(busy,)) == ("G1",)


def test_one_that_waits_keeps_no_gpu_that_is_too_small_for_it() -> None:
    """A small GPU is free for those behind; one that is just large enough is kept."""
    large = claim("Large", least=20)
    assert placed(claim(), gpu(0, total=8), ahead=(large,)) == ("G0",)
    assert placed(claim(), gpu(0, free=4, total=20), ahead=(large,)) is None


def test_one_that_waits_and_fits_takes_one() -> None:
    """The rest is free."""
    assert placed(claim(), gpu(0), gpu(1), ahead=(claim("B"),)) == ("G1",)
    assert placed(claim(), gpu(0), ahead=(claim("B"),)) is None


@given(
    st.lists(st.floats(0, 8), min_size=1, max_size=3),
    st.integers(1, 3),
    st.floats(0, 8),
)
def test_what_is_given_suffices(free: list[float], count: int, least: float) -> None:
    """As many different GPUs as are asked for, each with enough memory, or none if there are too few."""
    gpus = [gpu(index, free=each) for index, each in enumerate(free)]
    enough = {each.uuid for each in gpus if each.free_bytes >= int(least * GB)}
    found = place(claim(count=count, least=least), holders=(), ahead=(), gpus=gpus)
    if found is None:
        assert len(enough) < count
    else:
        assert len(set(found)) == count
        assert set(found) <= enough


def test_who_stands_in_the_way() -> None:
    """Those that hold one of its GPUs, and those that wait for one; not who needs none."""
    holder = replace(claim("H"), gpus=("G0",), gpu_choices=())
    elsewhere = replace(claim("E"), gpus=("G9",))
    waiting, plain = claim("W"), claim("P", count=0)
    assert wanting(claim(), [holder, elsewhere, waiting, plain]) == (holder, waiting)


@pytest.mark.parametrize(
    ("asking", "text"),
    [
        (claim(), "1 gpu"),
        (claim(count=2), "2 gpus"),
        (claim(count=2, least=4), "2 gpus with 4GB free"),
        (claim(share=2), "2GB of a gpu"),
    ],
)
def test_what_is_asked_for(asking: Claim, text: str) -> None:
    """As messages say it."""
    assert wanted(asking) == text


def test_what_is_missing_without_a_lease() -> None:
    """Too few GPUs, or other programs that use their memory."""
    assert unleased(claim(), [gpu(0, usable=False)]) == "none can be used now"
    assert unleased(claim(count=2), [gpu(0), gpu(9)]) == "1 can be used now"
    assert unleased(claim(), [gpu(0, free=1), gpu(1, free=2)]) == (
        "other programs use their memory: at most 1.9 GiB of one are free"
    )
