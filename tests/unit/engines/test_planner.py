"""What a planner sees of others and of the machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from machines import GB, budget, need

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Budget, Claim, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import Knowledge, Planner, Surroundings
from pytest_nbgroups.leases.pool import LeasePool, PoolSnapshot
from pytest_nbgroups.scheduling.admission import Grant
from pytest_nbgroups.scheduling.lending import within
from pytest_nbgroups.scheduling.needs import SlowStart


def planner(pool: LeasePool, *, budget: Budget = budget(), **settings: Any) -> Planner:  # noqa: B008
    slow_start = SlowStart(default_bytes=1)
    knowledge = Knowledge(session="s", budget=budget, slow_start=slow_start)
    return Planner(knowledge, Settings(rootdir=Path(), artifacts=Path(), **settings), pool)


def claim(experiment: str) -> Claim:
    return Claim(need=need(), experiment=experiment, session="s")


def test_who_else_holds_a_lease(tmp_path: Path) -> None:
    """Not oneself, though what one uses has changed since; also another run of the same name."""
    pool = LeasePool(tmp_path / "pool")

    def admit(*_: object) -> Grant:
        return Grant()

    with (
        pool.lease(claim("Heart"), admission=admit) as heart,
        pool.lease(claim("Lung"), admission=admit) as lung,
        pool.lease(claim("Heart"), admission=admit),
    ):
        heart.update(5)
        lung.update(7)
        found = planner(pool).others(heart.claim)
    assert [(other.experiment, other.used_bytes) for other in found] == [("Lung", 7), ("Heart", 0)]


def test_a_pool_that_cannot_be_used() -> None:
    """When a death is explained nothing else may fail."""

    class Broken:
        def snapshot(self) -> PoolSnapshot:
            raise LeaseError("gone")

    assert planner(cast("LeasePool", Broken())).others(claim("Heart")) == ()


def test_the_counts_of_this_machine(tmp_path: Path) -> None:
    """They can be read again and again."""
    here = planner(LeasePool(tmp_path / "pool"))
    assert here.kill_counts().machine.name == here.kill_counts().machine.name == "the machine"


# Inside an experiment

OUTER = Claim(
    need=need(2, 4), experiment="Outer", session="o", ticket="outer", place="/o::notebooks"
)


@pytest.fixture
def inside(tmp_path: Path) -> Planner:
    """A planner of a session that runs in Outer's lease."""
    return planner(LeasePool(tmp_path / "pool"), budget=within(budget(), OUTER))


def test_a_claim_inside(inside: Planner) -> None:
    """It names its lender, and its limits are those of the lease."""
    made = inside.claim("In", "in::notebooks", need())
    assert (made.lender, made.cpu_limit, made.ram_limit_bytes) == ("outer", 2, 4 * GB)


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_too_little(tmp_path: Path, policy: Literal["skip", "fail"]) -> None:
    """What the lender lacks is a failure; a GPU that is not there is what it is on any machine."""
    pool = LeasePool(tmp_path / "pool")
    inside = planner(pool, budget=within(budget(), OUTER), unmet=policy)
    cpus, gpu = inside.never(Resources(cpus=3)), inside.never(Resources(gpus=1))
    assert inside.never(Resources(cpus=2)) is None
    assert cpus is not None
    assert gpu is not None
    assert cpus.reason.startswith(
        "needs 3 cpus; this run is inside Outer, whose lease holds 2 cpus"
    )
    assert gpu.reason.startswith("needs 1 GPU; this run is inside Outer, whose lease holds none")
    assert (cpus.fails, gpu.fails) == (True, policy == "fail")
    assert inside.fitting([("A", Resources(cpus=3)), ("B", Resources())]).experiments == 1


@pytest.mark.parametrize(
    ("place", "holders", "reason"),
    [
        ("/i", [], "Outer, inside which this run is, no longer holds its lease"),
        (
            "/o::notebooks",
            [OUTER],
            "it would wait for itself: its directory is in use by Outer, inside which this run is",
        ),
        (
            "/b",
            [
                OUTER,
                Claim(need=need(), experiment="B", session="b", ticket="b", place="/b"),
                replace(OUTER, ticket="inner", experiment="In", lender="b", session="i"),
            ],
            (
                "it would wait for itself: its directory is in use by B, which waits for the end of "
                "Outer, inside which this run is; let only one of them run the other"
            ),
        ),
    ],
)
def test_no_wait_without_end(
    inside: Planner, place: str, holders: list[Claim], reason: str
) -> None:
    """What could never be granted is refused at once; the controller sends it to be refused."""
    claim = inside.claim("In", "in::notebooks", need(), place=place)
    waiting = [each for each in holders if each.ticket == "inner"]
    held = [each for each in holders if each not in waiting]
    with pytest.raises(LeaseError, match=f"^{re.escape(reason)}$"):
        inside.admission(claim, held, waiting)
    snapshot = PoolSnapshot(holders=tuple(held), waiting=tuple(waiting))
    around = Surroundings(snapshot=snapshot, gpus=(), memory=None)
    assert inside.verdict(claim, [], around) == "start"


def test_what_the_lease_has_room_for(inside: Planner) -> None:
    """A full machine is no obstacle inside a lease; another borrower of it is."""
    full = replace(OUTER, ticket="full", experiment="Full", need=need(2, 12), place="")
    claim = inside.claim("In", "in::notebooks", need(2))
    assert isinstance(inside.admission(claim, [OUTER, full], [full]), Grant)
    borrower = replace(claim, ticket="borrower", session="other")
    around = Surroundings(snapshot=PoolSnapshot(holders=(OUTER, borrower)), gpus=(), memory=None)
    assert inside.verdict(claim, [], around) == "others"
    alone = replace(around, snapshot=PoolSnapshot(holders=(OUTER, full)))
    assert inside.verdict(claim, [], alone) == "start"


def test_what_runs_inside_is_no_neighbour(tmp_path: Path) -> None:
    """When a death is explained an experiment is not blamed on what it runs itself."""
    pool = LeasePool(tmp_path / "pool")
    with (
        pool.lease(claim("Outer"), admission=lambda *_: Grant()) as outer,
        pool.lease(
            replace(claim("In"), lender=outer.claim.ticket), admission=lambda *_: Grant()
        ) as inner,
        pool.lease(claim("Lung"), admission=lambda *_: Grant()),
    ):
        found = [planner(pool).others(each.claim) for each in (outer, inner)]
    assert [[other.experiment for other in others] for others in found] == [["Lung"], ["Lung"]]
