from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.local import _may_run
from pytest_nbgroups.model import Experiment


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, True),
        ({"requires": ("env:TOKEN",)}, False),
        ({"requires": ("env:TOKEN",), "env": {"TOKEN": "x"}}, True),
        ({"env": {"TOKEN": 7}}, False),
        ({"skip": "needs Docker"}, False),
        ({"problem": "bad TOML"}, False),
    ],
)
def test_what_does_not_run_needs_no_lease(declared: dict[str, Any], *, expected: bool) -> None:
    """What it requires is looked for among its own variables too."""
    experiment = Experiment(name="x", directory=Path(), notebooks=(), **declared)
    assert _may_run(experiment, {}) is expected
