"""Registration in the root conftest.py, alone and beside the entry point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]


@pytest.fixture
def registered(skipped: Write, pytester: pytest.Pytester) -> None:
    """A repository that registers the plugin itself, with one experiment and one user of it."""
    skipped("experiments/A")
    pytester.makeconftest('pytest_plugins = ["pytest_nbgroups.register"]\n')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment
        def test_marked(pytestconfig):
            names = [name for name, _ in pytestconfig.pluginmanager.list_name_plugin()]
            assert names.count("nbgroups") == 1
        """
    )


@pytest.mark.xdist
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_alone(workers: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no entry point is loaded the conftest.py registers the plugin, in workers too."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist")
    result = pytester.runpytest_subprocess("--run-experiments", "-n", workers, "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["A * skipped * needs Docker"])


@pytest.mark.xdist
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_beside_the_entry_point(
    workers: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the entry point it does nothing, and one plugin is registered."""
    monkeypatch.delenv("PYTEST_ADDOPTS")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    result = pytester.runpytest_subprocess("--run-experiments", "-n", workers, "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)


@pytest.mark.xdist
@pytest.mark.usefixtures("registered")
def test_off(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered so, the plugin is off by default as ever."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist")
    result = pytester.runpytest_subprocess("-rs", "--strict-markers")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs --run-experiments"])


@pytest.mark.xdist
@pytest.mark.usefixtures("registered")
def test_blocked(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """-p no:nbgroups is the last word: the conftest.py does not bring the plugin back."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist")
    result = pytester.runpytest_subprocess("-p", "no:nbgroups", "--run-experiments")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --run-experiments"])


@pytest.mark.usefixtures("registered")
def test_assertions_are_not_rewritten(pytester: pytest.Pytester) -> None:
    """The modules that run experiments are imported with the bytecode of their installation."""
    pytester.makepyfile(
        test_look="""
        import sys

        def test_modules():
            ours = [m for n, m in sys.modules.items() if n.startswith("pytest_nbgroups.")]
            rewritten = {m.__name__ for m in ours if "Rewriting" in type(m.__loader__).__name__}
            assert "pytest_nbgroups.integration.session" in sys.modules
            assert len(rewritten) < 10, rewritten
            assert not any(n.startswith("pytest_nbgroups.execution") for n in rewritten)
        """
    )
    result = pytester.runpytest_subprocess("--run-experiments", "-p", "no:xdist", "test_look.py")
    result.assert_outcomes(passed=1)
