"""What the experiments of this repository have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_nbgroups import Resources


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-size",
        action="store_true",
        help="run the experiments on all of their data, not on the smaller sample for tests",
    )


def pytest_experiment_env(config: pytest.Config) -> dict[str, str]:
    """Tell the notebooks how much to do: 1-phantom.ipynb reads EXAMPLE_SIZE."""
    return {"EXAMPLE_SIZE": "full" if config.getoption("full_size", default=False) else "small"}


def pytest_experiment_resources(config: pytest.Config, resources: Resources) -> Resources | None:
    """Give each experiment the machine to itself at full size, so that its times compare."""
    return (
        replace(resources, exclusive=True) if config.getoption("full_size", default=False) else None
    )
