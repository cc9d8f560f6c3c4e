"""The environment of an experiment's kernels, before its lease adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_nbgroups.core.model import Experiment


def environment_of(experiment: Experiment, base: Mapping[str, str]) -> dict[str, str]:
    """Return the inherited variables, the declared ones over them, and those that describe the run."""
    # Without PYTEST_CURRENT_TEST: libraries would assume that they run inside pytest.
    inherited = {name: value for name, value in base.items() if name != "PYTEST_CURRENT_TEST"}
    return {**inherited, **experiment.env, "NBGROUPS": "1", "NBGROUPS_EXPERIMENT": experiment.name}


def fault_of_environment(env: Mapping[Any, Any]) -> str | None:
    """Return the fault of an environment, if any: hooks can return any value."""
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            return f"environment variable {name!r} = {value!r}: expected a name and a text"
        if "\0" in name + value:
            return f"environment variable {name!r} = {value!r}: has a null character; remove it"
    return None
