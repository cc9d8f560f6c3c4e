"""Experiments named on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]
Collect: TypeAlias = Callable[..., list[str]]

A_TEST = "def test_ordinary(): pass\n"
INDEPENDENT = "[run]\nindependent = true\n"


def refused(pytester: pytest.Pytester, *arguments: str) -> str:
    """Collect, expect a usage error, and give its line."""
    result = pytester.runpytest_inprocess("--run-experiments", "--co", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    return result.errlines[0]


@pytest.mark.parametrize("argument", ["docs/guide", "docs/guide/", "./docs/guide", "docs"])
def test_a_directory_anywhere(argument: str, experiment: Write, collected: Collect) -> None:
    """A directory given is an experiment wherever it lies in the repository."""
    experiment("docs/guide")
    experiment("experiments/A")
    assert collected(argument) == ["docs/guide::notebooks"]


def test_an_absolute_path(experiment: Write, collected: Collect) -> None:
    """Absolute paths do as well."""
    folder = experiment("docs/guide")
    assert collected(str(folder)) == ["docs/guide::notebooks"]


def test_the_item_alone(experiment: Write, collected: Collect) -> None:
    """A::notebooks is the item of A, without A's tests and without A's subdirectories."""
    folder = experiment("experiments/A")
    (folder / "test_a.py").write_text(A_TEST)
    experiment("experiments/A/nested")
    assert collected("experiments/A") == [
        "experiments/A::notebooks",
        "experiments/A/nested::notebooks",
        "experiments/A/test_a.py::test_ordinary",
    ]
    assert collected("experiments/A::notebooks") == ["experiments/A::notebooks"]


def test_a_notebook_is_the_whole_experiment(experiment: Write, pytester: pytest.Pytester) -> None:
    """A notebook given selects its experiment, which is atomic, and nothing beside it."""
    folder = experiment("experiments/A", "1-load", "2-fit", "3-plot")
    (folder / "test_a.py").write_text(A_TEST)
    items, _ = pytester.inline_genitems("--run-experiments", "experiments/A/2-fit.ipynb")
    assert [item.nodeid for item in items] == ["experiments/A::notebooks"]
    assert len(items[0].experiment.notebooks) == 3  # type: ignore[attr-defined]


def test_a_notebook_outside_of_the_roots(experiment: Write, collected: Collect) -> None:
    """A notebook anywhere may be given."""
    experiment("docs/guide")
    assert collected("docs/guide/2-fit.ipynb") == ["docs/guide::notebooks"]


def test_two_notebooks_of_one_experiment(experiment: Write, pytester: pytest.Pytester) -> None:
    """Two notebooks of one experiment, or one given twice, are one test, and pytest counts one."""
    experiment("experiments/A")
    result = pytester.runpytest_inprocess(
        "--run-experiments",
        "--co",
        "experiments/A/1-load.ipynb",
        "experiments/A/2-fit.ipynb",
        "experiments/A/2-fit.ipynb",
        "experiments/A::notebooks",
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["collected 1 item", "*1 test collected*"])


def test_several_experiments(experiment: Write, collected: Collect) -> None:
    """Arguments of every kind go together, in the order given."""
    experiment("experiments/A")
    experiment("experiments/B")
    folder = experiment("experiments/C")
    (folder / "test_c.py").write_text(A_TEST)
    assert collected(
        "experiments/C/test_c.py",
        "experiments/B::notebooks",
        "experiments/A/1-load.ipynb",
    ) == [
        "experiments/C/test_c.py::test_ordinary",
        "experiments/B::notebooks",
        "experiments/A::notebooks",
    ]


def test_an_excluded_notebook(experiment: Write, pytester: pytest.Pytester) -> None:
    """A notebook that is excluded cannot be given; the reason is told."""
    experiment(
        "experiments/A", "1-load", "scratch", toml='[run]\nexclude = { "scr*" = "unfinished" }\n'
    )
    assert refused(pytester, "experiments/A/scratch.ipynb") == (
        "ERROR: experiments/A/scratch.ipynb is excluded from its experiment: unfinished"
    )


def test_an_unknown_item(experiment: Write, pytester: pytest.Pytester) -> None:
    """Of an unknown item, the error names the one that there is."""
    experiment("experiments/A")
    assert refused(pytester, "experiments/A::2-fit.ipynb") == (
        "ERROR: not found: experiments/A::2-fit.ipynb; the directory has experiments/A::notebooks"
    )


@pytest.mark.parametrize("argument", ["experiments/A/9-none.ipynb", "experiments/B::notebooks"])
def test_what_does_not_exist(argument: str, experiment: Write, pytester: pytest.Pytester) -> None:
    """A file or directory that is not there is refused by pytest itself."""
    experiment("experiments/A")
    assert refused(pytester, argument).startswith("ERROR: file or directory not found: ")


def test_an_item_of_a_directory_without_notebooks(
    experiment: Write, pytester: pytest.Pytester
) -> None:
    """A directory that is no experiment has no item."""
    experiment("experiments/A")
    pytester.mkdir("docs")
    assert "docs::notebooks" in refused(pytester, "docs::notebooks")


def test_a_broken_experiment(experiment: Write, collected: Collect) -> None:
    """What cannot be run as declared can still be named, so that it tells why."""
    experiment("experiments/A", toml="[run\n")
    assert collected("experiments/A::notebooks") == ["experiments/A::notebooks"]
    assert collected("experiments/A/1-load.ipynb") == ["experiments/A::notebooks"]


def test_independent_notebooks(experiment: Write, collected: Collect) -> None:
    """Of independent notebooks each is an item of its own, by its stem or by its path."""
    experiment("docs/guides", "plot", "fit", toml=INDEPENDENT)
    assert collected("docs/guides") == ["docs/guides::fit", "docs/guides::plot"]
    assert collected("docs/guides::plot") == ["docs/guides::plot"]
    assert collected("docs/guides/plot.ipynb") == ["docs/guides::plot"]
    assert collected("docs/guides::plot", "docs/guides/fit.ipynb") == [
        "docs/guides::plot",
        "docs/guides::fit",
    ]


def test_an_unknown_independent_notebook(experiment: Write, pytester: pytest.Pytester) -> None:
    """The items of a directory of independent notebooks are named in the error."""
    experiment("docs/guides", "plot", "fit", toml=INDEPENDENT)
    assert refused(pytester, "docs/guides::notebooks") == (
        "ERROR: not found: docs/guides::notebooks; the directory has docs/guides::fit, docs/guides::plot"
    )


def test_the_artifacts_folder(experiment: Write, pytester: pytest.Pytester) -> None:
    """Executed notebooks are results; they cannot be run by naming their folder."""
    experiment(".experiments/notebooks/A")
    result = pytester.runpytest_inprocess(
        "--run-experiments", "--co", "-q", ".experiments/notebooks/A"
    )
    assert "notebooks/A::notebooks" not in result.stdout.str()


@pytest.mark.xdist
def test_the_same_item_in_the_worker(skipped: Write, pytester: pytest.Pytester) -> None:
    """Workers keep to the arguments as the controller does."""
    folder = skipped("experiments/A")
    (folder / "test_a.py").write_text(A_TEST)
    skipped("experiments/B")
    result = pytester.runpytest_subprocess(
        "--run-experiments", "-n1", "experiments/A::notebooks", "experiments/B/2-fit.ipynb"
    )
    result.assert_outcomes(skipped=2)


def test_an_item_without_its_ignored_notebooks(
    pytester: pytest.Pytester, skipped: Callable[..., Path]
) -> None:
    """To name the item names none of its notebooks: what is ignored stays out."""
    skipped("experiments/A", "1-draft", "2-fit")
    result = pytester.runpytest_inprocess(
        "--run-experiments", "experiments/A::notebooks", "--ignore-glob=*/1-*"
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["A * 0/1 *"])


def test_the_rerun_command_fits_where_pytest_was_called(
    pytester: pytest.Pytester,
    experiment: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node id is relative to the rootdir, an argument to the working directory."""
    experiment("experiments/A", toml="[run]\nskip = 1\n")
    (pytester.path / "src").mkdir()
    pytester.makeini("[pytest]")
    monkeypatch.chdir(pytester.path / "src")
    result = pytester.runpytest_inprocess("--run-experiments", "../experiments/A")
    result.stdout.fnmatch_lines(["rerun: pytest --run-experiments ../experiments/A::notebooks"])


def test_the_header_leaves_out_what_is_ignored(
    pytester: pytest.Pytester, skipped: Callable[..., Path]
) -> None:
    """The look-ahead asks pytest, as collection does."""
    skipped("experiments/A")
    skipped("experiments/B")
    result = pytester.runpytest_inprocess("--run-experiments", "--ignore=experiments/B")
    result.stdout.fnmatch_lines(["experiments: *; 1 experiment"])
