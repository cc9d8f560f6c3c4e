"""Values that the tests of the reports share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pytest_nbgroups.core.events import (
    CellStarted,
    ExperimentFinished,
    ExperimentStarted,
    ExperimentWaiting,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.core.model import (
    CellReference,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Estimate, Gpu, Lease, Need, Usage
from pytest_nbgroups.reports.record import ExperimentRecord, SessionRecord

ROOT = Path("/repo")
HEART = ROOT / "experiments" / "Heart"
NODEID = "experiments/Heart::notebooks"
NAMES = ("1-load.ipynb", "2-fit.ipynb", "3-eval.ipynb")

GIB = 2**30
REASON = "needs 1 gpu; held by Lung (pid 4242, anna, 12min)"

TRACEBACK = """\
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[3], line 2
      1 data = load()
----> 2 fit(data)

File ~/repo/fitting.py:11, in fit(data)
     10 if not data:
---> 11     raise ValueError("bad value")

ValueError: bad value"""


def cell_failure(**changes: Any) -> Failure:
    values: dict[str, Any] = {
        "kind": FailureKind.CELL,
        "message": "ValueError: bad value",
        "cell": CellReference(
            number=5, count=12, source="data = load()\nfit(data)\n", execution_count=3, line=2
        ),
        "traceback": TRACEBACK,
        "output": "epoch 1\nepoch 2",
    }
    return Failure(**{**values, **changes})


def passed(name: str = NAMES[0], **changes: Any) -> NotebookResult:
    values: dict[str, Any] = {
        "outcome": NotebookOutcome.PASSED,
        "duration_s": 3.214,
        "kernel": "python3",
        "cells_total": 4,
        "cells_executed": 3,
    }
    return NotebookResult(name=name, **{**values, **changes})


def failed(name: str = NAMES[1], **changes: Any) -> NotebookResult:
    values: dict[str, Any] = {
        "outcome": NotebookOutcome.FAILED,
        "duration_s": 71.0,
        "kernel": "python3",
        "cells_total": 12,
        "cells_executed": 4,
        "executed_path": ROOT / ".experiments" / "notebooks" / "Heart" / name,
        "log_path": ROOT / ".experiments" / "logs" / "Heart" / f"{Path(name).stem}.log",
        "failure": cell_failure(),
    }
    return NotebookResult(name=name, **{**values, **changes})


def reused(name: str = NAMES[0]) -> NotebookResult:
    return NotebookResult(name=name, outcome=NotebookOutcome.REUSED, kernel="python3")


def unrun(name: str = NAMES[2]) -> NotebookResult:
    return NotebookResult(name=name, outcome=NotebookOutcome.NOT_RUN)


def result(outcome: str = "failed", **changes: Any) -> ExperimentResult:
    values: dict[str, Any] = {
        "name": "Heart",
        "directory": HEART,
        "outcome": ExperimentOutcome(outcome),
        "started_at": 1000.0,
        "duration_s": 74.214,
    }
    if outcome == "failed":
        values["notebooks"] = (passed(), failed(), unrun())
    if outcome == "passed":
        values["notebooks"] = tuple(map(passed, NAMES))
    return ExperimentResult(**{**values, **changes})


def lease(*gpus: str, need: Mapping[str, Any] | None = None, **changes: Any) -> Lease:
    """A lease of these GPUs, and of what its need is changed to."""
    needed: dict[str, Any] = {"cpus": 4.0, "ram_bytes": 4 * 10**9, "ram_source": "declared"}
    values: dict[str, Any] = {
        "need": Need(**{**needed, "gpus": len(gpus), **(need or {})}),
        "gpus": gpus,
        "granted_at": 1000.0,
        "released_at": 1075.0,
    }
    return Lease(**{**values, **changes})


def usage(peak_bytes: int = 6 * GIB, **changes: Any) -> Usage:
    return Usage(**{"peak_bytes": peak_bytes, "cpu_s": 10.0, **changes})


def gpu(index: int, **changes: Any) -> Gpu:
    values: dict[str, Any] = {"uuid": f"GPU-{index}", "name": "A100", "total_bytes": 80 * GIB}
    return Gpu(**{**values, "index": index, "free_bytes": 70 * GIB, **changes})


def recorded(*results: ExperimentResult, worker: str = "") -> tuple[ExperimentRecord, ...]:
    """A record of experiments that came to these results."""
    record = SessionRecord()
    for each in results:
        finished = ExperimentFinished(experiment=each.name, at=2000.0, result=each)
        record.add(finished, worker=worker, nodeid=f"experiments/{each.name}::notebooks")
    return record.experiments()


def started(at: float = 1000.0, **changes: Any) -> ExperimentStarted:
    values: dict[str, Any] = {"experiment": "Heart", "directory": HEART, "notebooks": NAMES}
    return ExperimentStarted(**{**values, "at": at, **changes})


def waiting(at: float = 900.0, **changes: Any) -> ExperimentWaiting:
    return ExperimentWaiting(**{"experiment": "Heart", "reason": REASON, "at": at, **changes})


def notebook_started(number: int, at: float, **changes: Any) -> NotebookStarted:
    values: dict[str, Any] = {"experiment": "Heart", "notebook": NAMES[number - 1], "count": 3}
    return NotebookStarted(**{**values, "number": number, "at": at, **changes})


def cell_started(number: int, at: float, **changes: Any) -> CellStarted:
    values: dict[str, Any] = {"experiment": "Heart", "notebook": NAMES[1], "count": 12}
    return CellStarted(**{**values, "number": number, "at": at, **changes})


def notebook_finished(number: int, at: float, outcome: NotebookResult) -> NotebookFinished:
    return NotebookFinished(experiment="Heart", at=at, number=number, count=3, result=outcome)


texts = st.text(max_size=60) | st.text(
    alphabet="a|`<>&\\*_[]%:,\n\r\t\x1b\x07\x85\u2028\u202e\ud800漢é\u0301 ~$#\"'", max_size=60
)
"""Any text, and texts of what is special somewhere."""


@st.composite
def failures(draw: st.DrawFn) -> Failure:
    cell = CellReference(
        number=draw(st.integers(1, 9)),
        count=9,
        source=draw(texts),
        execution_count=draw(st.none() | st.integers(1, 99)),
        line=draw(st.none() | st.integers(1, 3)),
    )
    return Failure(
        kind=draw(st.sampled_from(FailureKind)),
        message=draw(texts),
        cell=draw(st.none() | st.just(cell)),
        traceback=draw(texts),
        output=draw(texts),
        evidence=tuple(draw(st.lists(texts, max_size=2))),
        remedy=draw(texts),
    )


counts = st.integers(0, 2**45)
times = st.floats(0, 1e6)
usages = st.builds(
    Usage,
    peak_bytes=counts,
    is_upper_bound=st.booleans(),
    cpu_s=times,
    gpu_bytes=st.none() | counts,
)
needs = st.builds(
    Need,
    cpus=st.floats(0.1, 64),
    ram_bytes=counts,
    ram_source=st.sampled_from(["declared", "history", "slow start"]),
    gpu_share_bytes=st.none() | counts,
    locks=st.lists(texts, max_size=2).map(tuple),
    exclusive=st.booleans(),
)
leases = st.builds(
    Lease,
    need=needs,
    gpus=st.lists(st.sampled_from(["GPU-1", "MIG-7a6b5c4d-1"]), max_size=2).map(tuple),
    waited_s=times,
    waited_for=texts,
    granted_at=times,
    released_at=st.none() | times,
    notes=st.lists(texts, max_size=2).map(tuple),
)
estimates = st.builds(
    Estimate,
    runs=st.integers(0, 9),
    duration_s=st.none() | times,
    peak_bytes=st.none() | counts,
    cpus=st.none() | times,
    gpu_bytes=st.none() | counts,
)


@st.composite
def results(draw: st.DrawFn) -> ExperimentResult:
    notebooks = st.builds(
        NotebookResult,
        name=texts,
        outcome=st.sampled_from(NotebookOutcome),
        reason=st.none() | texts,
        usage=st.none() | usages,
        failure=st.none() | failures(),
    )
    return ExperimentResult(
        name=draw(texts),
        directory=HEART,
        outcome=draw(st.sampled_from(ExperimentOutcome)),
        reason=draw(st.none() | texts),
        notebooks=tuple(draw(st.lists(notebooks, max_size=3))),
        duration_s=draw(times),
        lease=draw(st.none() | leases),
        estimate=draw(st.none() | estimates),
        error=draw(st.none() | failures()),
    )
