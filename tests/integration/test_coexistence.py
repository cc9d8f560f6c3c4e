"""Other plugins for notebooks, and pytest-timeout, beside this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

OTHERS = [
    pytest.param("nbmake", "--nbmake", id="nbmake"),
    pytest.param("nbval", "--nbval", id="nbval"),
    pytest.param("nbval", "--nbval-lax", id="nbval-lax"),
]


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest_inprocess("--co", "-q", *arguments)
    return [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize(("plugin", "option"), OTHERS)
def test_other_notebook_plugins(
    plugin: str, option: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """Notebooks of experiments are ours alone; all others are the other plugin's."""
    pytest.importorskip(plugin)
    experiment("experiments/A")
    experiment("experiments/A/nested")
    experiment("docs", "guide")
    found = collected(pytester, "-p", plugin, option, "--run-experiments", "docs", "experiments")
    assert [nodeid for nodeid in found if nodeid.endswith("::notebooks")] == [
        "docs::notebooks",
        "experiments/A::notebooks",
        "experiments/A/nested::notebooks",
    ]
    assert len(found) == 3

    everywhere = collected(pytester, "-p", plugin, option, "--run-experiments")
    theirs = [nodeid for nodeid in everywhere if not nodeid.endswith("::notebooks")]
    assert theirs
    assert all(nodeid.startswith("docs/guide.ipynb::") for nodeid in theirs)
    assert len(everywhere) - len(theirs) == 2


@pytest.mark.parametrize(("plugin", "option"), OTHERS)
def test_other_notebook_plugins_when_off(
    plugin: str, option: str, experiment: Write, pytester: pytest.Pytester
) -> None:
    """Without --run-experiments every notebook is the other plugin's."""
    pytest.importorskip(plugin)
    experiment("experiments/A", "1-load")
    found = collected(pytester, "-p", plugin, option)
    assert found
    assert all(nodeid.startswith("experiments/A/1-load.ipynb::") for nodeid in found)


def test_an_excluded_notebook_is_nobodys(experiment: Write, pytester: pytest.Pytester) -> None:
    """A notebook that its experiment excludes is not run by nbmake either."""
    pytest.importorskip("nbmake")
    experiment(
        "experiments/A", "1-load", "scratch", toml='[run]\nexclude = { "s*" = "unfinished" }\n'
    )
    assert collected(pytester, "-p", "nbmake", "--nbmake", "--run-experiments") == [
        "experiments/A::notebooks"
    ]


def timeouts(pytester: pytest.Pytester) -> dict[str, tuple[Any, ...]]:
    """Arguments of the nearest timeout marker of each item."""
    items, _ = pytester.inline_genitems("--run-experiments", "-p", "timeout")
    markers = {item.name: item.get_closest_marker("timeout") for item in items}
    return {name: marker.args for name, marker in markers.items() if marker}


def test_timeouts_of_unit_tests(experiment: Write, pytester: pytest.Pytester) -> None:
    """pytest-timeout's ini default ends unit tests and no experiment."""
    pytest.importorskip("pytest_timeout")
    pytester.makeini("[pytest]\ntimeout = 1")
    experiment("experiments/A", "1-sleep", code="import time; time.sleep(1.5)")
    pytester.makepyfile("def test_ordinary(): pass")
    assert timeouts(pytester) == {"notebooks": (0,)}
    result = pytester.runpytest_subprocess("--run-experiments", "-p", "timeout")
    result.assert_outcomes(passed=2)


def test_timeouts_of_the_user(experiment: Write, pytester: pytest.Pytester) -> None:
    """A timeout that the user marks on an experiment counts."""
    pytest.importorskip("pytest_timeout")
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.timeout(77))
        """
    )
    experiment("experiments/A")
    assert timeouts(pytester) == {"notebooks": (77,)}


def test_a_timeout_mark_without_a_value(skipped: Write, pytester: pytest.Pytester) -> None:
    """``marks`` can give a marker no value; such a timeout is none, and does not end the session."""
    pytest.importorskip("pytest_timeout")
    skipped("experiments/A", toml='marks = ["timeout"]\n')
    result = pytester.runpytest_inprocess("--run-experiments", "-p", "timeout")
    result.assert_outcomes(skipped=1)


def test_without_pytests_prompt(skipped: Write, pytester: pytest.Pytester) -> None:
    """``-p no:debugging`` leaves no ``--pdb`` to ask for."""
    skipped("experiments/A")
    result = pytester.runpytest_inprocess("--run-experiments", "-p", "no:debugging")
    result.assert_outcomes(skipped=1)


def test_without_pytest_timeout(experiment: Write, pytester: pytest.Pytester) -> None:
    """Where pytest-timeout is not there, its marker is not used: it would be unknown."""
    experiment("experiments/A")
    items, _ = pytester.inline_genitems("--run-experiments", "--strict-markers")
    assert items[0].get_closest_marker("timeout") is None


ANNOTATES = """
    import pytest

    class Annotates:
        def pytest_runtest_logreport(self, report):
            if report.when == "call" and report.failed:
                print(f"\\n::error ::theirs of {report.nodeid}")

    def pytest_configure(config):
        config.pluginmanager.register(Annotates(), "annotate_errors")
    """


def test_one_annotation_for_an_experiment(
    experiment: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What annotates failed tests on GitHub goes on to do so, and leaves experiments to us."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    pytester.makeconftest(ANNOTATES)
    experiment("experiments/A", toml="[run]\nskip = 1\n")  # fails
    pytester.makepyfile("def test_ordinary(): assert False")
    result = pytester.runpytest_inprocess("--run-experiments", "-s")
    annotations = [line for line in result.outlines if line.startswith("::error")]
    assert len(annotations) == 2
    assert (
        annotations[0]
        == "::error ::theirs of " + "test_one_annotation_for_an_experiment.py::test_ordinary"
    )
    assert annotations[1].startswith("::error file=")
    assert "experiments/A/experiment.toml" in annotations[1]
