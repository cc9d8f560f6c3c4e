"""Runs inside runs: what they take from each other, and that none waits for itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import GB, budget, need

from pytest_nbgroups.core.resources import AUTO_SHARE, Budget, Claim, Estimate, Need, Resources
from pytest_nbgroups.core.units import Size, parse_size
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit
from pytest_nbgroups.scheduling.lending import (
    are_kin,
    beside,
    lacking,
    lent,
    waits_for_itself,
    within,
)
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, unmet

DEFAULT = 2 * GB


def claim(name: str, *, inside: str = "", **fields: Any) -> Claim:
    """A claim whose ticket is called as it is."""
    values: dict[str, Any] = {"need": need(), "session": f"session of {name}"}
    return Claim(experiment=name, ticket=name, lender=inside, **(values | fields))


OUTER = claim(
    "Outer",
    need=need(2, 4, 1, locks=("a",)),
    cpu_limit=4.0,
    cpu_domain="job 7",
    ram_domain="job 8",
    gpus=("GPU-1",),
)


# What there is


def test_budget() -> None:
    """A session inside an experiment has what the experiment holds, in its domains."""
    reduced = within(budget(gpus=(8, 8)), OUTER)
    assert (reduced.cpus, reduced.ram_bytes) == (2, 4 * GB)
    assert (reduced.cpu_domain, reduced.ram_domain) == ("job 7", "job 8")
    assert [gpu.uuid for gpu in reduced.gpus] == ["GPU-1"]
    assert reduced.lender == OUTER
    assert reduced.notes == ("this session is inside Outer, and uses what its lease holds",)
    assert within(budget(cpus=1, ram=GB), OUTER).cpus == 1


@pytest.mark.parametrize(("share", "size"), [(None, 8), (3, 3), (9, 8)])
def test_gpus(share: float | None, size: int) -> None:
    """A GPU is as large as the lease of it, and what the lender has put there does not count."""
    (gpu,) = lent(budget(gpus=(8, 8)).gpus, replace(OUTER, need=need(gpus=1, share=share)))
    assert (gpu.uuid, gpu.total_bytes, gpu.free_bytes) == ("GPU-1", size * GB, size * GB)


# Who competes with whom


def names(found: tuple[Any, Any]) -> tuple[list[str], list[str]]:
    holders, ahead = found
    return [each.experiment for each in holders], [each.experiment for each in ahead]


def test_beside() -> None:
    """Borrowers of one lease compete with each other; everybody else sees the lender alone."""
    holders = [
        OUTER,
        claim("Other"),
        claim("In", inside="Outer"),
        claim("Deep", inside="In"),
        claim("Orphan", inside="gone"),
    ]
    ahead = [claim("Next"), claim("Second", inside="Outer")]
    assert names(beside(claim("New"), holders, ahead)) == (["Outer", "Other", "Orphan"], ["Next"])
    assert names(beside(claim("New", inside="Outer"), holders, ahead)) == (["In"], ["Second"])
    assert names(beside(claim("New", inside="In"), holders, ahead)) == (["Deep"], [])


def test_kin() -> None:
    """What is inside an experiment is no neighbour of it; tickets that name each other end nothing."""
    inner, other = claim("In", inside="Outer"), claim("Other")
    deep = claim("Deep", inside="In")
    holders = [OUTER, inner, deep, other]
    assert are_kin(OUTER, deep, holders)
    assert are_kin(deep, OUTER, holders)
    assert not are_kin(deep, other, holders)
    ring = [claim("A", inside="B"), claim("B", inside="A")]
    assert are_kin(ring[0], ring[1], ring)
    assert waits_for_itself(claim("C", inside="A", place="p"), ring, []) is None


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (need(locks=("a",)), need(locks=("a",))),
        (need(exclusive=True), need(exclusive=True)),
        (need(4, 16), need(4, 16)),
    ],
)
def test_what_the_lender_holds(inner: Need, outer: Need) -> None:
    """A lock, ``exclusive`` and the last CPU are no obstacle if one's own lender has them."""
    lender = claim("Outer", need=outer)
    asking = claim("In", inside="Outer", need=inner)
    reduced = within(budget(), lender)
    assert admitted(asking, [lender], budget=reduced)
    sibling = replace(asking, experiment="Sibling", ticket="Sibling")
    assert not admitted(asking, [lender, sibling], budget=reduced)


def admitted(
    asking: Claim, holders: list[Claim], ahead: list[Claim] | None = None, *, budget: Budget
) -> bool:
    answer = admit(
        asking,
        holders=holders,
        ahead=ahead or [],
        budget=budget,
        gpus=budget.gpus,
        memory=None,
    )
    return isinstance(answer, Grant)


# What is refused at once


@pytest.mark.parametrize(
    ("declared", "needs", "holds", "declaration"),
    [
        (Resources(cpus=3), "needs 3 cpus", "holds 2 cpus", "cpus = 3"),
        (Resources(cpus=64), "needs 4 cpus", "holds 2 cpus", "cpus = 4"),
        (
            Resources(ram=parse_size("5GB")),
            "needs 5GB of RAM",
            "holds 4GB",
            'ram = "5GB"',
        ),
        (Resources(locks=("a", "b")), "needs the lock 'b'", "does not hold it", 'locks = ["b"]'),
        (Resources(exclusive=True), "is exclusive", "is not", "exclusive = true"),
    ],
)
def test_lacking(declared: Resources, needs: str, holds: str, declaration: str) -> None:
    """The reason names what is needed, what there is, and what to declare where."""
    told = lacking(declared, OUTER, default_ram_bytes=DEFAULT)
    assert told == (
        f"{needs}; this run is inside Outer, whose lease {holds}. "
        f"Declare {declaration} in Outer's experiment.toml"
    )


@pytest.mark.parametrize(
    "declared",
    [
        Resources(),
        Resources(cpus=2, ram=Size(4 * GB), locks=("a",)),
        Resources(cpus=0.5, gpus=1),
    ],
)
def test_nothing_lacking(declared: Resources) -> None:
    """What is not declared fits, as does what the lender holds."""
    assert lacking(declared, OUTER, default_ram_bytes=DEFAULT) is None


def test_as_much_as_there_is() -> None:
    """More CPUs than there are was cut for the lender, so it is for what runs inside."""
    lender = replace(OUTER, need=need(4), cpu_limit=4.0)
    assert lacking(Resources(cpus=64), lender, default_ram_bytes=DEFAULT) is None


@pytest.mark.parametrize(("source", "fits"), [("history", True), ("declared", False)])
def test_an_estimate_is_no_limit(source: Any, fits: bool) -> None:  # noqa: FBT001  a parameter
    """The second run of an outer one, whose memory is known by then, refuses nothing that its first had."""
    lender = replace(OUTER, need=need(ram=0.4, source=source))
    declared = Resources(ram=Size(GB))
    assert (lacking(declared, lender, default_ram_bytes=DEFAULT) is None) == fits
    assert unmet(declared, within(budget(), lender)) is None
    granted = need_of(declared, None, within(budget(), lender), SlowStart(default_bytes=DEFAULT))
    assert granted.ram_bytes == lender.need.ram_bytes


@pytest.mark.parametrize(
    ("lender", "declared", "reason"),
    [
        (
            need(),
            Resources(gpus=1),
            "needs 1 GPU; this run is inside Outer, whose lease holds none",
        ),
        (
            need(gpus=1),
            Resources(gpus=2),
            "needs 2 GPUs; this run is inside Outer, whose lease holds 1",
        ),
        (need(gpus=1), Resources(gpus=1), None),
        (need(gpus=1), Resources(gpu_memory=Size(8 * GB)), None),
        (
            need(share=3),
            Resources(gpus=1),
            "needs 1 GPU; this run is inside Outer, whose lease holds 3GB of one",
        ),
        (
            need(share=3),
            Resources(gpu_memory=parse_size("4GB")),
            "needs 4GB of a GPU; this run is inside Outer, whose lease holds 3GB of one",
        ),
        (need(share=3), Resources(gpu_memory=Size(3 * GB)), None),
        (need(share=3), Resources(gpu_memory=AUTO_SHARE), None),
        (need(share=3), Resources(), None),
    ],
)
def test_gpus_that_are_lacking(lender: Need, declared: Resources, reason: str | None) -> None:
    """A GPU that the lender does not hold is not there, as on a machine that has none."""
    holder = claim("Outer", need=lender, gpus=("GPU-0",) if lender.gpus else ())
    told = unmet(declared, within(budget(gpus=(8,)), holder))
    assert told is None if reason is None else told is not None and told.startswith(f"{reason}. ")


def test_a_share_that_history_tells_of() -> None:
    """What history expects is reduced to the lender's share: it would wait for ever."""
    lender = claim("Outer", need=need(share=3), gpus=("GPU-0",))
    reduced = within(budget(gpus=(8,)), lender)
    estimate = Estimate(runs=1, gpu_bytes=7 * GB)
    granted = need_of(
        Resources(gpu_memory=AUTO_SHARE), estimate, reduced, SlowStart(default_bytes=DEFAULT)
    )
    assert granted.gpu_share_bytes == 3 * GB


# Directories


def test_the_directory_of_an_ancestor() -> None:
    """A run inside of a run of the same directory would wait for itself, however deep it is."""
    outer, inner = claim("Outer", place="d"), claim("In", inside="Outer", place="e")
    deep = claim("Deep", inside="In", place="d")
    assert waits_for_itself(deep, [outer, inner], []) == (outer, outer)
    assert waits_for_itself(replace(deep, place="f"), [outer, inner], []) is None


def test_a_circle() -> None:
    """Two that run each other: the one that comes last is refused, the other one waits."""
    a, b = claim("A", place="a"), claim("B", place="b")
    first = claim("b in A", inside="A", place="b")
    last = claim("a in B", inside="B", place="a")
    assert waits_for_itself(first, [a, b], []) is None
    assert waits_for_itself(last, [a, b], [first]) == (a, b)
    assert waits_for_itself(first, [a, b], []) is None
    assert not admitted(first, [a, b], budget=budget())


def test_one_that_only_waits_for_the_directory() -> None:
    """It may wait for the lender's end, so a borrower goes before it; another run waits behind it."""
    outer, waiting = claim("Outer", place="o"), claim("d", place="d")
    asking = claim("d in Outer", inside="Outer", place="d")
    assert admitted(asking, [outer], [waiting], budget=budget())
    assert not admitted(claim("d again", place="d"), [outer], [waiting], budget=budget())


# Whatever the order


@dataclass(eq=False)
class Run:
    """A run that is to come, and those that come inside it while it holds its lease."""

    claim: Claim
    inside: list[Run] = field(default_factory=list)


BUDGET = budget(cpus=4, ram=8 * GB, gpus=(8, 8))


@dataclass
class World:
    """Runs that start, wait, are refused, end and die in any order."""

    chance: random.Random
    to_come: list[Run]
    holders: dict[str, Claim] = field(default_factory=dict)
    queue: list[Claim] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    may_kill: bool = False

    def budget_of(self, claim: Claim) -> Budget:
        lender = self.holders.get(claim.lender)
        return BUDGET if lender is None else within(self.budget_of(lender), lender)

    def arrive(self, run: Run) -> None:
        own = self.budget_of(run.claim)
        asked = run.claim.need
        reduced = replace(
            asked,
            cpus=min(asked.cpus, own.cpus),
            ram_bytes=min(asked.ram_bytes, own.ram_bytes),
            gpus=min(asked.gpus, len(own.gpus)),
            locks=asked.locks if not own.lender else _common(asked.locks, own.lender),
            exclusive=asked.exclusive and (not own.lender or own.lender.need.exclusive),
        )
        choices = tuple(gpu.uuid for gpu in own.gpus)
        claim = replace(run.claim, need=reduced, gpu_choices=choices)
        self.runs[claim.ticket] = run
        self.queue.append(claim)

    def ask(self, claim: Claim) -> bool:
        """Whether it waits no more."""
        ahead = self.queue[: self.queue.index(claim)]
        holders = list(self.holders.values())
        is_orphan = claim.lender and claim.lender not in self.holders
        if is_orphan or waits_for_itself(claim, holders, ahead):
            self.refused.append(claim.ticket)
            self.queue.remove(claim)
            return True
        own = self.budget_of(claim)
        answer = admit(claim, holders=holders, ahead=ahead, budget=own, gpus=own.gpus, memory=None)
        if isinstance(answer, Obstacle):
            return False
        self.queue.remove(claim)
        self.holders[claim.ticket] = replace(claim, gpus=answer.gpus)
        self.to_come += self.runs[claim.ticket].inside
        self.check()
        return True

    def can_end(self, holder: Claim) -> bool:
        inside = [run.claim for run in self.runs[holder.ticket].inside]
        left = {c.ticket for c in (*self.holders.values(), *self.queue)}
        left |= {run.claim.ticket for run in self.to_come}
        return not left.intersection(c.ticket for c in inside)

    def step(self) -> bool:
        """Do one thing that is possible; False if nothing is."""
        moves: list[Any] = [lambda run=run: self._come(run) for run in self.to_come]
        moves += [lambda claim=claim: self.ask(claim) for claim in self.queue]
        moves += [
            lambda holder=holder: self._end(holder)
            for holder in self.holders.values()
            if self.can_end(holder)
        ]
        self.chance.shuffle(moves)
        return any(move() for move in moves)

    def _come(self, run: Run) -> bool:
        self.to_come.remove(run)
        if not run.claim.lender or run.claim.lender in self.holders:
            self.arrive(run)
        return True

    def _end(self, holder: Claim) -> bool:
        del self.holders[holder.ticket]
        return True

    def kill(self) -> None:
        """Have a run die while what runs inside it still ends."""
        if self.holders:
            del self.holders[self.chance.choice(sorted(self.holders))]
            self.check()

    def check(self) -> None:
        """No lease is more than there is, and what is lent counts once."""
        everyone = list(self.holders.values())
        roots = [c for c in everyone if c.lender not in self.holders]
        _check(roots, BUDGET)
        for lender in everyone:
            mine = [c for c in everyone if c.lender == lender.ticket]
            _check(mine, within(BUDGET, lender))
            for each in mine:
                assert set(each.gpus) <= set(lender.gpus)
                assert set(each.need.locks) <= set(lender.need.locks)
        places = [c.place for c in everyone]
        assert len(places) == len(set(places))


def _common(locks: tuple[str, ...], lender: Claim) -> tuple[str, ...]:
    return tuple(sorted(set(locks) & set(lender.need.locks)))


def _check(held: list[Claim], limit: Budget) -> None:
    assert sum(c.need.cpus for c in held) <= limit.cpus
    assert sum(c.need.ram_bytes for c in held) <= limit.ram_bytes
    gpus = [uuid for c in held for uuid in c.gpus]
    assert len(gpus) == len(set(gpus))
    locks = [lock for c in held for lock in c.need.locks]
    assert len(locks) == len(set(locks))
    assert len(held) <= 1 or not any(c.need.exclusive for c in held)


needs = st.builds(
    need,
    cpus=st.sampled_from([0.5, 1, 2, 4]),
    ram=st.sampled_from([1, 2, 8]),
    gpus=st.integers(0, 2),
    locks=st.sets(st.sampled_from("xy")).map(tuple),
    exclusive=st.sampled_from([False, False, False, True]),
)


@st.composite
def forests(draw: st.DrawFn, *, places: int) -> list[Run]:
    """Up to nine runs, each inside one that came before it or inside none."""
    runs: list[Run] = []
    roots: list[Run] = []
    for number in range(draw(st.integers(1, 9))):
        name = str(number)
        lender = draw(st.sampled_from([None, *runs]))
        place = str(draw(st.integers(1, places))) if places else name
        inside = lender.claim.ticket if lender else ""
        run = Run(claim(name, inside=inside, need=draw(needs), place=place))
        (roots if lender is None else lender.inside).append(run)
        runs.append(run)
    return roots


def run_to_the_end(roots: list[Run], chance: random.Random, *, kills: int = 0) -> World:
    world = World(chance=chance, to_come=list(roots))
    kill_at = {chance.randrange(60) for _ in range(kills)}
    for step in range(10_000):
        if step in kill_at:
            world.kill()
        if not world.step():
            break
    assert not world.holders, "some hold and never end"
    assert not world.queue, "some wait for ever"
    return world


@given(forests(places=0), st.randoms(use_true_random=False))
def test_all_have_their_turn(roots: list[Run], chance: random.Random) -> None:
    """Runs inside runs never take more than there is, all end, and none is refused."""
    assert run_to_the_end(roots, chance).refused == []


@given(forests(places=2), st.randoms(use_true_random=False))
def test_directories_in_any_order(roots: list[Run], chance: random.Random) -> None:
    """With directories that several use no directory is used twice, and nobody waits for ever."""
    run_to_the_end(roots, chance)


@given(forests(places=2), st.randoms(use_true_random=False))
def test_deaths(roots: list[Run], chance: random.Random) -> None:
    """If a run dies before what runs inside it, the rest is still counted, and nobody waits for ever."""
    run_to_the_end(roots, chance, kills=3)
