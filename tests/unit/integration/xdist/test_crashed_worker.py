"""What the controller tells of a worker that died."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from report_samples import HEART, NAMES, NODEID, ROOT, started

from pytest_nbgroups.core.model import Experiment, Notebook
from pytest_nbgroups.integration.terminal import ExperimentReporter
from pytest_nbgroups.reports.record import SessionRecord

AT = ROOT / "experiments" / "CT@2"
EXPERIMENTS = (
    Experiment(
        name="Heart",
        directory=HEART,
        notebooks=tuple(Notebook(path=HEART / name) for name in NAMES),
    ),
    Experiment(name="CT@2", directory=AT, notebooks=(Notebook(path=AT / "a.ipynb"),)),
    Experiment(
        name="CT@2/b@c", directory=AT, notebooks=(Notebook(path=AT / "b@c.ipynb"),), member="b@c"
    ),
)


def reporter(saved: list[SessionRecord]) -> ExperimentReporter:
    facts: Any = SimpleNamespace(config=SimpleNamespace(rootpath=ROOT), experiments=EXPERIMENTS)
    made = ExperimentReporter(facts=facts, has_workers=True)
    made.__dict__["summary"] = SimpleNamespace(save=saved.append)
    return made


@pytest.mark.parametrize(
    ("told", "nodeid", "name"),
    [
        (NODEID, NODEID, "Heart"),
        (f"{NODEID}@experiments/Heart", NODEID, "Heart"),
        ("experiments/CT@2::notebooks", "experiments/CT@2::notebooks", "CT@2"),
        ("experiments/CT@2::notebooks@experiments/CT@2", "experiments/CT@2::notebooks", "CT@2"),
        ("experiments/CT@2::b@c", "experiments/CT@2::b@c", "CT@2/b@c"),
        ("experiments/CT@2::b@c@experiments/CT@2::b@c", "experiments/CT@2::b@c", "CT@2/b@c"),
    ],
)
def test_a_worker_that_died_at_an_experiment(told: str, nodeid: str, name: str) -> None:
    """It is found by its node id, to which ``--dist loadgroup`` adds its group, and told in full."""
    saved: list[SessionRecord] = []
    reports = reporter(saved)
    reports.worker_crashed(told, worker="gw1", message="worker gw1 crashed")
    (experiment,) = reports.record.experiments()
    declared = next(e for e in EXPERIMENTS if e.name == name)
    assert (experiment.nodeid, experiment.result.name) == (nodeid, name)
    assert experiment.result.directory == declared.directory
    assert [(n.name, n.outcome.value) for n in experiment.result.notebooks] == [
        (notebook.name, "not_run") for notebook in declared.notebooks
    ]
    assert saved == [reports.record]


@pytest.mark.parametrize("nodeid", ["test_it.py::test_it[a@b]", "test_it.py::test_it[a@b]@g"])
def test_a_worker_that_died_in_a_test_that_runs_one(nodeid: str) -> None:
    """The events of a test carry its group as well: what runs is found by the node id as it is."""
    reports = reporter([])
    reports.record.add(started(), worker="gw1", nodeid=nodeid)
    reports.worker_crashed(nodeid, worker="gw1", message="worker gw1 crashed")
    (experiment,) = reports.record.experiments()
    assert (experiment.nodeid, experiment.result.outcome) == (nodeid, "failed")
    assert reports.record.running() == ()


def test_a_worker_that_died_in_another_test() -> None:
    """That is pytest-xdist's to tell."""
    saved: list[SessionRecord] = []
    reports = reporter(saved)
    reports.worker_crashed("test_it.py::test_it@g", worker="gw1", message="worker gw1 crashed")
    assert (reports.record.experiments(), saved) == ((), [])
