"""Conftests and settings that are written with test functions in mind meet experiments."""

from __future__ import annotations

import faulthandler
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pytest_nbgroups.engines.local import LocalEngine

Write: TypeAlias = Callable[..., Path]

READS_EVERYTHING = """
import inspect
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        parent, node = item.parent.obj, item.obj
        assert (parent.__doc__, item.cls) == (None.__doc__, None)
        assert "driver" not in item.fixturenames
        assert inspect.getsource(node) and not inspect.iscoroutinefunction(item.function)
        assert item.originalname == item.function.__name__
        # pytest evaluates it in the globals of the item's function.
        item.add_marker(pytest.mark.skipif("sys.platform == 'none'", reason="never"))
        item._nodeid = " ".join([item.nodeid, node.__doc__])  # as some name their tests

def pytest_runtest_setup(item):
    assert item.funcargs == {}

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    texts = item.module.__name__, item.module.__file__, item.function.__doc__
    report.sections.append(("read", " | ".join(texts)))
    return report

def pytest_runtest_logreport(report):
    if report.when == "call":
        print(report.sections[0][1])
"""


@pytest.mark.parametrize("workers", [(), pytest.param(("-n1",), marks=pytest.mark.xdist)])
def test_what_conftests_read_of_an_item(
    skipped: Write, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    """What a test function's item has is there too, so that no conftest.py ends the session."""
    skipped("experiments/Heart")
    pytester.makeconftest(READS_EVERYTHING)
    result = pytester.runpytest_inprocess("--run-experiments", "-s", *workers)
    result.assert_outcomes(skipped=1)
    folder = pytester.path / "experiments/Heart"
    result.stdout.fnmatch_lines([f"*experiments.Heart | {folder} | Run experiment Heart."])


@pytest.mark.parametrize("given", ["data", "test_the_watch_for_tests_that_hang.py"])
def test_the_watch_for_tests_that_hang(
    skipped: Write,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    """``faulthandler_timeout`` counts for tests; pytest's watch ends before an experiment begins."""
    skipped("data/A")
    pytester.makepyfile("def test_it(run_experiment): run_experiment('data/A')")
    pytester.makeini("[pytest]\nfaulthandler_timeout = 3600")
    seen: list[str] = []

    class Plugin:
        def pytest_experiment_env(self) -> None:
            seen.append("run")

    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: seen.append("arm"))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: seen.append("cancel"))
    result = pytester.runpytest_inprocess("--run-experiments", given, plugins=[Plugin()])
    result.assert_outcomes(skipped=1)
    assert seen[:3] == ["arm", "cancel", "run"]


def test_warnings_of_jupyter(
    skipped: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``-W error`` they fail no experiment; warnings of the project's code stay errors."""
    skipped("experiments/A")
    run = LocalEngine.run

    def warn(*arguments: Any, **named: Any) -> Any:
        for module in ("IPython", "IPython.paths", "zmq._future"):
            warnings.warn_explicit("not writable", UserWarning, "f.py", 1, module=module)
        with pytest.raises(UserWarning):
            warnings.warn_explicit("own", UserWarning, "f.py", 1, module="zmqlike")
        return run(*arguments, **named)

    monkeypatch.setattr(LocalEngine, "run", warn)
    result = pytester.runpytest_inprocess("--run-experiments", "-W", "error")
    result.assert_outcomes(skipped=1, warnings=0)


def test_warnings_of_a_hook(skipped: Write, pytester: pytest.Pytester) -> None:
    """A hook is the user's code: with ``-W error`` its warnings fail, also those that Jupyter raises for it."""
    skipped("experiments/A")

    class Plugin:
        def pytest_experiment_env(self) -> None:
            warnings.warn_explicit("old call", UserWarning, "f.py", 1, module="zmq._future")

    arguments = ("--run-experiments", "-W", "error")
    result = pytester.runpytest_inprocess(*arguments, plugins=[Plugin()])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E   pytest_experiment_env raised UserWarning: old call"])
