"""Message of a worker to the controller about the collected items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import pytest

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.declarations.fate import declared_fate
from pytest_nbgroups.integration.collection import ExperimentItem
from pytest_nbgroups.integration.fixture import declared_by
from pytest_nbgroups.integration.markers import is_declared_to_run, uses_fixture
from pytest_nbgroups.scheduling.sharding import ShardRecord

_SHARED_SCOPES = {"module", "class", "package"}


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An item that is an experiment, or a test that runs one."""

    name: str = ""
    """The experiment's; empty for a test, whose experiment is not known before it runs."""
    place: str = ""
    """`Experiment.place`; empty as the name is."""
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, kw_only=True)
class CollectedItems:
    """All that the controller knows of the items: it collects none and loads the root conftest.py only."""

    experiments: Mapping[str, Declared] = field(default_factory=dict)
    """By node id. One that will not run holds nothing, as an ordinary test, and is not among them."""
    shard: ShardRecord | None = None
    whole_files: tuple[str, ...] = ()
    """Node ids of files whose tests share a fixture of module, class or package scope."""


def describe(items: Sequence[pytest.Item]) -> CollectedItems:
    """Sum up what has been collected."""
    return CollectedItems(
        experiments={item.nodeid: d for item in items if (d := _declared(item)) is not None},
        whole_files=tuple(
            dict.fromkeys(item.nodeid.partition("::")[0] for item in items if _shares(item))
        ),
    )


def _declared(item: pytest.Item) -> Declared | None:
    if isinstance(item, ExperimentItem):
        own = item.experiment
        if not declared_fate(own).runs:
            return None
        return Declared(name=own.name, place=own.place, resources=own.resources)
    if not (uses_fixture(item) or is_declared_to_run(item)):
        return None
    try:
        return Declared(resources=declared_by(item).resources)
    except DeclarationError:  # reported when the test runs
        return Declared()


def _shares(item: pytest.Item) -> bool:
    """Return whether a fixture would be made once more for each worker that runs tests of its file."""
    if isinstance(item, ExperimentItem):
        return False
    if not isinstance(item, pytest.Function):  # what its kind shares is not known
        return True
    fixtures = item._fixtureinfo.name2fixturedefs  # noqa: SLF001  what pytest itself goes by
    return any(each.scope in _SHARED_SCOPES for each in chain.from_iterable(fixtures.values()))
