"""Experiments under pytest-xdist: how many workers, and what runs where."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

ONE_CPU = ("--experiment-cpus", "1")
"""Every machine has one; experiments declare parts of it."""

WRITES_WORKER = """
import os, pathlib
def test_{name}(request):
    line = f"{{os.environ['PYTEST_XDIST_WORKER']}} {{request.node.nodeid}}"
    with open(request.config.rootpath / "ran", "a") as file:
        print(line, file=file)
"""

pytestmark = pytest.mark.xdist


def auto(pytester: pytest.Pytester, *arguments: str) -> Any:
    """How many workers ``-n auto`` would start; None leaves it to xdist."""
    config = pytester.parseconfig("--run-experiments", "-n", "auto", *arguments)
    return config.hook.pytest_xdist_auto_num_workers(config=config)


def record(pytester: pytest.Pytester) -> dict[str, Any]:
    text = (pytester.path / ".experiments" / "session.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


# How many


@pytest.mark.parametrize(
    ("declared", "arguments", "count"),
    [
        (["cpus = 0.5", "cpus = 0.25", "cpus = 0.25"], ONE_CPU, 3),
        (["cpus = 0.5", "cpus = 0.5", "cpus = 0.25"], ONE_CPU, 2),
        (["cpus = 0.75", "cpus = 0.5", "cpus = 0.25", "cpus = 0.1"], ONE_CPU, 3),
        (["cpus = 0.1"] * 12, ONE_CPU, 10),
        (["cpus = 8", "cpus = 8"], ONE_CPU, 1),
        (['cpus = 0.1\nram = "30MB"'] * 4, ("--experiment-ram", "100MB"), 3),
        (["cpus = 0.1"] * 4, ("--experiment-ram", "100MB"), 1),
        (['cpus = 0.1\nram = "1MB"', 'cpus = 0.1\nram = "900TB"'] * 2, (), 2),
        (["cpus = 0.1\nlocks = ['data']"] * 2 + ["cpus = 0.1"], ONE_CPU, 2),
        (["cpus = 0.1\nexclusive = true", "cpus = 0.1"], ONE_CPU, 1),
        (["cpus = 0.1"] * 4, (*ONE_CPU, "--experiment-max-parallel", "3"), 3),
        (["cpus = 0.1\ngpus = 99", "cpus = 0.1", "cpus = 0.1"], ONE_CPU, 2),
        ([], ONE_CPU, 1),
    ],
)
def test_auto(
    declared: Sequence[str],
    arguments: Sequence[str],
    count: int,
    experiment: Write,
    pytester: pytest.Pytester,
) -> None:
    """-n auto is the largest number of experiments that can ever run at once."""
    pytester.makeini("[pytest]\nexperiment_default_ram = 1MB" if "100MB" not in arguments else "")
    for number, resources in enumerate(declared):
        experiment(f"experiments/{number}", toml=f"[resources]\n{resources}\n")
    assert auto(pytester, *arguments) == count


def test_auto_counts_what_is_asked_for(experiment: Write, pytester: pytest.Pytester) -> None:
    """Only experiments that the arguments select count, each once, without those that are skipped."""
    tiny = '[resources]\ncpus = 0.1\nram = "1MB"\n'
    for name in "ABC":
        experiment(f"experiments/{name}", toml=tiny)
    experiment("experiments/D", toml=f'{tiny}[run]\nskip = "x"\n')
    assert auto(pytester) == 3
    assert auto(pytester, "experiments/A", "experiments/B::notebooks") == 2
    assert auto(pytester, "experiments/A/1-load.ipynb", "experiments/A/2-fit.ipynb") == 1


def test_auto_with_independent_notebooks(experiment: Write, pytester: pytest.Pytester) -> None:
    """Each independent notebook counts for itself."""
    experiment(
        "experiments/A",
        *"abc",
        toml='[resources]\ncpus = 0.1\nram = "1MB"\n[run]\nindependent = true\n',
    )
    assert auto(pytester) == 3


def test_auto_with_ordinary_tests(experiment: Write, pytester: pytest.Pytester) -> None:
    """They hold nothing, so that they bring it up to the CPU budget."""
    pytester.makepyfile("def test_ordinary(): pass")
    tiny = '[resources]\ncpus = 0.1\nram = "1MB"\n'
    for name in "ABC":
        experiment(f"experiments/{name}", toml=tiny)
    assert auto(pytester, *ONE_CPU) == 3
    assert auto(pytester, *ONE_CPU, "experiments") == 3
    found = auto(pytester)
    assert found >= 3
    for name in "AB":
        experiment(f"experiments/{name}", toml="[resources]\nexclusive = true\n")
    assert auto(pytester, *ONE_CPU, "experiments") == 1
    assert auto(pytester, "--experiment-cpus", "2") == 2


def test_auto_is_left_to_the_variable(
    experiment: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTEST_XDIST_AUTO_NUM_WORKERS is the user's word."""
    experiment("experiments/A")
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "7")
    assert auto(pytester) == 7


def test_auto_is_left_to_the_conftest(experiment: Write, pytester: pytest.Pytester) -> None:
    """So is an implementation of xdist's hook in a conftest.py."""
    experiment("experiments/A")
    pytester.makeconftest("def pytest_xdist_auto_num_workers(config): return 5")
    assert auto(pytester) == 5


def test_auto_without_the_option(experiment: Write, pytester: pytest.Pytester) -> None:
    """Without --run-experiments -n auto is xdist's own."""
    for name in "ABC":
        experiment(f"experiments/{name}", toml="[resources]\nexclusive = true\n")
    config = pytester.parseconfig("-n", "auto")
    blocked = pytester.parseconfig("-n", "auto", "-p", "no:nbgroups")
    assert config.hook.pytest_xdist_auto_num_workers(
        config=config
    ) == blocked.hook.pytest_xdist_auto_num_workers(config=blocked)


def test_the_header_of_auto(experiment: Write, pytester: pytest.Pytester) -> None:
    """With -n auto so many workers start, and the header says what keeps it from more."""
    for name in "ABC":
        experiment(
            f"experiments/{name}",
            toml='[resources]\ncpus = 0.5\nram = "1MB"\n'
            '[notebooks."1-load.ipynb"]\nskip = "x"\n[notebooks."2-fit.ipynb"]\nskip = "x"\n',
        )
    result = pytester.runpytest_subprocess("--run-experiments", "-n", "auto", *ONE_CPU)
    result.assert_outcomes(skipped=3)
    result.stdout.re_match_lines(
        [
            (
                r"experiments: 2 workers: 1 cpu, [\d.]+ [MGT]iB budget(, \d+ gpus?)?; "
                r"at most 2 of 3 experiments fit at once \(1 cpus?\)$"
            ),
            "created: 2/2 workers",
        ]
    )
    assert record(pytester)["workers"] == ["gw0", "gw1"]


def test_the_header_of_an_explicit_number(experiment: Write, pytester: pytest.Pytester) -> None:
    """-n 3 stays 3; the header says how many can run at once."""
    for name in "ABC":
        experiment(
            f"experiments/{name}",
            "1-load",
            toml='[resources]\nlocks = ["data"]\n[notebooks."1-load.ipynb"]\nskip = "x"\n',
        )
    result = pytester.runpytest_subprocess("--run-experiments", "-n3")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        [
            "experiments: 3 workers: *; at most 1 of 3 experiments fit at once (the lock 'data')",
            "created: 3/3 workers",
        ]
    )


@pytest.mark.parametrize(
    ("names", "text"),
    [("A", "1 experiment"), ("ABC", "all 3 experiments fit at once")],
)
def test_the_header_without_workers(
    names: str, text: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """Alone, experiments run one at a time; the header says that more would fit."""
    for name in names:
        experiment(
            f"experiments/{name}",
            "1-load",
            toml='[resources]\ncpus = 0.1\nram = "1MB"\n[notebooks."1-load.ipynb"]\nskip = "x"\n',
        )
    result = pytester.runpytest_inprocess("--run-experiments", *ONE_CPU)
    result.stdout.fnmatch_lines([f"experiments: one at a time: 1 cpu, * budget*; {text}"])


# What is refused


def test_dist_each_is_refused(skipped: Write, pytester: pytest.Pytester) -> None:
    """--dist each would run every experiment several times in one directory."""
    skipped("experiments/A")
    result = pytester.runpytest_subprocess("--run-experiments", "--dist", "each", "--tx", "2*popen")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                "ERROR: --run-experiments with --dist each: every worker would run every experiment in "
                "the same directories at once; use --dist load"
            )
        ]
    )


@pytest.mark.parametrize("spec", ["ssh=elsewhere", "popen//chdir=elsewhere", "socket=host:8888"])
def test_workers_elsewhere_are_refused(
    spec: str, skipped: Write, pytester: pytest.Pytester
) -> None:
    """Workers on other machines or in other directories do not have the experiments."""
    skipped("experiments/A")
    result = pytester.runpytest_subprocess("--run-experiments", "--dist", "load", "--tx", spec)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                f"ERROR: --run-experiments with --tx {spec}: experiments run on this machine, in the "
                "directories of this checkout; use -n"
            )
        ]
    )


# What runs where


@pytest.mark.parametrize("dist", ["loadgroup", "worksteal", "loadscope", "loadfile"])
def test_other_ways_to_distribute(dist: str, skipped: Write, pytester: pytest.Pytester) -> None:
    """Under each other --dist every item is reported once, as in the record."""
    for name in "ABC":
        folder = skipped(f"experiments/{name}")
        (folder / f"test_{name}.py").write_text("def test_beside(): pass\n")
    result = pytester.runpytest_subprocess("--run-experiments", "-n2", "--dist", dist)
    result.assert_outcomes(passed=3, skipped=3)
    content = record(pytester)
    assert sorted(e["name"] for e in content["experiments"]) == ["A", "B", "C"]
    assert all(len(e["attempts"]) == 1 for e in content["experiments"])


def test_without_xdist(
    skipped: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pytest-xdist everything runs in one process."""
    skipped("experiments/A")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p nbgroups")
    result = pytester.runpytest_subprocess("--run-experiments", "-p", "no:xdist")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["experiments: one at a time: *", "A * skipped *"])
    assert record(pytester)["workers"] == []


def test_exit_first_under_workers(experiment: Write, pytester: pytest.Pytester) -> None:
    """-x stops workers as well: the failure is told, and not every experiment runs."""
    for number in range(12):
        experiment(f"experiments/{number:02}", toml="[run]\nskip = 1\n")
    result = pytester.runpytest_subprocess("--run-experiments", "-n1", "-x")
    assert result.ret in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert len(record(pytester)["experiments"]) < 12


# What the machine can never grant


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ('ram = "900TB"', "needs 900TB of RAM, the budget is * of *"),
        ('ram = "200MB"', "needs 200MB of RAM, the budget is 95.4 MiB of *"),
        ("gpus = 99", "needs 99 GPUs, found *"),
    ],
)
def test_needs_that_are_never_met(
    resources: str, reason: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """What the machine can never grant is skipped with the reason; or it fails, if so set."""
    experiment("experiments/A", toml=f"[resources]\n{resources}\n")
    arguments = ("--run-experiments", "--experiment-ram", "100MB", "-rs")
    result = pytester.runpytest_inprocess(*arguments)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED [[]1] experiments/A: {reason}"])
    failed = pytester.runpytest_inprocess(*arguments, "-o", "experiment_unmet=fail")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines([f"E   {reason} (experiment_unmet = fail)"])


def test_needs_that_are_never_met_in_a_worker(experiment: Write, pytester: pytest.Pytester) -> None:
    """Workers decide with the budget that the controller found, and do not look for their own."""
    pytester.makeconftest(
        """
        import os
        from pytest_nbgroups.integration import session

        def refuse(_settings):
            raise AssertionError("asked in a worker")

        if "PYTEST_XDIST_WORKER" in os.environ:
            session.find_budget = refuse
        """
    )
    experiment("experiments/A", toml='[resources]\nram = "200MB"\n')
    result = pytester.runpytest_subprocess(
        "--run-experiments", "--experiment-ram", "100MB", "-rs", "-n1"
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs 200MB of RAM, the budget is 95.4 MiB of *"])


def test_other_modes_say_what_they_do_not_keep(pytester: pytest.Pytester, skipped: Write) -> None:
    """Only --dist load keeps the tests beside notebooks after them; the header says so."""
    skipped("experiments/Heart")
    (pytester.path / "experiments/Heart/test_heart.py").write_text("def test_it(): pass\n")
    result = pytester.runpytest_subprocess("--run-experiments", "-n2", "--dist", "worksteal")
    result.stdout.fnmatch_lines(["  --dist worksteal can run an experiment, the tests beside*"])
    result = pytester.runpytest_subprocess("--run-experiments", "-n2")
    result.stdout.no_fnmatch_line("*the tests beside its notebooks*")


# Sessions that end before anything runs


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [
        ("load", ("experiments/Heart", "nowhere")),
        ("loadfile", ("test_a.py::test_gone",)),
    ],
)
def test_a_path_that_does_not_exist(
    mode: str, arguments: Sequence[str], pytester: pytest.Pytester, skipped: Write
) -> None:
    """It is the usage error that pytest makes of it without workers, in the same words."""
    skipped("experiments/Heart")
    pytester.makepyfile(test_a="def test_it(): pass\n")
    options = ["--run-experiments", *arguments]
    alone = pytester.runpytest_inprocess(*options)
    assert alone.ret == pytest.ExitCode.USAGE_ERROR
    assert "not found: " in alone.errlines[0]
    result = pytester.runpytest_subprocess(*options, "-n2", "--dist", mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == alone.errlines


@pytest.mark.parametrize("error", ["pytest.UsageError('wrong')", "pytest.exit('wrong', 7)"])
def test_a_conftest_ends_the_collection(
    error: str, pytester: pytest.Pytester, skipped: Write
) -> None:
    """The controller ends as a session without workers does, with that text and exit code."""
    skipped("experiments/Heart")
    raised = error if error.startswith("pytest.exit") else f"raise {error}"
    pytester.makeconftest(f"import pytest\ndef pytest_collection_modifyitems():\n    {raised}\n")
    result = pytester.runpytest_subprocess("--run-experiments", "-n2")
    assert result.ret == (7 if "exit" in error else pytest.ExitCode.USAGE_ERROR)
    text = f"{result.stdout.str()}{result.stderr.str()}"
    assert ("ERROR: wrong" in text) or ("Exit: wrong !!" in text)
    assert "INTERNALERROR" not in text
