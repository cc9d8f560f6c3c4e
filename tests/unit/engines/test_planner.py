"""What a planner decides: claims, refusals and admission inside a lease."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from machines import GB, budget, need

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Budget, Claim, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import MachineState, Planner
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.machine.readings import Readings
from pytest_nbgroups.scheduling.admission import Grant
from pytest_nbgroups.scheduling.lending import within
from pytest_nbgroups.scheduling.needs import SlowStart


def planner(*, budget: Budget, **settings: Any) -> Planner:
    slow_start = SlowStart(default_bytes=1)
    knowledge = Knowledge(session="s", budget=budget, slow_start=slow_start)
    return Planner(knowledge, Settings(rootdir=Path(), artifacts=Path(), **settings))


# Inside an experiment

OUTER = Claim(
    need=need(2, 4), experiment="Outer", session="o", ticket="outer", place="/o::notebooks"
)


@pytest.fixture
def inside() -> Planner:
    """A planner of a session that runs in Outer's lease."""
    return planner(budget=within(budget(), OUTER))


def test_a_claim_inside(inside: Planner) -> None:
    """It names its lender, and its limits are those of the lease."""
    made = inside.claim("In", "in::notebooks", need())
    assert (made.lender, made.cpu_limit, made.ram_limit_bytes) == ("outer", 2, 4 * GB)


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_too_little(policy: Literal["skip", "fail"]) -> None:
    """What the lender lacks is a failure; a GPU that is not there is what it is on any machine."""
    inside = planner(budget=within(budget(), OUTER), unmet=policy)
    cpus, gpu = inside.refusal(Resources(cpus=3)), inside.refusal(Resources(gpus=1))
    assert inside.refusal(Resources(cpus=2)).runs
    assert cpus.reason.startswith(
        "needs 3 cpus; this run is inside Outer, whose lease holds 2 cpus"
    )
    assert gpu.reason.startswith("needs 1 GPU; this run is inside Outer, whose lease holds none")
    assert cpus.outcome == "failed"
    assert gpu.outcome == ("failed" if policy == "fail" else "skipped")
    assert inside.fitting([("A", Resources(cpus=3)), ("B", Resources())]).experiments == 1


@pytest.mark.parametrize(
    ("place", "holders", "reason"),
    [
        ("/i", [], "this run is inside Outer, which no longer holds its lease"),
        (
            "/o::notebooks",
            [OUTER],
            "it would wait for itself: its directory is in use by Outer, and this run is inside Outer",
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
                "Outer, and this run is inside Outer; let only one of them run the other"
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
        inside.admission(Readings(), claim, held, waiting)
    state = MachineState(holders=tuple(held), waiting=tuple(waiting))
    assert inside.verdict(claim, [], state) == "start"


def test_what_the_lease_has_room_for(inside: Planner) -> None:
    """A full machine is no obstacle inside a lease; another borrower of it is."""
    full = replace(OUTER, ticket="full", experiment="Full", need=need(2, 12), place="")
    claim = inside.claim("In", "in::notebooks", need(2))
    assert isinstance(inside.admission(Readings(), claim, [OUTER, full], [full]), Grant)
    borrower = replace(claim, ticket="borrower", session="other")
    beside = MachineState(holders=(OUTER, borrower))
    assert inside.verdict(claim, [], beside) == "others"
    alone = MachineState(holders=(OUTER, full))
    assert inside.verdict(claim, [], alone) == "start"
