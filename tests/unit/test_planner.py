"""What a planner sees of others and of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from machines import budget, need

from pytest_nbgroups.admission import Grant
from pytest_nbgroups.errors import LeaseError
from pytest_nbgroups.machine.pool import LeasePool, PoolSnapshot
from pytest_nbgroups.needs import SlowStart
from pytest_nbgroups.planner import Knowledge, Planner
from pytest_nbgroups.resources import Claim
from pytest_nbgroups.settings import Settings


def planner(pool: LeasePool) -> Planner:
    slow_start = SlowStart(default_bytes=1)
    knowledge = Knowledge(session="s", budget=budget(), slow_start=slow_start)
    return Planner(knowledge, Settings(rootdir=Path(), artifacts=Path()), pool)


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
