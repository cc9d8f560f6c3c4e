"""Without --run-experiments nothing happens, at no cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

HEAVY = {"jupyter_client", "nbclient", "nbformat", "psutil", "pynvml", "sqlite3", "zmq"}
PRINT_MODULES = """
import sys
def pytest_unconfigure():
    print("modules:", *sorted(sys.modules), file=sys.stderr)
"""


def test_nothing_is_collected(experiment: Write, pytester: pytest.Pytester) -> None:
    """Experiments are not collected, and nothing is said of them."""
    folder = experiment("experiments/A")
    (folder / "test_a.py").write_text("def test_ordinary(): pass\n")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("experiments:*")
    assert not (pytester.path / ".experiments").exists()


def test_settings_are_not_read(experiment: Write, pytester: pytest.Pytester) -> None:
    """Ini keys are accepted under strict_config and not looked at; nor are declarations."""
    experiment("experiments/A", toml="[run\n")
    pytester.makeini(
        "[pytest]\nstrict_config = true\nexperiment_roots = missing\nexperiment_order = odd"
    )
    pytester.makepyfile("def test_ordinary(): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def modules(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    """What a run of pytest in a process of its own has imported at its end."""
    result = pytester.runpytest_subprocess(*arguments)
    line = next(line for line in result.errlines if line.startswith("modules: "))
    return set(line.split()[1:])


@pytest.mark.xdist
def test_nothing_heavy_is_imported(
    experiment: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the plugin, none of the heavy modules is imported that is not without it."""
    experiment("experiments/A")
    pytester.makeconftest(PRINT_MODULES)
    pytester.makepyfile("def test_ordinary(): pass")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist")
    without = modules(pytester)
    assert "pytest_nbgroups" not in without
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist -p nbgroups")
    added = modules(pytester) - without
    assert "pytest_nbgroups.plugin" in added
    assert not added & HEAVY
    assert "pytest_nbgroups.integration.session" not in added


def test_what_the_option_imports(skipped: Write, pytester: pytest.Pytester) -> None:
    """With the option the modules are there: the check above can fail."""
    skipped("experiments/A", toml='[resources]\nram = "1MB"\n')
    pytester.makeconftest(PRINT_MODULES)
    added = modules(pytester, "--run-experiments")
    assert {"pytest_nbgroups.integration.session", "psutil", "pynvml"} <= added


def test_tests_that_run_experiments_skip(experiment: Write, pytester: pytest.Pytester) -> None:
    """Users of the fixture and of the marker skip, and say what they need."""
    experiment("experiments/A")
    pytester.makepyfile(
        """
        import pytest

        def test_fixture(run_experiment):
            run_experiment("A")

        @pytest.mark.experiment(gpus=1)
        def test_marker():
            raise AssertionError("ran")
        """
    )
    result = pytester.runpytest_inprocess("-rs", "--strict-markers")
    result.assert_outcomes(skipped=2)
    reasons = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert reasons
    assert all(line.endswith(": needs --run-experiments") for line in reasons)


def test_blocked(
    experiment: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-p no:nbgroups takes the plugin away, which its entry point would load: no such option."""
    experiment("experiments/A")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    loaded = pytester.runpytest_subprocess("--run-experiments", "--co", "-q")
    assert loaded.outlines[0] == "experiments/A::notebooks"
    blocked = pytester.runpytest_subprocess("-p", "no:nbgroups", "--run-experiments")
    assert blocked.ret == pytest.ExitCode.USAGE_ERROR
    blocked.stderr.fnmatch_lines(["*unrecognized arguments: --run-experiments"])


def test_help(pytester: pytest.Pytester) -> None:
    """The options stand in one group of --help, the ini keys in its list."""
    result = pytester.runpytest_inprocess("--help")
    text = result.stdout.str()
    group = text.partition("experiments: directories of ordered notebooks")[2]
    for name in ("cpus=N", "ram=SIZE|N%", "timeout=DURATION", "kernel=NAME", "artifacts=DIR"):
        assert f"--experiment-{name}" in group
    result.stdout.fnmatch_lines(["  --run-experiments*", "  experiment_roots (paths):*"])


def test_markers_are_registered(pytester: pytest.Pytester) -> None:
    """--markers lists ours."""
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.experiment(*", "@pytest.mark.gpu: *"])


def test_the_node_id_of_an_experiment(pytester: pytest.Pytester, experiment: Write) -> None:
    """Pasted from a report without the option, it says what is missing."""
    experiment("experiments/A")
    result = pytester.runpytest_inprocess("experiments/A::notebooks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: experiments/A::notebooks is an experiment: needs --run-experiments"]
    )
