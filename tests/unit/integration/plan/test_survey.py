"""From candidates to a plan, by a planner of a machine on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import budget

from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.core.resources import Estimate, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.integration.plan.survey import AskedWorkers, Candidate, make_plan
from pytest_nbgroups.reports.plan import Plan
from pytest_nbgroups.scheduling.needs import SlowStart

TWO = AskedWorkers(count=2, dist="load")
DURATIONS = {"A": 1.0, "B": 3.0, "C": 2.0}


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    knowledge = Knowledge(
        session="s",
        budget=budget(),
        slow_start=SlowStart(default_bytes=1),
        estimates={name: Estimate(runs=1, duration_s=s) for name, s in DURATIONS.items()},
    )
    settings = Settings(rootdir=tmp_path, artifacts=tmp_path / ".experiments")
    return Planner(knowledge, settings)


def candidates(*names: str, **changes: Any) -> list[Candidate]:
    found = []
    for position, name in enumerate(names):
        notebooks = tuple(Notebook(path=Path(f"{number}.ipynb")) for number in (1, 2))
        experiment = Experiment(name=name, directory=Path(name), notebooks=notebooks)
        made = Candidate(
            nodeid=f"{name}::notebooks",
            position=position,
            resources=Resources(cpus=1),
            experiment=experiment,
        )
        found.append(replace(made, **changes))
    return found


def names(plan: Plan) -> list[str]:
    return [experiment.name for experiment in plan.experiments]


@pytest.mark.parametrize(
    ("asked", "order", "expected"),
    [
        (TWO, "longest first", ["B", "C", "A"]),
        (replace(TWO, dist="loadfile"), "--dist loadfile, in the order of collection", list("ABC")),
        (
            AskedWorkers(count=0, dist="no"),
            "one at a time, in the order of collection",
            list("ABC"),
        ),
    ],
)
def test_the_order(planner: Planner, asked: AskedWorkers, order: str, expected: list[str]) -> None:
    """Only ``--dist load`` has an order of its own."""
    plan = make_plan(candidates("A", "B", "C"), planner, asked, tests=7)
    assert (names(plan), plan.order, plan.tests) == (expected, order, 7)


def test_what_does_not_run_comes_last(planner: Planner) -> None:
    """It takes no time; where nothing runs there is nothing to predict."""
    first, second = candidates("B", "C")
    idle = replace(first, obstacle="skipped: later")
    plan = make_plan([idle, second], planner, TWO, tests=0)
    assert names(plan) == ["C", "B"]
    assert plan.experiments[1].obstacle == "skipped: later"
    assert plan.outlook is not None
    assert make_plan([idle], planner, TWO, tests=0).outlook is None


def test_a_declaration_that_cannot_be_read(planner: Planner) -> None:
    """Neither its notebooks nor its needs are known."""
    (made,) = candidates("A", notebooks="1 of 2")
    assert made.experiment is not None
    broken = replace(made.experiment, problem="bad TOML", notebooks=())
    shown = [
        make_plan([replace(made, experiment=each)], planner, TWO, tests=0).experiments[0]
        for each in (made.experiment, broken)
    ]
    assert [each.notebooks for each in shown] == ["1 of 2", ""]
    assert [each.need is None for each in shown] == [False, True]


def test_remarks(planner: Planner) -> None:
    """A test, what is reused, and kin that may not run beside it."""
    a, b = candidates("A", "B", family="experiments/A")
    assert make_plan([a], planner, TWO, tests=0).experiments[0].remarks == ()
    told = {
        each.name: each.remarks
        for each in make_plan(
            [replace(a, reuse="reuses 1 of 2"), b], planner, TWO, tests=0
        ).experiments
    }
    kin = "not beside others in experiments/A"
    assert told == {"A": ("reuses 1 of 2", kin), "B": (kin,)}
    test = Candidate(nodeid="t.py::test", position=0, resources=Resources())
    (planned,) = make_plan([test], planner, TWO, tests=0).experiments
    assert (planned.name, planned.notebooks) == ("t.py::test", "")
    assert planned.remarks == ("a test that runs an experiment",)
