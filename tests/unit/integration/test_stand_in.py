"""What an experiment has in place of a test's function and module."""

from __future__ import annotations

from pytest_nbgroups.integration.stand_in import function_for, module_for


def test_a_function_that_runs_the_experiment() -> None:
    """With the name and the text that other plugins show."""
    runs: list[str] = []
    function = function_for("notebooks", doc="Heart", run=lambda: runs.append("ran"))
    function()
    assert runs == ["ran"]
    assert (function.__name__, function.__qualname__) == ("notebooks", "notebooks")
    assert function.__doc__ == "Heart"
    assert "__name__" in function.__globals__


def test_a_module_named_like_the_directory() -> None:
    """With its file, though there is nothing to import."""
    module = module_for("experiments/Heart::notebooks", file="/repo/experiments/Heart")
    assert (module.__name__, module.__file__) == ("experiments.Heart", "/repo/experiments/Heart")
