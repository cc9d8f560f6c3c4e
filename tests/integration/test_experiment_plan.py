"""--experiment-plan: what would run is told, and nothing runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_nbgroups.core.model import (
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.core.settings import GpuSelection, Settings
from pytest_nbgroups.history.kind import read_machine
from pytest_nbgroups.history.store import Session, open_history
from pytest_nbgroups.machine.capacity import find_budget

Write: TypeAlias = Callable[..., Path]
Remember: TypeAlias = Callable[..., None]

MIB = 2**20
HALF = '[resources]\ncpus = 0.5\nram = "1MB"\n'


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def remember(pytester: pytest.Pytester) -> Remember:
    """Have experiments run before: each so many seconds, so often, with so many MiB."""

    def record(seconds: Mapping[str, float], *, runs: int = 1, mib: int = 100) -> None:
        artifacts = pytester.path / ".experiments"
        settings = Settings(
            rootdir=pytester.path,
            artifacts=artifacts,
            cpu_budget=1.0,
            gpus=GpuSelection(count=0),
        )
        session = Session(
            id="earlier",
            started_at=1.0,
            machine=read_machine(find_budget(settings)),
            plugin_version="1",
            python_version="3",
        )
        usage = Usage(peak_bytes=mib * MIB, cpu_s=1.0)
        with open_history(artifacts, session) as history:
            for number in range(runs):
                for name, duration_s in seconds.items():
                    notebook = NotebookResult(
                        name="1-load.ipynb", outcome=NotebookOutcome.PASSED, usage=usage
                    )
                    result = ExperimentResult(
                        name=name,
                        directory=pytester.path,
                        outcome=ExperimentOutcome.PASSED,
                        notebooks=(notebook,),
                        started_at=float(number),
                        duration_s=duration_s,
                    )
                    history.record_experiment(result, nodeid=name)
            assert not history.warnings

    return record


def plan(pytester: pytest.Pytester, *arguments: str, ret: int = 0) -> list[str]:
    """All lines of a session that only plans, on one CPU without GPUs."""
    result = pytester.runpytest_inprocess(
        "--run-experiments",
        "--experiment-plan",
        "--experiment-cpus=1",
        "--experiment-gpus=none",
        *arguments,
    )
    assert result.ret == ret
    return result.outlines


def rows(lines: list[str]) -> list[str]:
    """The names in the table of experiments."""
    start = next(i for i, line in enumerate(lines) if line.startswith("experiment  "))
    names = [line.split("  ")[0] for line in lines[start + 1 :] if not line.startswith(" ")]
    end = next(i for i, name in enumerate(names) if not name or name.startswith("recommended"))
    return names[:end]


@pytest.mark.xdist
def test_the_plan(pytester: pytest.Pytester, experiment: Write, remember: Remember) -> None:
    """In the order of the scheduler, with what is known; no worker starts and nothing runs."""
    experiment("experiments/Brain", "1-load", toml=HALF, code="open('ran', 'w')")
    experiment("experiments/Heart", toml='[resources]\ncpus = 0.5\nlocks = ["data"]\n')
    experiment("experiments/Lung", toml=HALF)
    pytester.makepyfile("def test_ordinary(): raise AssertionError")
    remember({"Brain": 20.0, "Heart": 185.0}, runs=3)
    before = set(pytester.path.rglob("*"))
    lines = plan(pytester, "-n", "2", "-p", "no:cacheprovider")
    header = next(line for line in lines if line.startswith("experiments: "))
    assert re.fullmatch(
        r"experiments: plan only, nothing runs: 2 workers asked for; 1 cpu, .* budget", header
    )
    start = next(i for i, line in enumerate(lines) if "= experiment plan =" in line)
    assert lines[start + 1 : -2] == [
        "3 experiments, longest first; 1 ordinary test",
        "",
        "experiment  notebooks  cpus          RAM               time            remarks",
        "Heart               2  0.5 declared  112 MiB (3 runs)  3m05s (3 runs)  lock data",
        "Lung                2  0.5 declared  1MB declared      unknown",
        "Brain               1  0.5 declared  1MB declared      20.0s (3 runs)",
        "",
        "workers  wall time  peak RAM",
        "      1      3m25s   100 MiB",
        "      2      3m05s   200 MiB  recommended, asked for",
        "",
        "recommended: -n 2; more than 2 experiments never fit at once (1 cpu)",
        (
            "1 of 3 experiments has never run here: it counts as 0 s, and for the recommended "
            "number as long as the longest that is known"
        ),
        "experiments alone: starting pytest and its workers, and 1 ordinary test, come on top",
        "",
        "Brain: declares ram = 1MB, earlier runs used 100 MiB",
    ]
    assert "no tests ran" in lines[-1]
    assert not any("created:" in line for line in lines)
    assert set(pytester.path.rglob("*")) - before <= {*pytester.path.rglob("__pycache__/**")}


def test_alone(pytester: pytest.Pytester, experiment: Write, remember: Remember) -> None:
    """Without workers experiments run as they are collected, and the plan says so."""
    for name in ("A", "B"):
        experiment(f"experiments/{name}", toml=HALF)
    remember({"A": 1.0, "B": 2.0})
    lines = plan(pytester)
    assert any("nothing runs: one at a time; 1 cpu" in line for line in lines)
    assert "2 experiments, one at a time, in the order of collection" in lines
    assert rows(lines) == ["A", "B"]
    assert "      2      2.00s   200 MiB  recommended" in lines


@pytest.mark.xdist
@pytest.mark.parametrize(
    ("arguments", "order", "told"),
    [
        (("--experiment-schedule=shortest",), ["B", "A", "C"], "shortest first"),
        (("--experiment-schedule=longest",), ["C", "A", "B"], "longest first"),
        (("--experiment-schedule=collection",), ["A", "B", "C"], "in the order of collection"),
        (("--dist=loadfile",), ["A", "B", "C"], "--dist loadfile, in the order of collection"),
    ],
)
def test_the_order(
    arguments: tuple[str, ...],
    order: list[str],
    told: str,
    pytester: pytest.Pytester,
    experiment: Write,
    remember: Remember,
) -> None:
    """The one that the session itself would follow."""
    for name in "ABC":
        experiment(f"experiments/{name}", toml="[resources]\ncpus = 1\n")
    remember({"A": 2.0, "B": 1.0, "C": 3.0})
    lines = plan(pytester, "-n2", *arguments)
    assert rows(lines) == order
    assert f"3 experiments, {told}" in lines


@pytest.mark.xdist
def test_as_many_workers_as_fit(pytester: pytest.Pytester, experiment: Write) -> None:
    """-n auto is resolved, and none of these workers starts either."""
    for name in "ABCD":
        experiment(f"experiments/{name}", toml=HALF)
    pytester.makeconftest("""
        def pytest_sessionstart(session):  # as with -n0
            assert (session.config.option.dist, session.config.option.tx) == ("no", [])
    """)
    lines = plan(pytester, "-n", "auto")
    assert any("2 workers asked for" in line for line in lines)
    assert not any("created:" in line for line in lines)


@pytest.mark.xdist
def test_other_ways_to_ask_for_workers(pytester: pytest.Pytester, experiment: Write) -> None:
    """There are several in xdist."""
    experiment("experiments/A")
    lines = plan(pytester, "--dist=load", "--tx", "3*popen")
    assert any("3 workers asked for" in line for line in lines)
    assert any("one at a time" in line for line in plan(pytester, "--tx", "popen"))
    assert any("1 worker asked for" in line for line in plan(pytester, "-n1"))
    assert any("one at a time" in line for line in plan(pytester, "-n0"))


def test_without_xdist(pytester: pytest.Pytester, experiment: Write) -> None:
    """It is not needed."""
    experiment("experiments/A")
    assert rows(plan(pytester, "-p", "no:xdist")) == ["A"]


def test_what_is_selected(pytester: pytest.Pytester, skipped: Write, experiment: Write) -> None:
    """By -k, by path, by shard; the rest is not told of."""
    experiment("experiments/Brain")
    experiment("experiments/Heart")
    skipped("experiments/Lung")
    assert rows(plan(pytester, "-k", "Heart or Lung")) == ["Heart", "Lung"]
    assert rows(plan(pytester, "experiments/Brain")) == ["Brain"]
    plan(pytester, "-k", "nothing", ret=pytest.ExitCode.NO_TESTS_COLLECTED)
    shards = [rows(plan(pytester, f"--experiment-shard={n}/2")) for n in (1, 2)]
    assert sorted(name for shard in shards for name in shard) == ["Brain", "Heart", "Lung"]


def test_what_would_not_run(pytester: pytest.Pytester, experiment: Write, skipped: Write) -> None:
    """It stands behind what runs, with the reason, and counts for nothing."""
    experiment("experiments/Bad", toml="[resources]\ngpus = 1.5\n")
    skipped("experiments/Brain")
    experiment("experiments/Gpu", toml="[resources]\ngpus = 2\n")
    experiment("experiments/Lacking", toml='[run]\nrequires = ["env:NOWHERE", "command:nope"]\n')
    skip = '[notebooks."1-load.ipynb"]\nskip = "no data"\n'
    experiment("experiments/None", "1-load", toml=skip)
    experiment("experiments/Some", toml=skip)
    lines = plan(pytester)
    assert rows(lines) == ["Some", "Bad", "Brain", "Gpu", "Lacking", "None"]
    assert "6 experiments, one at a time, in the order of collection; 5 of them do not run" in lines
    text = "\n".join(lines)
    for reason in (
        "fails: experiments/Bad/experiment.toml: [resources] gpus = 1.5: expected a whole number",
        "skipped: needs Docker",
        "skipped: needs 2 GPUs, found none",
        "skipped: needs the environment variable NOWHERE; needs the command nope",
        "skipped: all its notebooks are skipped",
    ):
        assert reason in text
    assert any(re.match(r"Some +1 of 2 +1 default +2GB slow start +unknown", x) for x in lines)
    assert "      1    unknown   1.9 GiB  recommended" in lines


def test_what_would_fail(pytester: pytest.Pytester, experiment: Write) -> None:
    """With experiment_unmet = fail."""
    experiment("experiments/Gpu", toml="[resources]\ngpus = 2\n")
    text = "\n".join(plan(pytester, "-o", "experiment_unmet=fail"))
    assert "fails: needs 2 GPUs, found none" in text
    assert "(experiment_unmet = fail)" in text
    assert "recommended" not in text


def test_a_mark_to_skip(pytester: pytest.Pytester, experiment: Write) -> None:
    """As a conftest.py puts it on what is slow."""
    experiment("experiments/A")
    experiment("experiments/B")
    pytester.makeconftest("""
        import pytest
        def pytest_collection_modifyitems(items):
            items[0].add_marker(pytest.mark.skip(reason="slow"))
            items[1].add_marker(pytest.mark.skip)
    """)
    text = "\n".join(plan(pytester))
    assert "skipped: slow" in text
    assert "skipped: unconditional skip" in text


def test_tests_that_run_experiments(pytester: pytest.Pytester, experiment: Write) -> None:
    """They lease what their marker declares, so they are told of by node id."""
    experiment("elsewhere/Heart")
    pytester.makepyfile(
        test_them="""
        import pytest
        def test_heart(run_experiment): raise AssertionError
        @pytest.mark.experiment(cpus=0.5, ram="4GB")
        def test_lung(run_experiment): raise AssertionError
        @pytest.mark.experiment(gpus=1)
        def test_brain(run_experiment): raise AssertionError
        def test_ordinary(): raise AssertionError
        """
    )
    lines = plan(pytester)
    assert any(x.endswith("do not run; 1 ordinary test") or "1 ordinary test" in x for x in lines)
    heart, lung, brain = (x for x in lines if x.startswith("test_them.py::"))
    assert re.match(r"test_them.py::test_heart +1 default +2GB slow start +unknown", heart)
    assert re.match(r"test_them.py::test_lung +0.5 declared +4GB declared +unknown", lung)
    assert "skipped: needs 1 GPU, found none" in brain
    assert all("a test that runs an experiment" in line for line in (heart, lung, brain))


@pytest.mark.xdist
def test_nested_experiments(
    pytester: pytest.Pytester, experiment: Write, remember: Remember
) -> None:
    """They keep apart from those around them, and follow them, also on paper."""
    for name in ("A", "A/nested", "B"):
        experiment(f"experiments/{name}", toml=HALF)
    remember({"A": 1.0, "A/nested": 9.0, "B": 4.0})
    lines = plan(pytester, "-n2")
    assert rows(lines) == ["A", "A/nested", "B"]
    assert sum("not beside others in experiments/A" in line for line in lines) == 2
    assert "      2      10.0s   200 MiB  recommended, asked for" in lines


def test_hints(pytester: pytest.Pytester, experiment: Write) -> None:
    """What notebooks use without declaring it, and what of the order is unclear."""
    experiment("experiments/Heart", "a", "b", code="import cupy\nwith_jobs(n_jobs=4)")
    experiment("experiments/Lung", code="import cupy", toml='[run]\nskip = "x"\n')
    lines = plan(pytester)
    assert (
        "Heart: a.ipynb cell 1 uses n_jobs=4 and no cpus are declared; put cpus = 4 "
        "into [resources] of experiments/Heart/experiment.toml"
    ) in lines
    assert any(line.startswith("Heart: ") and "numeric prefix" in line for line in lines)
    assert not any(line.startswith("Lung: ") for line in lines)


def test_an_assumed_gpu(
    pytester: pytest.Pytester,
    experiment: Write,
    fake_nvml: Callable[[Path], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is given because the notebooks may use it is marked."""
    experiment("experiments/Heart", code="import cupy")
    experiment("experiments/Lung", toml='[resources]\ngpu_memory = "8GB"\n')
    description = pytester.path / "gpus.txt"
    description.write_text("gpu uuid=GPU-a name=NVIDIA_A100 total=40960 used=0\n")
    for name, value in fake_nvml(description).items():
        monkeypatch.setenv(name, value)
    result = pytester.runpytest_subprocess("--run-experiments", "--experiment-plan")
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"Heart +2 +1 default +2GB slow start +1 assumed +unknown",
            r"Lung +2 +1 default +2GB slow start +8GB of 1 +unknown",
        ]
    )


def test_quiet(pytester: pytest.Pytester, experiment: Write, remember: Remember) -> None:
    """-q gives the table and the number."""
    experiment("experiments/A", toml=HALF, code="import cupy")
    remember({"A": 1.0})
    lines = plan(pytester, "-q")
    assert lines[:3] == [
        "experiment  notebooks  cpus          RAM           time",
        "A                   2  0.5 declared  1MB declared  1.00s (1 run)",
        "recommended: -n 1 (1.00s, 100 MiB of RAM)",
    ]
    assert not any("experiment plan" in line or "import cupy" in line for line in lines)


@pytest.mark.xdist
def test_collect_only(pytester: pytest.Pytester, experiment: Write) -> None:
    """The plan comes below what was collected."""
    experiment("experiments/A")
    lines = plan(pytester, "--collect-only", "-q", "-n2")
    assert lines[0] == "experiments/A::notebooks"
    assert rows(lines) == ["A"]


def test_nothing_is_collected(pytester: pytest.Pytester) -> None:
    """The exit code is pytest's own."""
    lines = plan(pytester, ret=pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "no experiments" in lines


def test_tests_alone(pytester: pytest.Pytester) -> None:
    """They are counted, and not run."""
    pytester.makepyfile("def test_1(): raise AssertionError\ndef test_2(): pass")
    assert "no experiments; 2 ordinary tests" in plan(pytester)


def test_errors_of_collection(pytester: pytest.Pytester, experiment: Write) -> None:
    """They end the session as ever, unless it is to go on."""
    experiment("experiments/A")
    pytester.makepyfile("1 / 0")
    lines = plan(pytester, ret=pytest.ExitCode.INTERRUPTED)
    assert not any("experiment plan" in line for line in lines)
    lines = plan(pytester, "--continue-on-collection-errors", ret=pytest.ExitCode.TESTS_FAILED)
    assert rows(lines) == ["A"]


def test_it_says_what_it_needs(pytester: pytest.Pytester) -> None:
    """Alone it would plan nothing."""
    result = pytester.runpytest_inprocess("--experiment-plan")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --experiment-plan shows what --run-experiments would run; give both"]
    )


def test_without_a_terminal_reporter(pytester: pytest.Pytester, experiment: Write) -> None:
    """-p no:terminal is no obstacle."""
    experiment("experiments/A")
    result = pytester.runpytest_subprocess(
        "--run-experiments", "--experiment-plan", "-p", "no:terminal"
    )
    assert (result.ret, result.stderr.str()) == (0, "")


def test_a_damaged_history(pytester: pytest.Pytester, experiment: Write) -> None:
    """It costs a warning, also with -q."""
    experiment("experiments/A")
    artifacts = pytester.path / ".experiments"
    artifacts.mkdir()
    (artifacts / "history.sqlite").write_text("no database, but long enough to be looked at" * 9)
    assert any("experiments: warning: " in line for line in plan(pytester, "-q"))


# The weights file


def weights(pytester: pytest.Pytester) -> dict[str, float] | None:
    """What stands in it; None where there is none."""
    path = pytester.path / "ci" / "weights.json"
    if not path.exists():
        return None
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["experiments"]
    return found


def test_weights(pytester: pytest.Pytester, experiment: Write, remember: Remember) -> None:
    """What is known is written, what is not is counted; what a part of them leaves out stays."""
    for name in "ABC":
        experiment(f"experiments/{name}")
    pytester.makepyfile(test_ordinary="def test_ordinary(): pass")
    remember({"A": 30.0, "B": 1.0})
    lines = plan(pytester, "--experiment-weights", "ci/weights.json")
    assert "weights of 2 experiments written to ci/weights.json; without 1 of unknown time" in lines
    assert weights(pytester) == {"experiments/A::notebooks": 30, "experiments/B::notebooks": 1}
    lines = plan(pytester, "--experiment-weights=ci/weights.json", "experiments/A", "-q")
    assert "weights of 1 experiment written to ci/weights.json; 1 kept as before" in lines
    assert weights(pytester) == {"experiments/A::notebooks": 30, "experiments/B::notebooks": 1}
    shutil.rmtree(pytester.path / "experiments/B")
    lines = plan(pytester, "--experiment-weights=ci/weights.json", "-q")
    assert "weights of 1 experiment written to ci/weights.json; without 1 of unknown time" in lines
    assert weights(pytester) == {"experiments/A::notebooks": 30}


def test_no_weights(pytester: pytest.Pytester, experiment: Write) -> None:
    """A machine that knows nothing leaves the file of one that does alone."""
    experiment("experiments/A")
    lines = plan(pytester, "--experiment-weights=ci/weights.json")
    assert "weights not written to ci/weights.json: no experiment has ever run here" in lines
    assert weights(pytester) is None


def test_weights_that_only_the_ini_file_names(
    pytester: pytest.Pytester, experiment: Write, remember: Remember
) -> None:
    """Every session reads them; none changes them unasked."""
    experiment("experiments/A")
    remember({"A": 1.0})
    lines = plan(pytester, "-o", "experiment_weights=ci/weights.json")
    assert not any("ci/weights.json" in line for line in lines)
    assert weights(pytester) is None


def test_weights_and_a_shard(
    pytester: pytest.Pytester, experiment: Write, remember: Remember
) -> None:
    """The file is for all shards: what one has does not fill it."""
    experiment("experiments/A")
    remember({"A": 1.0})
    plan(pytester, "--experiment-weights=ci/weights.json")
    lines = plan(pytester, "--experiment-weights=ci/weights.json", "--experiment-shard=1/1")
    assert (
        "weights not written: ci/weights.json is for all shards, and this plan is for one; plan without "
        "--experiment-shard" in lines
    )


def test_weights_that_cannot_be_written(
    pytester: pytest.Pytester, experiment: Write, remember: Remember
) -> None:
    """Whoever asks for the file must hear of it by the exit code too."""
    experiment("experiments/A")
    remember({"A": 1.0})
    (pytester.path / "ci").write_text("in the way")
    result = pytester.runpytest_inprocess(
        "--run-experiments",
        "--experiment-plan",
        "--experiment-cpus=1",
        "--experiment-gpus=none",
        "--experiment-weights=ci/weights.json",
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: */ci/weights.json: cannot be written: *"])
