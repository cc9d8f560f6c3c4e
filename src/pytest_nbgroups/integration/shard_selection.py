"""``--experiment-shard``: the part of the collected items that this machine runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import WHOLE_DIRECTORY, Experiment
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.scheduling.families import experiment_directories, family_of
from pytest_nbgroups.scheduling.sharding import ORDINARY, ShardRecord, assign, shard_record

NodeIdOf = Callable[[pytest.Item], str | None]
"""Return the node id of an item that is an experiment, which xdist may have changed; else None."""

_RECORD = pytest.StashKey[ShardRecord]()


@contextmanager
def own_shard(
    config: pytest.Config,
    items: list[pytest.Item],
    shard: Shard | None,
    *,
    nodeid_of: NodeIdOf,
) -> Iterator[None]:
    """Deselect at the end the items that other shards run."""
    if shard is None:
        yield
        return
    # Split at the start, with all that was collected: what is deselected in between, by --lf even
    # differently on each machine, must not move anything from one shard to another.
    nodeids = [n for item in items if (n := nodeid_of(item)) is not None]
    shards, directories = _shards(nodeids, shard), experiment_directories(nodeids)

    def shard_of(item: pytest.Item) -> int:
        if (nodeid := nodeid_of(item)) is not None:
            return shards[nodeid]
        # A test beside notebooks needs their files, so it runs on the same machine.
        family = family_of(item.nodeid, directories)
        return ORDINARY if family is None else shards[_whole(family)]

    yield
    selected = {n: shards[n] for item in items if (n := nodeid_of(item)) is not None}
    config.stash[_RECORD] = shard_record(shard, selected)
    if others := [item for item in items if shard_of(item) != shard.index]:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if shard_of(item) == shard.index]


def record_of(config: pytest.Config) -> ShardRecord | None:
    """Return the record that `own_shard` left in the process that collects; None without shards."""
    return config.stash.get(_RECORD, None)


def exit_status(given: int, record: ShardRecord | None) -> int:
    """Return 0 for a shard without experiments, whose job must not fail; else the status given."""
    is_idle = record is not None and record.total > 0 and not record.nodeids
    return pytest.ExitCode.OK if is_idle and given == pytest.ExitCode.NO_TESTS_COLLECTED else given


def of_shard(
    experiments: Sequence[Experiment], shard: Shard | None, rootdir: Path
) -> tuple[Experiment, ...]:
    """Return those that a shard will run if nothing is deselected; all if there are no shards."""
    if shard is None:
        return tuple(experiments)
    nodeids = [nodeid_in(rootdir, experiment) for experiment in experiments]
    shards = _shards(nodeids, shard)
    return tuple(
        e for e, nodeid in zip(experiments, nodeids, strict=True) if shards[nodeid] == shard.index
    )


def nodeid_in(rootdir: Path, experiment: Experiment) -> str:
    """Return the node id of an experiment's item."""
    # On all systems pytest turns a backslash into a slash.
    directory = os.path.relpath(experiment.directory, rootdir).replace("\\", "/")
    return encodable(f"{directory}::{experiment.item_name}")


def _shards(nodeids: Sequence[str], shard: Shard) -> Mapping[str, int]:
    directories = experiment_directories(nodeids)

    def unit_of(nodeid: str) -> str:
        family = family_of(nodeid, directories)
        return nodeid if family is None else _whole(family)

    return assign(nodeids, shard.count, shard.weights, unit_of=unit_of)


def _whole(directory: str) -> str:
    return f"{directory}::{WHOLE_DIRECTORY}"
