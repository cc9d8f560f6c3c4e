from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.resources import Budget, Claim, Gpu, Need
from pytest_nbgroups.scheduling.admission import Grant, MemoryUse, Obstacle, admit
from pytest_nbgroups.scheduling.obstacles import describe, is_same_reason

GB = 10**9
GIB = 2**30
NOW = 1_000_000.0
BUDGET = Budget(
    cpus=8,
    cpus_source="affinity",
    ram_bytes=16 * GB,
    ram_capacity_bytes=20 * GB,
    ram_source="80% of physical memory",
)


def gpu(index: int, **changes: Any) -> Gpu:
    values = {"total_bytes": 80 * GB, "free_bytes": 80 * GB} | changes
    return Gpu(uuid=f"GPU-{index}", index=index, name="A100", **values)


FOUR = tuple(gpu(index) for index in range(4))


def claim(name: str = "Heart-CT", *, need: dict[str, Any] | None = None, **fields: Any) -> Claim:
    """One CPU, 1 GB and whatever else is said."""
    values: dict[str, Any] = {"cpus": 1, "ram_bytes": GB, "ram_source": "declared"}
    made = Need(**(values | (need or {})))
    defaults = {"session": "s", "gpu_choices": tuple(each.uuid for each in FOUR)}
    return Claim(need=made, experiment=name, **(defaults | fields))


def ask(
    asking: Claim,
    holders: Sequence[Claim] = (),
    ahead: Sequence[Claim] = (),
    *,
    budget: Budget = BUDGET,
    gpus: Sequence[Gpu] = FOUR,
    memory: MemoryUse | None = None,
) -> Grant | Obstacle:
    return admit(asking, holders=holders, ahead=ahead, budget=budget, gpus=gpus, memory=memory)


def refusal(*args: Any, **kwargs: Any) -> str:
    """The line that says why."""
    answer = ask(*args, **kwargs)
    assert isinstance(answer, Obstacle)
    return describe(answer, now=NOW)


def granted(*args: Any, **kwargs: Any) -> tuple[str, ...]:
    """The GPUs, where there is nothing to remark."""
    answer = ask(*args, **kwargs)
    assert isinstance(answer, Grant), answer
    assert answer.note == ""
    return answer.gpus


# CPUs


@pytest.mark.parametrize(("cpus", "fits"), [(2, True), (2.5, False)])
def test_cpus(cpus: float, fits: bool) -> None:  # noqa: FBT001  a parameter of the test
    """CPUs are summed over those that hold and those that wait before."""
    answer = ask(claim(need={"cpus": cpus}), [claim(need={"cpus": 4})], [claim(need={"cpus": 2})])
    assert isinstance(answer, Grant) == fits


def test_cpus_refused() -> None:
    """It is said how many are free, and who has the others or waits for them."""
    held = claim("A", need={"cpus": 6})
    line = refusal(claim(need={"cpus": 4}), [held], [claim("B"), claim("C")])
    assert line == ("needs 4 cpus, 0 of 8 are free; held by A; B and C are before it in the queue")


def test_cpus_of_another_domain() -> None:
    """What runs under another limit leaves ours untouched."""
    assert granted(claim(need={"cpus": 8}), [claim(need={"cpus": 8}, cpu_domain="slurm:7")]) == ()


def test_fractions_of_cpus() -> None:
    """Three tenths of a CPU are as much as one and two tenths, whatever floats say."""
    budget = replace(BUDGET, cpus=0.3)
    assert granted(claim(need={"cpus": 0.1}), [claim(need={"cpus": 0.2})], budget=budget) == ()


def test_more_cpus_than_there_are() -> None:
    """The first of a domain is never refused CPUs, or it would wait for ever."""
    assert granted(claim(need={"cpus": 64})) == ()
    assert "needs 64 cpus" in refusal(claim(need={"cpus": 64}), [claim("A")])


def test_a_smaller_budget_is_not_passed_for_ever() -> None:
    """What would fit into our own budget waits for one ahead that may use less."""
    ahead = claim("A", need={"cpus": 2}, cpu_limit=4, ram_limit_bytes=4 * GB)
    held = [claim("B", need={"cpus": 1})]
    assert granted(claim(), held, [ahead]) == ()
    assert "needs 2 cpus, 1 of 4 are free" in refusal(claim(need={"cpus": 2}), held, [ahead])
    assert "needs 4" in refusal(claim(need={"ram_bytes": 4 * GB}), held, [ahead])
    assert granted(claim(need={"cpus": 2, "ram_bytes": 4 * GB}), held, [claim("A")]) == ()


# RAM


def ram(gigabytes: float, **fields: Any) -> Claim:
    return claim(fields.pop("name", "A"), need={"ram_bytes": int(gigabytes * GB)}, **fields)


@pytest.mark.parametrize(("gigabytes", "fits"), [(5, True), (6, False)])
def test_ram(gigabytes: int, fits: bool) -> None:  # noqa: FBT001  a parameter of the test
    """RAM is summed over those that hold and those that wait before."""
    assert isinstance(ask(ram(gigabytes), [ram(8)], [ram(3)]), Grant) == fits


def test_ram_refused() -> None:
    """The sizes are echoed in the unit in which people declare them, free ones in binary units."""
    line = refusal(ram(8), [ram(12.5)])
    assert line == "needs 8GB of RAM, 3.3 GiB of 14.9 GiB are free; held by A"


def test_ram_of_another_domain() -> None:
    """What runs in another container has RAM of its own."""
    assert granted(ram(16), [ram(16, ram_domain="cgroup 1:2")]) == ()


def test_more_ram_than_reserved() -> None:
    """A holder counts with what it uses once that is more than it reserved."""
    assert "4.7 GiB of 14.9 GiB are free" in refusal(ram(6), [ram(8, used_bytes=11 * GB)])


@pytest.mark.parametrize(
    ("used", "is_size", "most"),
    [
        (0, False, 16),
        (10, False, 8),  # 80% of the other half
        (10, True, 10),
        (3, True, 16),  # a size is not reduced as long as there is room for it
    ],
)
def test_memory_of_others(used: int, most: int, is_size: bool) -> None:  # noqa: FBT001  parameters
    """What runs outside of every lease reduces a fraction in proportion, a size where it must."""
    budget = replace(BUDGET, ram_is_size=is_size)
    memory = MemoryUse(used_bytes=used * GB, capacity_bytes=20 * GB)
    waiting = ram(0)  # so that there is somebody to wait for
    assert isinstance(ask(ram(most), (), [waiting], budget=budget, memory=memory), Grant)
    assert isinstance(ask(ram(most + 1), (), [waiting], budget=budget, memory=memory), Obstacle)


def test_memory_of_holders_counts_once() -> None:
    """What holders use is in their leases already, so it is not outside of them."""
    memory = MemoryUse(used_bytes=12 * GB, capacity_bytes=20 * GB)
    holders = [ram(8, used_bytes=7 * GB), ram(0, used_bytes=5 * GB, ram_domain="another")]
    # 5 GB are outside: 80% of 15 GB, less the 8 GB that are reserved.
    assert isinstance(ask(ram(4), holders, memory=memory), Grant)
    assert isinstance(ask(ram(4.1), holders, memory=memory), Obstacle)


def test_first_on_a_full_machine() -> None:
    """Where no other runs there is nobody to wait for: it starts, and it is said in numbers."""
    memory = MemoryUse(used_bytes=16 * GB, capacity_bytes=20 * GB)
    assert ask(ram(8), memory=memory) == Grant(
        note="started although only 3 GiB of RAM are free of the 8GB reserved: "
        "no other experiment runs"
    )


# Locks, exclusive, slow start


def test_lock() -> None:
    """Who has a lock keeps it from all others that name it, and from them alone."""
    holder = claim("Liver", need={"locks": ("slicer-data",)}, pid=42, user="anna", since=NOW - 720)
    line = refusal(claim(need={"locks": ("a", "slicer-data")}), [holder])
    assert line == "needs the lock 'slicer-data'; held by Liver (pid 42, anna, 12min)"
    assert granted(claim(need={"locks": ("a",)}), [holder]) == ()


def test_lock_in_the_queue() -> None:
    """A lock goes to those that asked before."""
    line = refusal(claim(need={"locks": ("x",)}), (), [claim("A", need={"locks": ("x",)})])
    assert line == "needs the lock 'x'; A is before it in the queue"


def test_directory() -> None:
    """One run at a time uses a directory; where none is told, nobody is kept from anything."""
    holder = claim("Liver", place="/x::notebooks", pid=42, user="anna", since=NOW - 720)
    line = refusal(claim(place="/x::notebooks"), [holder])
    assert line == "needs its directory; held by Liver (pid 42, anna, 12min)"
    line = refusal(claim(place="/x::notebooks"), (), [claim("A", place="/x::notebooks")])
    assert line == "needs its directory; A is before it in the queue"
    assert granted(claim(place="/y::notebooks"), [holder]) == ()
    assert granted(claim(), [claim()]) == ()


def test_exclusive() -> None:
    """An exclusive claim waits for all others of the machine, whatever limits them."""
    elsewhere = claim("A", cpu_domain="x", ram_domain="y")
    assert refusal(claim(need={"exclusive": True}), [elsewhere]) == "is exclusive; waits for A"
    assert granted(claim(need={"exclusive": True})) == ()


@pytest.mark.parametrize("place", ["holders", "ahead"])
def test_beside_exclusive(place: str) -> None:
    """While an exclusive claim holds or waits, nobody passes it."""
    exclusive = claim("A", need={"exclusive": True}, cpu_domain="x")
    line = refusal(claim(), **{place: [exclusive]})
    assert line.startswith("cannot run beside an exclusive one; ")


def test_slow_start() -> None:
    """Of the experiments of which nothing is known, so many of one session hold or wait at once."""
    unknown = claim(need={"ram_source": "slow start"}, slow_start_limit=2)
    others = {"holders": [unknown], "ahead": [replace(unknown, experiment="B")]}
    assert refusal(unknown, **others) == (
        "is one of those whose RAM is unknown, at most 2 at once; "
        "waits for Heart-CT; B is before it in the queue"
    )
    assert granted(replace(unknown, session="t"), **others) == ()
    assert granted(replace(unknown, slow_start_limit=None), **others) == ()
    assert granted(claim(slow_start_limit=2), **others) == ()
    assert granted(unknown, [unknown]) == ()


# GPUs


def whole(count: int = 1, **fields: Any) -> Claim:
    need = {"gpus": count, "gpu_min_bytes": fields.pop("minimum", 0)}
    return claim(fields.pop("name", "A"), need=need, **fields)


def share(gigabytes: int, **fields: Any) -> Claim:
    need = {"gpus": 1, "gpu_share_bytes": gigabytes * GB}
    return claim(fields.pop("name", "A"), need=need, **fields)


def test_best_gpus() -> None:
    """Free memory counts 0.6, idleness 0.4; among equals the lower index."""
    gpus = [
        gpu(0, free_bytes=40 * GB),  # 0.3 + 0.4
        gpu(1, utilization=1.0),  # 0.6
        gpu(2, utilization=0.5),  # 0.6 + 0.2
        gpu(3, utilization=0.5),
    ]
    assert granted(whole(), gpus=gpus) == ("GPU-2",)
    assert granted(whole(3), gpus=gpus) == ("GPU-2", "GPU-3", "GPU-0")


def test_gpus_that_are_not_for_it() -> None:
    """Only those of its session's GPUs that are usable and not leased are chosen from."""
    gpus = [gpu(0, usable=False), *FOUR[1:]]
    assert granted(
        whole(gpu_choices=("GPU-0", "GPU-2", "GPU-3")), [whole(gpus=("GPU-2",))], gpus=gpus
    ) == ("GPU-3",)


def test_gpus_refused() -> None:
    """Those are named who hold or want one of the GPUs that it may use."""
    holders = [whole(2, name="A", gpus=("GPU-0", "GPU-1")), whole(name="B", gpus=("GPU-2",))]
    asking = whole(gpu_choices=("GPU-0", "GPU-1"))
    assert refusal(asking, [*holders, claim("C")]) == "needs 1 gpu; held by A"


@pytest.mark.parametrize(
    ("asking", "line"),
    [
        (
            whole(minimum=24 * GB),
            "needs 1 gpu with 24GB free, other programs use their memory: at most 18.6 GiB of one are free",
        ),
        (
            share(24),
            "needs 24GB of a gpu, other programs use their memory: at most 18.6 GiB of one are free",
        ),
        (whole(2), "needs 2 gpus, 1 can be used now"),
        (whole(gpu_choices=()), "needs 1 gpu, none can be used now"),
    ],
)
def test_gpus_of_others(asking: Claim, line: str) -> None:
    """Where no lease stands in the way, it is said what does."""
    assert refusal(asking, gpus=[gpu(0, free_bytes=20 * GB)]) == line


def test_shares() -> None:
    """Shares of a GPU add up to its memory, and keep it from those that want all of it."""
    one = [gpu(0)]
    holders = [share(30, gpus=("GPU-0",)), share(30, gpus=("GPU-0",))]
    assert granted(share(20), holders, gpus=one) == ("GPU-0",)
    assert "needs 21GB of a gpu; held by A and A" in refusal(share(21), holders, gpus=one)
    assert isinstance(ask(whole(), holders, gpus=one), Obstacle)
    assert isinstance(ask(share(1), [whole(gpus=("GPU-0",))], gpus=one), Obstacle)


def test_shares_spread() -> None:
    """What is leased counts as used, so the next share goes to the GPU with the most room."""
    assert granted(share(8), [share(8, gpus=("GPU-0",))]) == ("GPU-1",)


@pytest.mark.parametrize(
    ("used_by_sharer", "most"),
    [
        ({"GPU-0": 10 * GB}, 40),  # 20 of the 30 in use are foreign, and the sharer may grow to 20
        ({"GPU-0": 30 * GB}, 50),  # all is the sharer's, more than it leased
        ({}, 50),  # unknown: taken for the sharer's, up to what it leased
    ],
)
def test_foreign_memory(used_by_sharer: dict[str, int], most: int) -> None:
    """Memory that other programs use is not leased; what sharers use is in their leases."""
    one = [gpu(0, free_bytes=50 * GB)]
    holders = [share(20, gpus=("GPU-0",), gpu_used_bytes=used_by_sharer)]
    assert granted(share(most), holders, gpus=one) == ("GPU-0",)
    assert isinstance(ask(share(most + 1), holders, gpus=one), Obstacle)


def test_sharers_beyond_their_leases() -> None:
    """What one sharer takes beyond its lease is not taken from what another has leased."""
    one = [gpu(0, free_bytes=50 * GB)]
    holders = [
        share(20, gpus=("GPU-0",), gpu_used_bytes={"GPU-0": 30 * GB}),
        share(20, gpus=("GPU-0",), gpu_used_bytes={"GPU-0": 0}),
    ]
    assert granted(share(30), holders, gpus=one) == ("GPU-0",)
    assert isinstance(ask(share(31), holders, gpus=one), Obstacle)


def test_foreign_memory_is_not_of_those_who_wait() -> None:
    """One that has not begun uses nothing yet."""
    one = [gpu(0, free_bytes=50 * GB)]
    assert granted(share(30), (), [share(20)], gpus=one) == ("GPU-0",)
    assert isinstance(ask(share(31), (), [share(20)], gpus=one), Obstacle)


def test_unified_memory() -> None:
    """Where the memory is the host's it is charged to RAM, but a whole GPU is still one's own."""
    one = [gpu(0, free_bytes=GB, unified=True)]
    assert granted(share(40), [share(70, gpus=("GPU-0",))], gpus=one) == ("GPU-0",)
    assert granted(whole(minimum=40 * GB), gpus=one) == ("GPU-0",)
    assert isinstance(ask(whole(), [share(1, gpus=("GPU-0",))], gpus=one), Obstacle)


def test_gpus_of_the_queue() -> None:
    """One that waits before takes the GPUs that it would get; others may be had."""
    waiting = whole(3, name="B")
    assert granted(whole(), (), [waiting]) == ("GPU-3",)
    assert refusal(whole(2), (), [waiting]) == "needs 2 gpus; B is before it in the queue"


def test_gpus_kept_for_the_queue() -> None:
    """One that cannot have all that it waits for keeps every GPU that could serve it."""
    holder, waiting = whole(gpus=("GPU-0",)), whole(2, gpu_choices=("GPU-0", "GPU-1"))
    assert granted(whole(), [holder], [waiting]) == ("GPU-2",)
    assert isinstance(ask(whole(gpu_choices=("GPU-1",)), [holder], [waiting]), Obstacle)


def test_gpus_of_no_use_to_the_queue() -> None:
    """A GPU too small for the one that waits is no reason to wait."""
    gpus = [gpu(0), gpu(1, total_bytes=16 * GB, free_bytes=16 * GB)]
    waiting = whole(minimum=40 * GB)
    assert granted(whole(), [whole(gpus=("GPU-0",))], [waiting], gpus=gpus) == ("GPU-1",)


# How it reads


def test_many_holders() -> None:
    """Of many the first three are named."""
    holders = [claim(name, need={"cpus": 2}) for name in "ABCDE"]
    assert refusal(claim(), holders).endswith("held by A, B, C and 2 more")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (42, "42s"), (60, "1min"), (720, "12min"), (3 * 3600 + 300, "3h05min")],
)
def test_age(seconds: float, text: str) -> None:
    """How long it is held is told as coarsely as people tell it."""
    line = refusal(
        claim(need={"locks": ("x",)}), [claim(need={"locks": ("x",)}, since=NOW - seconds)]
    )
    assert line.endswith(f"held by Heart-CT ({text})")


def test_hostile_names() -> None:
    """Another user's ticket cannot write to our terminal."""
    holder = claim("\x1b[31mA\nB", user="\x1b]0;x\x07eve", need={"locks": ("x",)})
    assert refusal(claim(need={"locks": ("x",)}), [holder]).endswith("held by A (eve)")


def test_same_reason() -> None:
    """There is news when something else is lacking or others hold it, not when numbers change."""
    first = ask(ram(8), [ram(12, pid=1)])
    assert isinstance(first, Obstacle)

    def is_news(*args: Any) -> bool:
        answer = ask(*args)
        assert isinstance(answer, Obstacle)
        return not is_same_reason(first, answer)

    assert not is_news(ram(8), [ram(13, pid=1)])
    assert not is_news(ram(8), [ram(12, pid=1)], [ram(1)])
    assert is_news(ram(8), [ram(12, pid=2)])
    assert is_news(ram(9), [ram(12, pid=1)])


# Whatever the order of requests and releases

needs = st.builds(
    Need,
    cpus=st.sampled_from([0.5, 1, 3, 8]),
    ram_bytes=st.sampled_from([0, GB, 6 * GB, 16 * GB]),
    ram_source=st.sampled_from(["declared", "slow start"]),
    gpus=st.integers(0, 3),
    locks=st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
    exclusive=st.sampled_from([False, False, False, True]),
) | st.builds(
    Need,
    cpus=st.just(1),
    ram_bytes=st.just(GB),
    ram_source=st.just("history"),
    gpus=st.just(1),
    gpu_share_bytes=st.sampled_from([20 * GB, 50 * GB]),
)
claims = st.builds(
    claim,
    name=st.just("x"),
    session=st.sampled_from(["s", "t"]),
    slow_start_limit=st.just(1),
    gpu_choices=st.just(tuple(each.uuid for each in FOUR)),
).flatmap(lambda made: needs.map(lambda need: replace(made, need=need)))


class Machine:
    """Claims that wait in a queue, and those that hold."""

    def __init__(self) -> None:
        self.queue: list[Claim] = []
        self.holders: list[Claim] = []

    def look(self) -> None:
        """Each that waits looks once, in the order of the queue."""
        waiting, self.queue = self.queue, []
        for each in waiting:
            answer = ask(each, self.holders, self.queue)
            if isinstance(answer, Grant):
                self.holders.append(replace(each, gpus=answer.gpus))
                self.check()
            else:
                assert answer.blockers or answer.ahead
                self.queue.append(each)

    def check(self) -> None:
        """Nothing is leased twice, and no sum is above the budget."""
        held = [holder.need for holder in self.holders]
        assert sum(need.cpus for need in held) <= BUDGET.cpus
        assert sum(need.ram_bytes for need in held) <= BUDGET.ram_bytes
        assert len(held) == 1 or not any(need.exclusive for need in held)
        locks = [lock for need in held for lock in need.locks]
        assert len(locks) == len(set(locks))
        for session in ("s", "t"):
            ours = [each for each in self.holders if each.session == session]
            assert sum(each.need.ram_source == "slow start" for each in ours) <= 1
        for each in FOUR:
            users = [holder.need for holder in self.holders if each.uuid in holder.gpus]
            shares = [need.gpu_share_bytes for need in users if need.gpu_share_bytes]
            assert len(users) <= 1 or len(shares) == len(users)
            assert sum(shares) <= each.total_bytes
        for holder in self.holders:
            assert len(set(holder.gpus)) == holder.need.gpus


@given(st.lists(claims | st.integers(0, 9), max_size=40))
def test_any_sequence(steps: list[Claim | int]) -> None:
    """Whatever is asked for and given back, the budget holds, and in the end everybody has had his turn."""
    machine = Machine()
    for step in steps:
        if isinstance(step, Claim):
            machine.queue.append(step)
        elif machine.holders:
            machine.holders.pop(step % len(machine.holders))
        machine.look()
    while machine.queue or machine.holders:
        assert machine.holders, "nothing runs, and yet they wait"
        machine.holders.pop(0)
        machine.look()


@given(claims, st.lists(claims, max_size=6), st.lists(claims, max_size=25))
def test_nobody_is_starved(first: Claim, before: list[Claim], stream: list[Claim]) -> None:
    """The first in the queue waits for those that held before it came, not for those that came later."""
    machine = Machine()
    machine.queue = list(before)
    machine.look()
    machine.queue = [first]
    old = list(machine.holders)
    for later in stream:
        machine.look()
        machine.queue.append(later)
    while old and first in machine.queue:
        machine.holders.remove(old.pop())
        machine.look()
    machine.look()
    assert not any(waiting is first for waiting in machine.queue)
