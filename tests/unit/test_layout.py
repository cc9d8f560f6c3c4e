"""What the package is to those who import it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pytest_nbgroups

HEAVY = {
    "asyncio",
    "jupyter_client",
    "nbclient",
    "nbformat",
    "psutil",
    "pynvml",
    "sqlite3",
    "zmq",
}


@pytest.mark.parametrize("name", pytest_nbgroups.__all__)
def test_public_names_are_there(name: str) -> None:
    """Each under its own name, and documented."""
    value = getattr(pytest_nbgroups, name)
    if name != "Event":  # a union
        assert value.__name__ == name
        assert value.__doc__


def test_public_names_are_sorted() -> None:
    """So that none is listed twice or overlooked."""
    assert pytest_nbgroups.__all__ == sorted(set(pytest_nbgroups.__all__))


def test_the_version_is_there() -> None:
    """As people ask for it."""
    assert pytest_nbgroups.__version__[0].isdigit()


def test_other_names_are_not() -> None:
    """The message is Python's own."""
    with pytest.raises(
        AttributeError, match=r"^module 'pytest_nbgroups' has no attribute 'run_experiments'$"
    ):
        pytest_nbgroups.run_experiments  # noqa: B018


def modules_after(*statements: str) -> set[str]:
    """Modules of a new Python that the last statement brings in."""
    *before, last = statements
    program = (
        f"import json, sys; {'; '.join([*before, 'pass'])}; before = set(sys.modules); {last}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    return set(json.loads(output))


def test_the_plugin_brings_in_nothing_heavy() -> None:
    """Every run of pytest in the environment loads it, mostly for nothing."""
    loaded = modules_after("import pytest", "import pytest_nbgroups.plugin")
    assert "pytest_nbgroups.integration.options" in loaded
    assert not HEAVY & loaded


def test_the_core_does_not_load_pytest() -> None:
    """The Python API serves programs that know nothing of tests."""
    loaded = modules_after("from pytest_nbgroups import run_experiment")
    assert not {"pytest", "_pytest", "xdist"} & loaded
