"""What lies in or below the directory of an experiment."""

from __future__ import annotations

import pytest

from pytest_nbgroups.scheduling.families import experiment_directories, family_of


def test_directories_of_experiments() -> None:
    """Those with the item of a whole directory, also behind a group of pytest-xdist; no others."""
    nodeids = [
        "a/Heart::notebooks",
        "a/Lung::notebooks@gpu",
        "a/docs::1-load",
        "a/test_x.py::notebooks_of_all",
        "a/test_x.py::TestIt::notebooks",
    ]
    assert experiment_directories(nodeids) == {"a/Heart", "a/Lung"}


@pytest.mark.parametrize(
    ("nodeid", "family"),
    [
        ("a/Heart::notebooks", "a/Heart"),
        ("a/Heart/test_it.py::test", "a/Heart"),
        ("a/Heart/nested::notebooks", "a/Heart"),
        ("a/Heart-2/test_it.py::test", None),
        ("a/test_it.py::test", None),
        ("a/Lung/in::notebooks", "a/Lung/in"),
        ("Brain/test_it.py::test", "Brain"),
    ],
)
def test_the_outermost_experiment(nodeid: str, family: str | None) -> None:
    """A nested one belongs to the one around it; a name that only begins alike does not."""
    assert (
        family_of(nodeid, frozenset({"a/Heart", "a/Heart/nested", "a/Lung/in", "Brain"})) == family
    )


def test_an_experiment_in_the_rootdir() -> None:
    """Everything lies below it."""
    assert family_of("tests/test_it.py::test", frozenset({".", "tests"})) == "."
