"""What the package is to those who import it."""

from __future__ import annotations

import pytest

import pytest_nbgroups


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
