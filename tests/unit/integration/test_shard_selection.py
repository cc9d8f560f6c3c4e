"""What of the experiments a shard runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.integration.shard_selection import exit_status, nodeid_in, of_shard
from pytest_nbgroups.scheduling.sharding import ShardRecord, shard_record

ROOT = Path("/repo")
EMPTY = pytest.ExitCode.NO_TESTS_COLLECTED


def experiment(directory: str, member: str | None = None) -> Experiment:
    return Experiment(name=directory, directory=ROOT / directory, notebooks=(), member=member)


def test_the_shards_are_a_partition() -> None:
    """A nested experiment goes where the one around it goes; without shards all run."""
    names = [*(f"e/{letter}" for letter in "ABCDEFGH"), "e/A/nested", "e/A/nested/more"]
    experiments = [experiment(name) for name in names]
    assert of_shard(experiments, None, ROOT) == tuple(experiments)
    parts = [
        [each.name for each in of_shard(experiments, Shard(index=index, count=3), ROOT)]
        for index in (1, 2, 3)
    ]
    assert sorted(name for part in parts for name in part) == sorted(names)
    (family,) = (part for part in parts if "e/A" in part)
    assert {"e/A", "e/A/nested", "e/A/nested/more"} <= set(family)


def test_names_of_items() -> None:
    """As pytest gives them, on every system and for every name of a file."""
    assert nodeid_in(ROOT, experiment("e/A")) == "e/A::notebooks"
    assert nodeid_in(ROOT, experiment("e/A", "1-load")) == "e/A::1-load"
    assert nodeid_in(ROOT, experiment("e/A\udcff")) == r"e/A\udcff::notebooks"
    assert nodeid_in(ROOT / "e", experiment("f/A")) == "../f/A::notebooks"


def record(*nodeids: str) -> ShardRecord:
    """Of the first of two shards, when so many were collected in all."""
    return shard_record(Shard(index=1, count=2), dict.fromkeys(nodeids, 2))


def test_a_shard_with_nothing_to_do_has_not_failed() -> None:
    """Only if there are experiments, and others have them."""
    assert exit_status(EMPTY, record("A")) == pytest.ExitCode.OK
    assert exit_status(EMPTY, record()) == EMPTY
    assert exit_status(EMPTY, None) == EMPTY
    assert exit_status(pytest.ExitCode.TESTS_FAILED, record("A")) == pytest.ExitCode.TESTS_FAILED
