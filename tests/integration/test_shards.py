"""Each machine of a CI matrix runs its part, and all parts together are the whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_nbgroups.integration import shard_selection
from pytest_nbgroups.scheduling.sharding import ShardRecord
from pytest_nbgroups.scheduling.weights import write_weights

Write: TypeAlias = Callable[..., Path]
Collect: TypeAlias = Callable[..., list[str]]

ORDINARY = "test_ordinary.py::test_ordinary"
BESIDE = "experiments/C/test_next_to_c.py::test_beside"


def nodeid(name: str) -> str:
    return f"experiments/{name}::notebooks"


@pytest.fixture
def matrix(skipped: Write, pytester: pytest.Pytester) -> list[str]:
    """Six experiments, one below another; tests beside notebooks and elsewhere. The node ids."""
    for name in ("A", "B", "C", "C/below", "D", "E"):
        skipped(f"experiments/{name}")
    (pytester.path / "experiments/C/test_next_to_c.py").write_text("def test_beside(): pass\n")
    (pytester.path / ORDINARY.partition("::")[0]).write_text("def test_ordinary(): pass\n")
    return [*map(nodeid, ("A", "B", "C", "C/below", "D", "E")), BESIDE, ORDINARY]


@pytest.fixture
def weights(pytester: pytest.Pytester) -> str:
    """A file by which C with all that is in it is as long as all others together."""
    seconds = {"A": 1, "B": 1, "C": 3, "C/below": 1, "D": 1, "E": 1}
    write_weights(pytester.path / "weights.json", {nodeid(n): s for n, s in seconds.items()})
    return "weights.json"


def shards(collected: Collect, count: int, *arguments: str) -> list[list[str]]:
    """What each collects."""
    return [
        collected("--experiment-shard", f"{index}/{count}", *arguments)
        for index in range(1, count + 1)
    ]


def placed(parts: list[list[str]]) -> dict[str, int]:
    return {nodeid: index for index, part in enumerate(parts) for nodeid in part}


def test_three_shards_are_the_whole(matrix: list[str], collected: Collect) -> None:
    """Each item is collected by one of them, and each of them has some."""
    parts = shards(collected, 3)
    assert sorted(nodeid for part in parts for nodeid in part) == sorted(matrix)
    assert all(parts)


@pytest.mark.parametrize("arguments", [(), ("--experiment-weights", "weights.json")])
@pytest.mark.usefixtures("weights")
def test_what_lies_with_an_experiment_stays_with_it(
    arguments: tuple[str, ...], matrix: list[str], collected: Collect
) -> None:
    """Tests beside notebooks and experiments below need its files; others run in shard 1 only."""
    found = placed(shards(collected, 3, *arguments))
    assert found.keys() == set(matrix)
    assert found[nodeid("C")] == found[nodeid("C/below")] == found[BESIDE]
    assert found[ORDINARY] == 0


@pytest.mark.usefixtures("matrix")
def test_weights_balance(weights: str, collected: Collect, pytester: pytest.Pytester) -> None:
    """The file is below the rootdir; its ini key does the same."""
    whole_of_c = {nodeid("C"), nodeid("C/below"), BESIDE}
    others = {*map(nodeid, "ABDE")}
    expected = [whole_of_c | {ORDINARY}, others]
    found = shards(collected, 2, "--experiment-weights", weights)
    assert [set(part) for part in found] == expected
    pytester.makeini(f"[pytest]\nexperiment_weights = {weights}")
    assert shards(collected, 2) == found


def test_the_notebooks_of_independent_ones_are_spread(
    experiment: Write, collected: Collect
) -> None:
    """Each is an experiment of its own, so a test beside them belongs to none."""
    folder = experiment("experiments/T", *"abcdef", toml="[run]\nindependent = true\n")
    (folder / "test_t.py").write_text("def test_t(): pass\n")
    parts = shards(collected, 3)
    assert sum(len([n for n in part if n.startswith("experiments/T::")]) for part in parts) == 6
    assert sum(bool(part) for part in parts) > 1
    assert placed(parts)["experiments/T/test_t.py::test_t"] == 0


def test_all_that_is_below_a_root_with_notebooks_is_one(skipped: Write, collected: Collect) -> None:
    """The rootdir as an experiment holds all others."""
    skipped(".")
    skipped("experiments/A")
    (whole,) = filter(None, shards(collected, 3, "."))
    assert whole == [".::notebooks", "experiments/A::notebooks"]


@pytest.mark.usefixtures("matrix")
def test_what_others_run_is_deselected(pytester: pytest.Pytester) -> None:
    """The count that pytest tells has them."""
    result = pytester.runpytest_inprocess("--run-experiments", "--experiment-shard", "2/3")
    result.assert_outcomes(skipped=2, passed=1, deselected=5)
    result.stdout.fnmatch_lines(["collected 8 items / 5 deselected / 3 selected"])


def test_paths_given_move_nothing(matrix: list[str], collected: Collect) -> None:
    """Nor does their order, in which things are then collected."""
    before = placed(shards(collected, 3))
    paths = (ORDINARY.partition("::")[0], "experiments/D", "experiments")
    assert placed(shards(collected, 3, *paths)) == before
    assert before.keys() == set(matrix)


# What is deselected by other means


@pytest.mark.parametrize(
    "arguments",
    [("-k", "below or ordinary"), ("--deselect", nodeid("A")), ("-m", "experiment")],
)
@pytest.mark.usefixtures("matrix")
def test_deselection_moves_nothing(
    arguments: tuple[str, ...], weights: str, collected: Collect
) -> None:
    """What is left runs where it would have run."""
    balanced = ("--experiment-weights", weights)
    whole = placed(shards(collected, 3, *balanced))
    left = collected(*arguments)
    assert 0 < len(left) < len(whole)
    assert placed(shards(collected, 3, *balanced, *arguments)) == {n: whole[n] for n in left}


@pytest.mark.usefixtures("matrix")
def test_local_state_moves_nothing(
    weights: str, collected: Collect, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that deselects something else on each machine cannot make two run one experiment."""
    pytester.makeconftest(
        """
        import os

        def pytest_collection_modifyitems(items):
            forgotten = os.environ.get("FORGOTTEN", "").split()
            items[:] = [item for item in items if item.nodeid not in forgotten]
        """
    )
    balanced = ("--experiment-weights", weights)
    whole = placed(shards(collected, 3, *balanced))
    for gone in ([nodeid("A"), nodeid("C")], [nodeid("B"), nodeid("D"), nodeid("E")]):
        monkeypatch.setenv("FORGOTTEN", " ".join(gone))
        left = placed(shards(collected, 3, *balanced))
        assert left == {n: index for n, index in whole.items() if n not in gone}


@pytest.mark.parametrize("option", ["--lf", "--ff", "--sw", "--nf"])
@pytest.mark.usefixtures("matrix")
def test_the_cache_moves_nothing(
    option: str, weights: str, experiment: Write, collected: Collect, pytester: pytest.Pytester
) -> None:
    """What failed here before is known on no other machine, and runs in its shard at most."""
    balanced = ("--experiment-weights", weights)
    whole = placed(shards(collected, 3, *balanced))
    experiment("experiments/D", toml="[run]\nskip = 1\n")
    pytester.runpytest_inprocess("--run-experiments").assert_outcomes(failed=1, skipped=5, passed=2)
    for index, part in enumerate(shards(collected, 3, *balanced, option)):
        assert part
        assert {whole[nodeid] for nodeid in part} == {index}
        assert (nodeid("D") in part) == (whole[nodeid("D")] == index)


# Workers


@pytest.mark.xdist
@pytest.mark.parametrize("dist", ["load", "loadgroup"])
@pytest.mark.usefixtures("matrix")
def test_workers_run_their_machines_shard(
    dist: str, weights: str, collected: Collect, pytester: pytest.Pytester
) -> None:
    """All workers of a machine collect the same, whatever name xdist gives its items."""
    arguments = ("--experiment-shard", "2/2", "--experiment-weights", weights)
    result = pytester.runpytest_subprocess("--run-experiments", "-n2", "--dist", dist, *arguments)
    result.assert_outcomes(skipped=4)
    content = json.loads((pytester.path / ".experiments/session.json").read_text())
    ran = sorted(experiment["nodeid"] for experiment in content["experiments"])
    assert ran == sorted(collected(*arguments))


@pytest.mark.xdist
@pytest.mark.usefixtures("matrix")
def test_a_bad_file_ends_the_session_before_workers_start(pytester: pytest.Pytester) -> None:
    """The message comes once, from where the user looks on."""
    (pytester.path / "weights.json").write_text("{")
    result = pytester.runpytest_subprocess(
        "--run-experiments", "-n2", "--experiment-shard=1/2", "--experiment-weights=weights.json"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, result.errlines)
    assert line.startswith(f"ERROR: {pytester.path / 'weights.json'}: is not JSON: ")


# What is refused


WHAT = "expected I/N, the number of this shard and of all, such as 1/4 to 4/4"


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("0/4", "expected 1/4 to 4/4"),
        ("5/4", "expected 1/4 to 4/4"),
        ("a/b", WHAT),
        ("1/0", WHAT),
        ("-1/4", WHAT),
        ("1", WHAT),
        ("1/4/4", WHAT),
        ("", WHAT),
    ],
)
def test_bad_shards(value: str, accepted: str, pytester: pytest.Pytester) -> None:
    """A usage error that names what is accepted."""
    result = pytester.runpytest_inprocess("--run-experiments", f"--experiment-shard={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*: error: argument --experiment-shard: '{value}': {accepted}"])


def test_a_missing_file(pytester: pytest.Pytester) -> None:
    """Told with the command that writes it; without shards nobody needs it."""
    path = pytester.path / "weights.json"
    arguments = ("--run-experiments", "--experiment-weights", "weights.json")
    result = pytester.runpytest_inprocess(*arguments, "--experiment-shard=1/2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                f"ERROR: {path}: this weights file does not exist; write it with: pytest "
                f"--run-experiments --experiment-plan --experiment-weights {path}"
            )
        ]
    )
    assert pytester.runpytest_inprocess(*arguments).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_shard_is_no_setting_of_a_project(pytester: pytest.Pytester) -> None:
    """An ini key would make every machine the same shard."""
    pytester.makeini("[pytest]\nstrict_config = true\nexperiment_shard = 1/2")
    result = pytester.runpytest_inprocess("--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*Unknown config option: experiment_shard*"])


# What is recorded


def records(pytester: pytest.Pytester, count: int, *arguments: str) -> list[ShardRecord]:
    """What each shard leaves to be recorded."""
    found = []
    for index in range(1, count + 1):
        config = pytester.parseconfigure(
            "--run-experiments", f"--experiment-shard={index}/{count}", *arguments
        )
        session = pytest.Session.from_config(config)
        config.hook.pytest_sessionstart(session=session)
        session.perform_collect()
        record = shard_selection.record_of(config)
        config._ensure_unconfigure()
        assert record is not None
        found.append(record)
    return found


@pytest.mark.usefixtures("matrix")
def test_the_record(pytester: pytest.Pytester) -> None:
    """All agree on what runs where; each names its own, and together they name all."""
    found = records(pytester, 3)
    assert [(each.index, each.count, each.total) for each in found] == [
        (i, 3, 6) for i in (1, 2, 3)
    ]
    assert len({each.digest for each in found}) == 1
    assert {n for each in found for n in each.nodeids} == {
        nodeid(name) for name in ("A", "B", "C", "C/below", "D", "E")
    }
    assert [each.weights_digest for each in found] == [None] * 3


@pytest.mark.usefixtures("matrix")
def test_the_record_of_a_selection(weights: str, pytester: pytest.Pytester) -> None:
    """What ``-k`` has left is what must have been run, so it is what the shards agree on."""
    arguments = ("--experiment-weights", weights)
    some = records(pytester, 2, *arguments, "-k", "below")
    assert [each.nodeids for each in some] == [(nodeid("C/below"),), ()]
    assert some[0].digest != records(pytester, 2, *arguments)[0].digest
    assert some[0].weights_digest is not None


def test_without_shards_nothing_is_recorded(skipped: Write, pytester: pytest.Pytester) -> None:
    """The key of the session's record is then null."""
    skipped("experiments/A")
    config = pytester.parseconfigure("--run-experiments")
    assert shard_selection.record_of(config) is None


def test_a_shard_with_nothing_to_do_succeeds() -> None:
    """Its job would fail else; where nothing was selected on any machine, it does."""
    idle = ShardRecord(index=2, count=3, digest="", weights_digest=None, total=1, nodeids=())
    none = ShardRecord(index=2, count=3, digest="", weights_digest=None, total=0, nodeids=())
    busy = ShardRecord(index=2, count=3, digest="", weights_digest=None, total=1, nodeids=("a",))
    assert shard_selection.exit_status(pytest.ExitCode.NO_TESTS_COLLECTED, idle) == 0
    assert [shard_selection.exit_status(5, of) for of in (none, busy, None)] == [5, 5, 5]
    assert [shard_selection.exit_status(given, idle) for given in (0, 1, 2, 3, 4)] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_the_header_counts_its_own(matrix: list[str], pytester: pytest.Pytester) -> None:
    """What other machines run is neither in the header nor in the number of workers."""
    counted = 0
    for index in (1, 2, 3):
        result = pytester.runpytest_inprocess("--run-experiments", f"--experiment-shard={index}/3")
        (line,) = [text for text in result.outlines if text.startswith("experiments: ")]
        assert line.endswith(f" for shard {index}/3")
        found = re.search(r"(\d+) experiments? for", line)
        assert found is not None, line
        counted += int(found[1])
    assert counted == len([item for item in matrix if item.endswith("::notebooks")])


def test_the_header_of_an_idle_shard(skipped: Write, pytester: pytest.Pytester) -> None:
    """Where no experiment fell to it, that is what it says."""
    skipped("experiments/A")
    headers = [
        line
        for index in (1, 2)
        for line in pytester.runpytest_inprocess(
            "--run-experiments", f"--experiment-shard={index}/2"
        ).outlines
        if line.startswith("experiments: ")
    ]
    idle = [line for line in headers if line.startswith("experiments: none found for shard ")]
    assert len(headers) == 2
    assert len(idle) == 1
    assert idle[0].endswith(" below experiments")
