"""The environment of the kernels of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.declarations.environment import environment_of, fault_of_environment


def test_what_is_declared_stands_above_what_is_inherited() -> None:
    """Nothing can claim to be another experiment, or that a test of pytest runs."""
    declared = {"A": "mine", "NBGROUPS_EXPERIMENT": "forged"}
    experiment = Experiment(name="Heart", directory=Path(), notebooks=(), env=declared)
    base = {"A": "theirs", "PATH": "/bin", "PYTEST_CURRENT_TEST": "x"}
    assert environment_of(experiment, base) == {
        "A": "mine",
        "PATH": "/bin",
        "NBGROUPS": "1",
        "NBGROUPS_EXPERIMENT": "Heart",
    }
    assert base["PYTEST_CURRENT_TEST"] == "x"


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ({}, None),
        ({"A": ""}, None),
        ({"A": 1}, "environment variable 'A' = 1: expected a name and a text"),
        ({1: "A"}, "environment variable 1 = 'A': expected a name and a text"),
        ({"A": "ok", "B": None}, "environment variable 'B' = None: expected a name and a text"),
        (
            {"A": "x\0"},
            r"environment variable 'A' = 'x\x00': has a null character; remove it",
        ),
        (
            {"A\0": "x"},
            r"environment variable 'A\x00' = 'x': has a null character; remove it",
        ),
    ],
)
def test_what_is_wrong_with_it(env: dict[Any, Any], fault: str | None) -> None:
    """A hook may give anything; the variable is named."""
    assert fault_of_environment(env) == fault
