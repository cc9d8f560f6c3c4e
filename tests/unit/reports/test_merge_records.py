from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest
from report_samples import result

from pytest_nbgroups.core.errors import NbgroupsError
from pytest_nbgroups.core.events import ExperimentFinished
from pytest_nbgroups.core.resources import Budget
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.reports.merge_records import merge_sessions, read_shard
from pytest_nbgroups.reports.record import SessionRecord
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict
from pytest_nbgroups.reports.session_schema import session_schema
from pytest_nbgroups.scheduling.sharding import ShardRecord, shard_record

SPLIT = {"Brain": 1, "Heart": 2, "Lung": 1}
BUDGET = Budget(cpus=2.0, cpus_source="affinity", ram_bytes=1, ram_capacity_bytes=2, ram_source="x")

WriteShard: TypeAlias = Callable[..., Path]


def nodeid(name: str) -> str:
    return f"experiments/{name}::notebooks"


def record_of(index: int, *, count: int = 2, **options: Any) -> ShardRecord:
    split = {nodeid(name): shard for name, shard in options.get("split", SPLIT).items()}
    return shard_record(Shard(index=index, count=count, weights=options.get("weights")), split)


def metadata(index: int, shard: ShardRecord | None, **changes: Any) -> SessionMetadata:
    of = SessionMetadata(
        id=f"session-{index}",
        pytest_version="9.2.0",
        plugin_version="1.0",
        python_version="3.11.7",
        argv=("--run-experiments", f"--experiment-shard={index}/2"),
        rootdir=Path(f"/machine-{index}/repo"),
        started_at=1000.0 - index,
        finished_at=2000.0 + index,
        exit_status=index - 1,
        budget=BUDGET,
        warnings=("the same for all", f"of {index}"),
        shard=shard,
    )
    return replace(of, **changes)


@pytest.fixture
def shard(tmp_path: Path) -> WriteShard:
    """Write the record of a shard, in which the named experiments ran; give its folder."""
    numbers = itertools.count()

    def write(
        index: int,
        names: Sequence[str] = (),
        *,
        of: ShardRecord | None = None,
        **changes: Any,
    ) -> Path:
        record = SessionRecord()
        for name in names:
            ran = result("passed", name=name, started_at=1000.0 + len(name))
            event = ExperimentFinished(experiment=name, at=2000.0, result=ran)
            record.add(event, worker="gw0", nodeid=nodeid(name))
        folder = tmp_path / f"folder-{next(numbers)}"
        folder.mkdir()
        content = session_dict(record, metadata(index, of or record_of(index), **changes))
        (folder / "session.json").write_text(json.dumps(content))
        return folder

    return write


def merged(*folders: Path) -> dict[str, Any]:
    return merge_sessions([read_shard(folder) for folder in folders])


def told(*folders: Path) -> list[str]:
    """Why they are not merged, a line for each reason, without the folder that all lie in."""
    with pytest.raises(NbgroupsError) as raised:
        merged(*folders)
    return str(raised.value).replace(f"{folders[0].parent}/", "").splitlines()


def test_two_shards(shard: WriteShard) -> None:
    """Experiments are joined in the order in which they started, sessions are listed."""
    of = merged(shard(2, ["Heart"]), shard(1, ["Brain", "Lung"]))
    assert [(e["name"], e["attempts"][0]["started_at"]) for e in of["experiments"]] == [
        ("Lung", 1004.0),
        ("Brain", 1005.0),
        ("Heart", 1005.0),
    ]
    assert [(s["index"], s["nodeids"]) for s in of["shards"]] == [
        (1, [nodeid("Brain"), nodeid("Lung")]),
        (2, [nodeid("Heart")]),
    ]
    expected = metadata(2, None)
    second = of["shards"][1]
    for key in ("id", "started_at", "finished_at", "exit_status"):
        assert second[key] == getattr(expected, key)
    assert (second["rootdir"], second["workers"]) == ("/machine-2/repo", ["gw0"])
    assert second["argv"] == list(expected.argv)
    assert second["budget"]["cpus"] == 2.0


def test_what_is_told_of_the_whole(shard: WriteShard) -> None:
    """From the first start to the last end, the worst exit status, each warning once."""
    of = merged(shard(2, ["Heart"]), shard(1, ["Brain", "Lung"]))
    assert (of["started_at"], of["finished_at"], of["exit_status"]) == (998.0, 2002.0, 1)
    assert of["warnings"] == ["the same for all", "of 1", "of 2"]
    assert (of["shard"], of["budget"], of["workers"]) == (None, None, [])
    assert (of["rootdir"], of["plugin_version"]) == ("/machine-1/repo", "1.0")


def test_the_schema_describes_a_merged_record(shard: WriteShard) -> None:
    """Readers need not care how many machines there were."""
    of = merged(shard(1, ["Brain", "Lung"]), shard(2, ["Heart"]))
    jsonschema.Draft7Validator(session_schema()).validate(of)
    assert list(of) == list(session_schema()["properties"])
    (first, _) = of["shards"]
    assert list(first) == list(session_schema()["properties"]["shards"]["items"]["properties"])


def test_merging_again_gives_the_same(shard: WriteShard) -> None:
    """In whatever order the shell lists the folders."""
    folders = shard(1, ["Brain", "Lung"]), shard(2, ["Heart"])
    assert merged(*folders) == merged(*reversed(folders))
    assert re.fullmatch(r"1970-01-01T00-16-38Z-[0-9a-f]{6}", merged(*folders)["id"])


def test_a_shard_that_was_killed(shard: WriteShard) -> None:
    """Nobody knows when it ended, so nobody knows when all did."""
    killed = shard(2, ["Heart"], finished_at=None, exit_status=None)
    of = merged(shard(1, ["Brain", "Lung"]), killed)
    assert (of["finished_at"], of["exit_status"]) == (None, None)


def test_a_shard_with_nothing_to_do(shard: WriteShard) -> None:
    """No experiment may have fallen to it; its record is there all the same."""
    split = {"Brain": 1}
    folders = [shard(i, ["Brain"] * (i == 1), of=record_of(i, split=split)) for i in (1, 2)]
    assert [s["nodeids"] for s in merged(*folders)["shards"]] == [[nodeid("Brain")], []]


def test_what_a_test_of_the_users_ran(shard: WriteShard) -> None:
    """It is recorded with the test's node id, which no shard was given as an experiment."""
    of = merged(shard(1, ["Brain", "Lung", "in-a-test"]), shard(2, ["Heart"]))
    assert len(of["experiments"]) == 4


def test_a_missing_shard(shard: WriteShard) -> None:
    """Told with the files that there are."""
    three = [record_of(i, count=3) for i in (1, 2, 3)]
    folders = shard(1, ["Brain", "Lung"], of=three[0]), shard(2, ["Heart"], of=three[1])
    assert told(*folders) == [
        "shard 3/3 is missing among folder-0/session.json, folder-1/session.json"
    ]
    assert told(folders[1]) == ["shards 1/3, 3/3 are missing among folder-1/session.json"]


def test_a_shard_that_is_there_twice(shard: WriteShard) -> None:
    """As when a job was run again, and both artifacts were downloaded."""
    folders = shard(1, ["Brain", "Lung"]), shard(1, ["Brain", "Lung"]), shard(2, ["Heart"])
    assert told(*folders) == [
        (
            "folder-0/session.json (shard 1/2) and folder-1/session.json are of one shard; name one of "
            "them"
        )
    ]


def test_an_experiment_that_was_not_run(shard: WriteShard) -> None:
    """Its shard was killed before; all gaps are told at once."""
    assert told(shard(1, ["Brain"]), shard(2)) == [
        (
            "experiments/Lung::notebooks was not run: folder-0/session.json (shard 1/2) has no record of "
            "it; run that shard again"
        ),
        (
            "experiments/Heart::notebooks was not run: folder-1/session.json (shard 2/2) has no record of "
            "it; run that shard again"
        ),
    ]


def test_an_experiment_that_was_run_twice(shard: WriteShard) -> None:
    """Which is which cannot be told afterwards."""
    assert told(shard(1, ["Brain", "Lung"]), shard(2, ["Brain", "Heart"])) == [
        (
            "experiments/Brain::notebooks was run twice: in folder-0/session.json (shard 1/2) and in "
            "folder-1/session.json (shard 2/2)"
        )
    ]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            record_of(2, count=3),
            "they count their shards differently; give all the same N in --experiment-shard I/N",
        ),
        (
            record_of(2, split={**SPLIT, "Skin": 2}),
            "they have split different experiments; run all on one commit with the same arguments",
        ),
        (
            record_of(2, weights={"a": 1}),
            "their weights differ; give all the same file of --experiment-weights, or none",
        ),
    ],
)
def test_shards_of_different_runs(other: ShardRecord, reason: str, shard: WriteShard) -> None:
    """Nothing else is told of them: all would be gaps and doubles."""
    assert told(shard(1), shard(2, of=other)) == [
        (
            "folder-0/session.json (shard 1/2) and folder-1/session.json "
            f"(shard 2/{other.count}) are not of one run: {reason}"
        )
    ]


def unreadable(folder: Path, content: str) -> str:
    """What is said of a file with that content."""
    folder.mkdir(exist_ok=True)
    (folder / "session.json").write_text(content)
    with pytest.raises(NbgroupsError) as raised:
        read_shard(folder)
    return str(raised.value).replace(str(folder / "session.json"), "FILE")


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    """The artifact may not have been what was thought."""
    with pytest.raises(
        NbgroupsError, match=r"session\.json: cannot be read: .+; name the artifacts folder of each"
    ):
        read_shard(tmp_path)


def test_what_is_no_record_of_a_shard(tmp_path: Path) -> None:
    """Each with what to do about it."""
    record = session_dict(SessionRecord(), metadata(1, None))
    told = "FILE: is not JSON: "
    assert unreadable(tmp_path, "{").startswith(told)
    other = "FILE: is not a session record of schema 1; merge with the version of pytest-nbgroups that ran"
    for content in ("[]", '{"schema": 99}'):
        assert unreadable(tmp_path, content).startswith(other)
    assert unreadable(tmp_path, json.dumps(record)) == (
        "FILE: is not the record of a shard; run pytest with --experiment-shard"
    )
    del record["workers"], record["shard"]
    assert unreadable(tmp_path, json.dumps(record)).startswith(
        "FILE: lacks workers, shard; use one version of pytest-nbgroups for all shards"
    )


def test_a_damaged_record(shard: WriteShard, tmp_path: Path) -> None:
    """What it has of the wrong kind is named: all of it is relied on, and handed on."""
    record = json.loads((shard(1, ["Brain"]) / "session.json").read_text())
    for key, value, told in [
        ("warnings", 1, "warnings: expected array, got 1"),
        ("started_at", 1e30, "started_at: expected seconds since the epoch, got 1e+30"),
        ("started_at", -1, "started_at: expected seconds since the epoch, got -1"),
        ("shard", {**record["shard"], "count": "2"}, 'shard.count: expected integer, got "2"'),
        (
            "experiments",
            [{**record["experiments"][0], "attempts": []}],
            "experiments: one has no attempts",
        ),
    ]:
        content = json.dumps({**record, key: value})
        assert unreadable(tmp_path, content) == f"FILE: is damaged: {told}; run that shard again"


def test_more_missing_shards_than_can_be_listed(shard: WriteShard) -> None:
    """The first of them are, at once."""
    (line,) = told(shard(1, of=replace(record_of(1), count=10**18, nodeids=())))
    assert line.startswith(f"shards 2/{10**18}, 3/{10**18}, ")
    assert line.endswith(f" and {10**18 - 11} more are missing among folder-0/session.json")
