from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from report_samples import (
    GIB,
    HEART,
    NODEID,
    REASON,
    ROOT,
    cell_failure,
    failed,
    lease,
    passed,
    result,
    results,
    usage,
)

from pytest_nbgroups.core.events import ExperimentFinished
from pytest_nbgroups.core.model import ExperimentResult, Failure, FailureKind
from pytest_nbgroups.core.resources import Budget, Estimate, Gpu
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict, write_record
from pytest_nbgroups.reports.session_schema import TRACEBACK_LIMIT, session_schema
from pytest_nbgroups.scheduling.sharding import ShardRecord

GPU = Gpu(uuid="GPU-1", index=0, name="A100", total_bytes=80, free_bytes=70)
METADATA = SessionMetadata(
    id="2025-01-31T12-30-05Z-1a2b3c",
    pytest_version="9.2.0",
    plugin_version="1.0",
    python_version="3.11.7",
    argv=("--run-experiments", "-n", "2"),
    rootdir=ROOT,
    started_at=990.0,
    finished_at=1100.0,
    exit_status=1,
    budget=Budget(
        cpus=8.0,
        cpus_source="affinity",
        ram_bytes=17,
        ram_capacity_bytes=20,
        ram_source="cgroup",
        ram_domain="job 7",
        gpus=(GPU,),
    ),
    warnings=("history.sqlite: \x1b[31mread-only",),
    shard=ShardRecord(
        index=2, count=3, digest="d1", weights_digest=None, total=4, nodeids=(NODEID,)
    ),
)


TOLD = result(
    notebooks=(failed(usage=usage(gpu_bytes=GIB)),),
    warnings=("2-fit.ipynb: not saved",),
    reuse="reused 1 of 3 notebooks (2-fit.ipynb: its code has changed)",
    lease=lease(
        "GPU-1",
        need={"gpu_share_bytes": 8 * 10**9, "locks": ("slicer-data",), "exclusive": True},
        waited_s=180.0,
        waited_for=f"\x1b[1m{REASON}",
        notes=("cpus were \x07cut",),
    ),
    estimate=Estimate(runs=3, duration_s=70.0, peak_bytes=5 * GIB, cpus=1.5, gpu_bytes=0),
)


def data(*of: ExperimentResult, metadata: SessionMetadata = METADATA) -> dict[str, Any]:
    record = SessionRecord()
    for each in of:
        finished = ExperimentFinished(experiment=each.name, at=2000.0, result=each)
        record.add(finished, worker="gw1", nodeid=NODEID)
    return session_dict(record, metadata)


def strict(schema: Any) -> Any:
    """The schema with every key that it does not describe forbidden."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    return {**inner, "additionalProperties": False} if "properties" in inner else inner


def check(of: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(strict(session_schema())).validate(of)


def test_the_record_of_a_failure() -> None:
    """All of the file, literally."""
    failure = {
        "kind": "cell",
        "message": "ValueError: bad value",
        "cell": {
            "number": 5,
            "count": 12,
            "source": "data = load()\nfit(data)\n",
            "execution_count": 3,
            "line": 2,
        },
        "traceback": cell_failure().traceback,
        "output": "epoch 1\nepoch 2",
        "evidence": [],
        "remedy": "",
    }
    used = {"peak_bytes": 6 * GIB, "is_upper_bound": False, "cpu_s": 10.0, "gpu_bytes": GIB}
    notebook = {
        "name": "2-fit.ipynb",
        "outcome": "failed",
        "reason": None,
        "duration_s": 71.0,
        "kernel": "python3",
        "plain_start": None,
        "cells_total": 12,
        "cells_executed": 4,
        "executed_path": ".experiments/notebooks/Heart/2-fit.ipynb",
        "log_path": ".experiments/logs/Heart/2-fit.log",
        "usage": used,
        "failure": failure,
    }
    attempt = {
        "worker": "gw1",
        "started_at": 1000.0,
        "finished_at": 1074.214,
        "duration_s": 74.214,
        "outcome": "failed",
        "reason": "2-fit.ipynb, cell 5: ValueError: bad value",
        "reuse": "reused 1 of 3 notebooks (2-fit.ipynb: its code has changed)",
        "failure": None,
        "notebooks": [notebook],
        "warnings": ["2-fit.ipynb: not saved"],
        "lease": {
            "cpus": 4.0,
            "ram_bytes": 4_000_000_000,
            "ram_source": "declared",
            "gpus": ["GPU-1"],
            "gpu_share_bytes": 8_000_000_000,
            "locks": ["slicer-data"],
            "exclusive": True,
            "granted_at": 1000.0,
            "released_at": 1075.0,
            "waited_s": 180.0,
            "waited_for": REASON,
            "notes": ["cpus were cut"],
        },
        "usage": used,
        "estimate": {
            "runs": 3,
            "duration_s": 70.0,
            "peak_bytes": 5 * GIB,
            "cpus": 1.5,
            "gpu_bytes": 0,
        },
    }
    experiment = {
        "name": "Heart",
        "nodeid": NODEID,
        "directory": "experiments/Heart",
        "outcome": "failed",
        "reason": "2-fit.ipynb, cell 5: ValueError: bad value",
        "attempts": [attempt],
    }
    described = {
        "uuid": "GPU-1",
        "index": 0,
        "name": "A100",
        "total_bytes": 80,
        "free_bytes": 70,
        "utilization": 0.0,
        "unified": False,
        "usable": True,
        "parent_uuid": None,
    }
    budget = {
        "cpus": 8.0,
        "cpus_source": "affinity",
        "cpu_domain": "machine",
        "ram_bytes": 17,
        "ram_capacity_bytes": 20,
        "ram_source": "cgroup",
        "ram_is_size": False,
        "ram_domain": "job 7",
        "gpus": [described],
        "gpus_reason": "",
        "notes": [],
    }
    expected = {
        "schema": 1,
        "id": "2025-01-31T12-30-05Z-1a2b3c",
        "pytest_version": "9.2.0",
        "plugin_version": "1.0",
        "python_version": "3.11.7",
        "argv": ["--run-experiments", "-n", "2"],
        "rootdir": str(ROOT),
        "started_at": 990.0,
        "finished_at": 1100.0,
        "exit_status": 1,
        "budget": budget,
        "workers": ["gw1"],
        "warnings": ["history.sqlite: read-only"],
        "shard": {
            "index": 2,
            "count": 3,
            "digest": "d1",
            "weights_digest": None,
            "total": 4,
            "nodeids": [NODEID],
        },
        "shards": [],
        "experiments": [experiment],
    }
    of = data(TOLD)
    assert of == expected
    assert json.dumps(of) == json.dumps(expected), "the order of the keys is fixed"


@pytest.mark.parametrize(
    "of",
    [
        (),
        (result(),),
        (result(), result("passed", started_at=3000.0)),
        (result("skipped", reason="needs Docker"),),
        (result("interrupted"),),
        (TOLD,),
        (result(lease=lease(released_at=None), estimate=Estimate(runs=1)),),
        (result(error=Failure(kind=FailureKind.DECLARATION, message="bad")),),
    ],
)
def test_the_schema_describes_what_is_written(of: tuple[ExperimentResult, ...]) -> None:
    """Each key that occurs is described, and each that is described occurs."""
    check(data(*of))


def test_the_schema_describes_a_session_that_knows_little() -> None:
    """One that has not ended yet."""
    little = replace(METADATA, budget=None, finished_at=None, exit_status=None, shard=None)
    check(data(metadata=little))


@pytest.mark.parametrize(
    "path",
    [
        ("schema",),
        ("budget", "gpus", 0, "uuid"),
        ("experiments", 0, "attempts", 0, "notebooks", 0, "failure", "cell", "number"),
        ("experiments", 0, "attempts", 0, "notebooks", 0, "usage", "gpu_bytes"),
        ("experiments", 0, "attempts", 0, "lease", "released_at"),
        ("experiments", 0, "attempts", 0, "estimate", "runs"),
    ],
)
def test_the_schema_rejects_what_is_missing(path: tuple[Any, ...]) -> None:
    """A reader may rely on every key."""
    of = copy.deepcopy(data(TOLD))
    inner: Any = of
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    with pytest.raises(jsonschema.ValidationError):
        check(of)


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every property that the schema has, at any depth."""
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
        yield from properties(inner)
    if "items" in schema:
        yield from properties(schema["items"])


def test_the_schema_explains_every_key() -> None:
    """The page of the documentation is made from it."""
    jsonschema.Draft7Validator.check_schema(session_schema())
    described = list(properties(session_schema()))
    assert len(described) > 60
    for name, inner in described:
        assert inner["description"].endswith((".", "null.")), name


def test_a_rerun_is_a_second_attempt() -> None:
    """The experiment's outcome is that of the last one."""
    (experiment,) = data(result(), result("passed", started_at=3000.0))["experiments"]
    assert [attempt["outcome"] for attempt in experiment["attempts"]] == ["failed", "passed"]
    assert (experiment["outcome"], experiment["reason"]) == ("passed", None)


def test_the_leases_of_a_session_add_up_over_time() -> None:
    """What was held at any time can be told from the file alone."""
    first = result(lease=lease(granted_at=1000.0, released_at=1060.0))
    second = result(
        name="Lung", lease=lease(need={"cpus": 2.0}, granted_at=1030.0, released_at=1090.0)
    )
    leases = [
        attempt["lease"]
        for experiment in data(first, second)["experiments"]
        for attempt in experiment["attempts"]
    ]

    def held(at: float) -> list[float]:
        return [e["cpus"] for e in leases if e["granted_at"] <= at < e["released_at"]]

    assert [sum(held(at)) for at in (999.0, 1000.0, 1030.0, 1060.0, 1090.0)] == [0, 4, 6, 2, 0]


def test_without_workers_there_is_none() -> None:
    """Null, not an empty name."""
    record = SessionRecord()
    finished = ExperimentFinished(experiment="Heart", at=1.0, result=result())
    record.add(finished, worker="", nodeid=NODEID)
    of = session_dict(record, METADATA)
    assert of["experiments"][0]["attempts"][0]["worker"] is None
    assert of["workers"] == []


def test_a_long_traceback_keeps_its_ends() -> None:
    """The error is at one of them; a library may put megabytes of values beside it."""
    failure = cell_failure(traceback=f"first{'x' * 30_000}last")
    (experiment,) = data(result(notebooks=(failed(failure=failure),)))["experiments"]
    told = experiment["attempts"][0]["notebooks"][0]["failure"]["traceback"]
    assert len(told) <= TRACEBACK_LIMIT
    assert told.startswith("firstx")
    assert " … 10,049 characters left out … " in told
    assert told.endswith("xlast")


def test_the_schema_says_what_is_kept_and_what_is_usable() -> None:
    """The descriptions are what a reader of the file goes by."""
    said = dict(properties(session_schema()))
    assert said["traceback"]["description"].endswith(
        "only the beginning and the end if it has more than 20,000 characters."
    )
    assert said["usable"]["description"] == "True if its compute mode lets programs use it."


def test_paths_outside_of_the_rootdir_are_absolute() -> None:
    """``--experiment-artifacts`` may name any folder."""
    notebook = passed(executed_path=Path("/scratch/a.ipynb"))
    metadata = replace(METADATA, rootdir=HEART / "inner")
    (experiment,) = data(result(notebooks=(notebook,)), metadata=metadata)["experiments"]
    assert experiment["directory"] == "/repo/experiments/Heart"
    assert experiment["attempts"][0]["notebooks"][0]["executed_path"] == "/scratch/a.ipynb"


@given(results())
def test_any_result_is_written_without_escapes(of: ExperimentResult) -> None:
    """Whatever a notebook prints, the file is valid, plain JSON."""
    read = json.loads(json.dumps(data(of)))
    check(read)
    (experiment,) = read["experiments"]
    assert "\x1b" not in str(experiment["attempts"])


def test_the_record_is_written_twice(tmp_path: Path) -> None:
    """By its name, and as the newest, in a folder that git ignores."""
    folder = tmp_path / ".experiments"
    assert write_record(folder, data(result())) == ()
    named = folder / "sessions" / "2025-01-31T12-30-05Z-1a2b3c.json"
    assert json.loads(named.read_text()) == data(result())
    assert (folder / "session.json").read_text() == named.read_text()
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_record_that_is_too_deep(tmp_path: Path) -> None:
    """A shard's record may have keys that are not ours."""
    deep: list[object] = []
    for _ in range(10_000):  # more than any stack here, however much of it is in use
        deep = [deep]
    (warning,) = write_record(tmp_path, {**data(), "other": deep})
    assert warning.startswith(f"{tmp_path}: the session record could not be written: maximum ")


def test_an_unwritable_folder_is_a_warning(tmp_path: Path) -> None:
    """It costs no result."""
    folder = tmp_path / "file"
    folder.write_text("")
    (warning,) = write_record(folder, data())
    assert re.fullmatch(
        rf"{re.escape(str(folder))}: the session record could not be written: \w.+", warning
    )
