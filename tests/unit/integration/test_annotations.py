"""Which failures have an annotation of their own."""

from __future__ import annotations

import pytest

from pytest_nbgroups.integration.annotations import is_annotated


@pytest.mark.parametrize(
    ("properties", "annotated"),
    [
        ({}, False),
        ({"nbgroups_experiment": "A", "nbgroups_notebooks_passed": "2"}, False),
        ({"nbgroups_experiment": "A", "nbgroups_notebooks_passed": "0"}, True),
        (
            {
                "nbgroups_experiment": "A",
                "nbgroups_notebooks_passed": "1",
                "nbgroups_failed_notebook": "2-fit.ipynb",
            },
            True,
        ),
    ],
    ids=["no experiment", "fails after it", "cannot run", "a notebook fails"],
)
def test_an_item_that_failed(properties: dict[str, object], *, annotated: bool) -> None:
    """By its experiment, or by itself."""
    assert is_annotated(properties) is annotated
