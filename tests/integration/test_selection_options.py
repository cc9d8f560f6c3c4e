"""pytest's own ways to select tests, applied to experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]
Collect: TypeAlias = Callable[..., list[str]]

BROKEN = "[run]\nskip = 1\n"
GPU = "[resources]\ngpus = 1\n"


@pytest.fixture
def three(experiment: Write, skipped: Write) -> None:
    """Heart fails, Brain and Lung are skipped; none needs a kernel."""
    skipped("experiments/Brain", "1-load", "2-train")
    experiment("experiments/Heart", "1-load", "2-fit", toml=BROKEN)
    skipped("experiments/Lung", "1-load", "2-plot")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("Brain", ["Brain"]),
        ("brain or lung", ["Brain", "Lung"]),
        ("2-train", ["Brain"]),
        ("1-load", ["Brain", "Heart", "Lung"]),
        ("plot and lung", ["Lung"]),
        ("experiments and not 2-plot and not heart", ["Brain"]),
        ("ipynb", []),
    ],
)
def test_keywords(expression: str, names: list[str], collected: Collect) -> None:
    """-k knows directories and the stems of notebooks; the suffix says nothing."""
    assert collected("-k", expression) == [f"experiments/{name}::notebooks" for name in names]


def test_markers(experiment: Write, collected: Collect, pytester: pytest.Pytester) -> None:
    """-m knows our markers and those that an experiment declares."""
    experiment("experiments/A", toml=GPU)
    experiment("experiments/B", toml='[resources]\ngpu_memory = "1GB"\n[run]\nmarks = ["slow"]\n')
    experiment("experiments/C")
    pytester.makeini("[pytest]\nstrict_markers = true\nmarkers = slow")
    pytester.makepyfile("def test_ordinary(): pass")
    a, b, c = (f"experiments/{name}::notebooks" for name in "ABC")
    assert collected("-m", "experiment") == [a, b, c]
    assert collected("-m", "gpu") == [a, b]
    assert collected("-m", "slow") == [b]
    assert collected("-m", "experiment and not gpu") == [c]
    assert collected("-m", "not experiment") == ["test_markers.py::test_ordinary"]


def test_an_unknown_mark_under_strict_markers(
    experiment: Write, skipped: Write, pytester: pytest.Pytester
) -> None:
    """A mark that is not registered fails its experiment, with the reason, and no other."""
    experiment("experiments/A", toml='[run]\nmarks = ["slwo"]\n')
    skipped("experiments/B")
    result = pytester.runpytest_inprocess("--run-experiments", "--strict-markers")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["E   [[]run] marks: 'slwo' not found in `markers` configuration option"]
    )


@pytest.mark.usefixtures("three")
def test_last_failed(pytester: pytest.Pytester) -> None:
    """--lf reruns the failed experiment alone."""
    pytester.runpytest_inprocess("--run-experiments").assert_outcomes(failed=1, skipped=2)
    result = pytester.runpytest_inprocess("--run-experiments", "--lf", "-v")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["run-last-failure: rerun previous 1 failure*"])
    result.stdout.fnmatch_lines(["experiments/Heart::notebooks FAILED*"])


@pytest.mark.usefixtures("three")
def test_last_failed_once_it_is_mended(pytester: pytest.Pytester) -> None:
    """An experiment that no longer fails is forgotten by --lf."""
    pytester.runpytest_inprocess("--run-experiments")
    (pytester.path / "experiments/Heart/experiment.toml").write_text('[run]\nskip = "mended"\n')
    pytester.runpytest_inprocess("--run-experiments", "--lf").assert_outcomes(skipped=1)
    result = pytester.runpytest_inprocess("--run-experiments", "--lf")
    result.assert_outcomes(skipped=3)


@pytest.mark.usefixtures("three")
def test_failed_first(pytester: pytest.Pytester, collected: Collect) -> None:
    """--ff runs the failed experiment before the others."""
    pytester.runpytest_inprocess("--run-experiments")
    assert collected("--ff") == [
        f"experiments/{name}::notebooks" for name in ("Heart", "Brain", "Lung")
    ]


@pytest.mark.usefixtures("three")
def test_new_first(pytester: pytest.Pytester, collected: Collect, experiment: Write) -> None:
    """--nf runs a new experiment before the others."""
    pytester.runpytest_inprocess("--run-experiments", "--nf")
    experiment("experiments/Skin")
    assert collected("--nf")[0] == "experiments/Skin::notebooks"


@pytest.mark.usefixtures("three")
def test_stepwise(pytester: pytest.Pytester) -> None:
    """--sw stops at the failed experiment and goes on from it the next time."""
    first = pytester.runpytest_inprocess("--run-experiments", "--sw")
    first.assert_outcomes(failed=1, skipped=1)
    (pytester.path / "experiments/Heart/experiment.toml").write_text('[run]\nskip = "mended"\n')
    second = pytester.runpytest_inprocess("--run-experiments", "--sw")
    second.assert_outcomes(skipped=2, deselected=1)


@pytest.mark.usefixtures("three")
def test_exit_first(pytester: pytest.Pytester) -> None:
    """-x ends the session at the first failed experiment."""
    result = pytester.runpytest_inprocess("--run-experiments", "-x")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


@pytest.mark.usefixtures("three")
def test_deselect(collected: Collect) -> None:
    """--deselect takes the node id of an experiment, or the beginning of several."""
    assert collected("--deselect", "experiments/Heart::notebooks") == [
        "experiments/Brain::notebooks",
        "experiments/Lung::notebooks",
    ]
    assert collected("--deselect", "experiments") == []


@pytest.mark.usefixtures("three")
def test_collect_only(pytester: pytest.Pytester) -> None:
    """--collect-only shows the tree and runs nothing."""
    result = pytester.runpytest_inprocess("--run-experiments", "--collect-only")
    result.stdout.fnmatch_lines(
        [
            "collected 3 items",
            "*<Dir experiments>",
            "*<ExperimentDirectory Brain>",
            "*<ExperimentItem notebooks>",
            "*<ExperimentDirectory Heart>",
            "*<ExperimentItem notebooks>",
            "*3 tests collected*",
        ]
    )
    assert not (pytester.path / ".experiments").exists()


@pytest.mark.xdist
@pytest.mark.usefixtures("three")
def test_collect_only_with_workers(pytester: pytest.Pytester) -> None:
    """--collect-only starts no worker, whatever -n says."""
    result = pytester.runpytest_subprocess("--run-experiments", "--co", "-q", "-n", "auto")
    assert result.outlines[:3] == [
        f"experiments/{name}::notebooks" for name in ("Brain", "Heart", "Lung")
    ]
