"""The engine seam: an order that went through ``pickle`` runs in another process, without pytest."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from workbench import Tree

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.events import CellStarted, Event, to_dict
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, NotebookOutcome
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.directory import Customization, read_experiments
from pytest_nbgroups.engines.local import LocalEngine
from pytest_nbgroups.engines.protocol import Order
from pytest_nbgroups.engines.session_start import open_session
from pytest_nbgroups.engines.this_machine import ThisMachine

pytestmark = pytest.mark.timeout(300)

ELSEWHERE = """
import pickle, sys
from contextlib import closing
from pathlib import Path
from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.engines.local import LocalEngine
from pytest_nbgroups.engines.this_machine import ThisMachine

order = pickle.loads(Path(sys.argv[1]).read_bytes())
events = []
with closing(LocalEngine(ThisMachine.open())) as engine:
    result = engine.run(order, events.append, cancellation=Cancellation())
loaded = sorted({"pytest", "_pytest", "xdist", "execnet"} & set(sys.modules))
Path(sys.argv[2]).write_bytes(pickle.dumps((events, result, loaded)))
"""
VARIES = {"at", "started_at", "duration_s", "granted_at", "waited_s", "usage", "lease"}
"""Keys of an event that are another value in each run."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What came out of an order."""

    events: list[Event]
    result: ExperimentResult


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    monkeypatch.setenv("NBGROUPS_POOL", str(tmp_path / ".pool"))
    yield tree
    tree.close()


def order_for(tree: Tree, name: str) -> Order:
    root = tree.root
    settings = Settings(
        rootdir=root, roots=(root / "experiments",), artifacts=root / ".experiments"
    )
    (experiment,) = read_experiments(
        root / "experiments" / name, settings, customization=Customization()
    )
    started = open_session(ThisMachine.open(), settings, session="one", started_at=time.time())
    with started as (knowledge, _history):
        env = {"PATH": "/usr/bin:/bin", "HOME": str(root), "SHOWN": "by the order"}
        return Order(experiment=experiment, settings=settings, env=env, knowledge=knowledge)


def carried_out(order: Order) -> Carried:
    events: list[Event] = []
    with closing(LocalEngine(ThisMachine.open())) as engine:
        result = engine.run(order, events.append, cancellation=Cancellation())
    return Carried(events=events, result=result)


def carried_out_elsewhere(order: Order, folder: Path) -> Carried:
    there, back = folder / "order.pickle", folder / "result.pickle"
    there.write_bytes(pickle.dumps(order))
    subprocess.run([sys.executable, "-c", ELSEWHERE, there, back], check=True, cwd=folder)
    events, result, loaded = pickle.loads(back.read_bytes())  # noqa: S301  our own
    assert loaded == []
    return Carried(events=events, result=result)


def lasting(value: object) -> object:
    """An event without what varies."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in VARIES}
    return [lasting(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["fails", "passes", "lacks"])
def test_the_same_events_and_result(tree: Tree, tmp_path: Path, name: str) -> None:
    """Of one that passes, one that fails, and one that does not begin."""
    tree.notebook("passes", "1-a.ipynb", "import os; print(os.environ['SHOWN'])")
    tree.notebook("passes", "2-b.ipynb", "pass")
    tree.notebook("fails", "1-a.ipynb", "print('x')", "1 / 0")
    tree.notebook("fails", "2-b.ipynb", "pass")
    tree.notebook("lacks", "1-a.ipynb", "pass")
    tree.toml("lacks", '[run]\nrequires = ["env:TOKEN"]\n')
    order = order_for(tree, name)
    here, elsewhere = carried_out(order), carried_out_elsewhere(order, tmp_path)
    outcomes = {"passes": "passed", "fails": "failed", "lacks": "skipped"}
    assert elsewhere.result.outcome == outcomes[name]
    assert [lasting(to_dict(e)) for e in elsewhere.events] == [
        lasting(to_dict(e)) for e in here.events
    ]
    assert elsewhere.events[-1].result.failure == here.result.failure  # type: ignore[union-attr]
    assert elsewhere.result.failure == here.result.failure


def test_an_order_that_is_cancelled(tree: Tree) -> None:
    """The running cell is interrupted, and the rest does not run."""
    tree.notebook("waits", "1-a.ipynb", "import time; time.sleep(600)")
    tree.notebook("waits", "2-b.ipynb", "pass")
    cancellation = Cancellation()

    def cancel(event: Event) -> None:
        if isinstance(event, CellStarted):
            cancellation.cancel("no longer wanted")

    with closing(LocalEngine(ThisMachine.open())) as engine:
        result = engine.run(order_for(tree, "waits"), cancel, cancellation=cancellation)
    assert result.outcome is ExperimentOutcome.INTERRUPTED
    assert [notebook.outcome for notebook in result.notebooks] == [
        NotebookOutcome.INTERRUPTED,
        NotebookOutcome.NOT_RUN,
    ]
