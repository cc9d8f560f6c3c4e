"""The run_experiment fixture, in tests that users write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

BROKEN = '[run]\norder = ["9-none.ipynb"]\n'
DESELECTED = ("--run-experiments", "--deselect", "experiments")


def test_where_a_path_is_looked_up(skipped: Write, pytester: pytest.Pytester) -> None:
    """A path is relative to the test's directory, then to a root, then to the rootdir."""
    skipped("tests/A", reason="beside the test")
    skipped("experiments/A", reason="root, but later")
    skipped("experiments/B", reason="in a root")
    skipped("docs/C", reason="below the rootdir")
    for name, path in {"a": "A", "b": "B", "c": "docs/C", "d": "B/2-fit.ipynb"}.items():
        (pytester.path / "tests" / f"test_{name}.py").write_text(
            f"def test_it(run_experiment): run_experiment({path!r})\n"
        )
    result = pytester.runpytest_inprocess(
        "-rs", "--run-experiments", *map(str, sorted_tests(pytester))
    )
    assert [line.rpartition(": ")[2] for line in result.outlines if "SKIPPED [1]" in line] == [
        "beside the test",
        "in a root",
        "below the rootdir",
        "in a root",
    ]


def sorted_tests(pytester: pytest.Pytester) -> list[Path]:
    return sorted((pytester.path / "tests").glob("test_*.py"))


def test_a_path_object(skipped: Write, pytester: pytest.Pytester) -> None:
    """A Path does as well as a text, also an absolute one."""
    folder = skipped("data/A", reason="found")
    pytester.makepyfile(
        f"from pathlib import Path\n"
        f"def test_it(run_experiment): run_experiment(Path({str(folder)!r}))\n"
    )
    pytester.runpytest_inprocess("--run-experiments").assert_outcomes(skipped=1)


def test_a_skip_passes_through(skipped: Write, pytester: pytest.Pytester) -> None:
    """The test is skipped with the experiment's reason, told at the user's own line."""
    skipped("experiments/A", reason="needs Docker")
    pytester.makepyfile("def test_it(run_experiment):\n    run_experiment('A')\n")
    result = pytester.runpytest_inprocess("-rs", *DESELECTED)
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1] test_a_skip_passes_through.py:2: needs Docker"])


def test_a_failure(experiment: Write, pytester: pytest.Pytester) -> None:
    """The test fails with the experiment's text, without a traceback into the plugin."""
    experiment("experiments/A", toml=BROKEN)
    pytester.makepyfile("def test_it(run_experiment):\n    run_experiment('A')\n")
    result = pytester.runpytest_inprocess(*DESELECTED)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "experiment A",
            "",
            (
                "E   experiments/A/experiment.toml: order names '9-none.ipynb', which is not in the "
                "directory; it has '1-load.ipynb', '2-fit.ipynb'"
            ),
            "",
            "rerun: pytest --run-experiments test_a_failure.py::test_it",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*fixture.py*")


def test_the_result(experiment: Write, pytester: pytest.Pytester) -> None:
    """The test gets the result, and the table has a row for the experiment."""
    experiment("data/A", "1-load", "2-fit")
    pytester.makepyfile(
        """
        def test_it(run_experiment):
            result = run_experiment("data/A")
            assert [n.name for n in result.notebooks] == ["1-load.ipynb", "2-fit.ipynb"]
            assert result.outcome == "passed"
        """
    )
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"data/A +passed +2/2 +\d+\.\d+s +[\d.]+ MiB$"])


def test_two_experiments_in_one_test(skipped: Write, pytester: pytest.Pytester) -> None:
    """Each has its own row and record: neither is an attempt of the other."""
    for name in "AB":
        skipped(f"data/{name}", reason=f"no data for {name}")
    pytester.makepyfile(
        """
        import pytest

        def test_it(run_experiment):
            for name in ("data/A", "data/B"):
                with pytest.raises(pytest.skip.Exception):
                    run_experiment(name)
        """
    )
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r"data/A +skipped +0/2 +\d\.\d\ds +no data for A$",
            r"data/B +skipped +0/2 +\d\.\d\ds +no data for B$",
        ]
    )
    assert "attempt" not in result.stdout.str()
    record = json.loads((pytester.path / ".experiments/session.json").read_text("utf-8"))
    assert [(e["name"], e["reason"], len(e["attempts"])) for e in record["experiments"]] == [
        ("data/A", "no data for A", 1),
        ("data/B", "no data for B", 1),
    ]


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        ("ram='900TB'", "needs 900TB of RAM, the budget is *"),
        ("gpus=99", "needs 99 GPUs, found *"),
    ],
)
def test_resources_of_the_marker(
    marker: str, reason: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """The marker declares resources over those of the directory; what cannot be met skips."""
    experiment("experiments/A", toml='[resources]\nram = "1MB"\ngpus = 0\n')
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.experiment({marker})\n"
        "def test_it(run_experiment): run_experiment('A')\n"
    )
    result = pytester.runpytest_inprocess("-rs", *DESELECTED)
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines([f"SKIPPED * {reason}"])


@pytest.mark.parametrize(
    ("marker", "fault"),
    [
        ("gpus=1.5", "gpus = 1.5: expected a whole number, 0 or more"),
        ("ram_limit=True", "ram_limit = true: there is no ram to limit it to; *"),
    ],
)
def test_a_bad_marker(marker: str, fault: str, skipped: Write, pytester: pytest.Pytester) -> None:
    """A bad resource in the marker fails the test, naming the test, the key and what is accepted."""
    skipped("experiments/A")
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.experiment({marker})\n"
        "def test_it(run_experiment): run_experiment('A')\n"
    )
    result = pytester.runpytest_inprocess(*DESELECTED)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [f"E   test_a_bad_marker.py::test_it, marker: [[]resources] {fault}"]
    )


def test_collected_as_well(skipped: Write, pytester: pytest.Pytester) -> None:
    """An experiment that the session also collects is refused, with both node ids."""
    folder = skipped("experiments/A")
    pytester.makepyfile("def test_it(run_experiment): run_experiment('A')")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            (
                f"{folder} is run by test_collected_as_well.py::test_it and by "
                "experiments/A::notebooks in one session; deselect one of them"
            )
        ]
    )


def test_an_unknown_path(pytester: pytest.Pytester) -> None:
    """A path that does not exist is an error that says where it was looked for."""
    pytester.makepyfile("def test_it(run_experiment): run_experiment('Nowhere')")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1)
    root = pytester.path
    result.stdout.fnmatch_lines(
        [
            (
                f"run_experiment('Nowhere'): no such directory or notebook below {root}, {root / 'experiments'}, "
                f"{root}"
            )
        ]
    )


def test_a_directory_without_notebooks(pytester: pytest.Pytester) -> None:
    """A directory that is no experiment is an error."""
    folder = pytester.mkdir("empty")
    pytester.makepyfile("def test_it(run_experiment): run_experiment('empty')")
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"run_experiment: {folder}: no notebook to run"])


def test_independent_notebooks(experiment: Write, pytester: pytest.Pytester) -> None:
    """Of independent notebooks one has to be named."""
    folder = experiment(
        "docs/guides", "fit", "plot", toml='[run]\nindependent = true\nskip = "not now"\n'
    )
    pytester.makepyfile(
        """
        def test_all(run_experiment): run_experiment("docs/guides")
        def test_one(run_experiment): run_experiment("docs/guides/plot.ipynb")
        """
    )
    result = pytester.runpytest_inprocess("--run-experiments")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [f"run_experiment: {folder}: its notebooks are independent; name one of them"]
    )


@pytest.mark.xdist
def test_in_a_worker(experiment: Write, pytester: pytest.Pytester) -> None:
    """Under workers the text of the failure and the row in the table are the same."""
    experiment("data/A", toml=BROKEN)
    pytester.makepyfile("def test_it(run_experiment): run_experiment('data/A')")
    result = pytester.runpytest_subprocess("--run-experiments", "-n1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["experiment data/A", "E   data/A/experiment.toml: order names *"])
    result.stdout.re_match_lines([r"data/A +failed +0/0 +\d\.\d\ds +gw0"])
