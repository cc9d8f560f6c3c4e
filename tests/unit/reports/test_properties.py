from __future__ import annotations

from report_samples import cell_failure, failed, result, reused

from pytest_nbgroups.core.model import Failure, FailureKind
from pytest_nbgroups.reports.properties import properties


def test_the_properties_of_a_failure() -> None:
    """Counts, the seconds of each notebook that ran, and where it failed."""
    assert properties(result()) == [
        ("nbgroups_experiment", "Heart"),
        ("nbgroups_notebooks", "3"),
        ("nbgroups_notebooks_passed", "1"),
        ("nbgroups_duration_s:1-load.ipynb", "3.214"),
        ("nbgroups_duration_s:2-fit.ipynb", "71.000"),
        ("nbgroups_failed_notebook", "2-fit.ipynb"),
        ("nbgroups_failed_cell", "5"),
        ("nbgroups_failure_kind", "cell"),
    ]


def test_the_properties_of_a_pass() -> None:
    """Nothing is said of a failure."""
    names = [name for name, _ in properties(result("passed"))]
    assert names == [
        "nbgroups_experiment",
        "nbgroups_notebooks",
        "nbgroups_notebooks_passed",
        "nbgroups_duration_s:1-load.ipynb",
        "nbgroups_duration_s:2-fit.ipynb",
        "nbgroups_duration_s:3-eval.ipynb",
    ]


def test_reused_notebooks_are_counted() -> None:
    """Beside those that passed, which they are among; they have no time of their own."""
    told = dict(properties(result(notebooks=(reused(), failed()))))
    assert told["nbgroups_notebooks_passed"] == told["nbgroups_notebooks_reused"] == "1"
    assert [name for name in told if "duration" in name] == ["nbgroups_duration_s:2-fit.ipynb"]


def test_a_notebook_that_cannot_be_read_has_no_failed_cell() -> None:
    """The notebook alone is named."""
    failure = Failure(kind=FailureKind.NOTEBOOK, message="2-fit.ipynb is empty")
    told = dict(properties(result(notebooks=(failed(failure=failure),))))
    assert told["nbgroups_failed_notebook"] == "2-fit.ipynb"
    assert "nbgroups_failed_cell" not in told


def test_the_kind_of_a_failure_of_the_whole() -> None:
    """There is no notebook to name."""
    error = Failure(kind=FailureKind.LEASE, message="no lease")
    told = dict(properties(result(notebooks=(), error=error)))
    assert told["nbgroups_failure_kind"] == "lease"
    assert "nbgroups_failed_notebook" not in told


def test_an_item_without_notebooks_counts_none() -> None:
    """A skipped experiment, or one whose declaration is bad."""
    assert properties(result("skipped", reason="needs Docker")) == [
        ("nbgroups_experiment", "Heart"),
        ("nbgroups_notebooks", "0"),
        ("nbgroups_notebooks_passed", "0"),
    ]


def test_properties_are_printable() -> None:
    """XML cannot hold control characters."""
    failure = cell_failure()
    told = properties(result(name="a\x1b[1m\x00b", notebooks=(failed("x\x07y", failure=failure),)))
    assert told[0] == ("nbgroups_experiment", "ab")
    assert ("nbgroups_failed_notebook", "xy") in told
