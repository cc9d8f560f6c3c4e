"""``--experiment-shard``: what of the collected items this machine runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_nbgroups.core.model import WHOLE_DIRECTORY, Experiment
from pytest_nbgroups.core.settings import Shard
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.scheduling.families import experiment_directories, family_of
from pytest_nbgroups.scheduling.sharding import ORDINARY, ShardRecord, assign, shard_record

NodeIdOf = Callable[[pytest.Item], str | None]
"""The node id of an item that is an experiment, None of any other. xdist changes that of the item."""

_RECORD = pytest.StashKey[ShardRecord]()


@contextmanager
def own_shard(
    config: pytest.Config,
    items: list[pytest.Item],
    shard: Shard | None,
    *,
    nodeid_of: NodeIdOf,
) -> Iterator[None]:
    """Deselect at the end what other shards run.

    The split is made at the start, of all that was collected: what is deselected in between, by
    ``--lf`` even differently on each machine, moves nothing from one shard to another.
    """
    if shard is None:
        yield
        return
    nodeids = [n for item in items if (n := nodeid_of(item)) is not None]
    split = _Split(
        experiments=_shards(nodeids, shard),
        directories=experiment_directories(nodeids),
        nodeid_of=nodeid_of,
    )
    yield
    others = [item for item in items if split.shard_of(item) != shard.index]
    config.stash[_RECORD] = shard_record(shard, split.selected(items))
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if split.shard_of(item) == shard.index]


def record_of(config: pytest.Config) -> ShardRecord | None:
    """Return the record that `own_shard` left in the process that collects; None without shards."""
    return config.stash.get(_RECORD, None)


def exit_status(given: int, record: ShardRecord | None) -> int:
    """A shard to which no experiment fell has done its part: its job must not fail for that."""
    is_idle = record is not None and record.total > 0 and not record.nodeids
    return pytest.ExitCode.OK if is_idle and given == pytest.ExitCode.NO_TESTS_COLLECTED else given


@dataclass(frozen=True, kw_only=True)
class _Split:
    experiments: Mapping[str, int]
    """Shards by node id."""
    directories: frozenset[str]
    nodeid_of: NodeIdOf

    def shard_of(self, item: pytest.Item) -> int:
        """A test beside notebooks needs their files, so it runs on the same machine."""
        if (nodeid := self.nodeid_of(item)) is not None:
            return self.experiments[nodeid]
        family = family_of(item.nodeid, self.directories)
        return ORDINARY if family is None else self.experiments[_whole(family)]

    def selected(self, items: Sequence[pytest.Item]) -> dict[str, int]:
        nodeids = (self.nodeid_of(item) for item in items)
        return {n: self.experiments[n] for n in nodeids if n is not None}


def of_shard(
    experiments: Sequence[Experiment], shard: Shard | None, rootdir: Path
) -> tuple[Experiment, ...]:
    """Those that a shard will run, were nothing deselected; all if there are no shards."""
    if shard is None:
        return tuple(experiments)
    nodeids = [nodeid_in(rootdir, experiment) for experiment in experiments]
    shards = _shards(nodeids, shard)
    return tuple(
        e for e, nodeid in zip(experiments, nodeids, strict=True) if shards[nodeid] == shard.index
    )


def nodeid_in(rootdir: Path, experiment: Experiment) -> str:
    """Return the node id of an experiment's item. On all systems pytest makes a backslash a slash."""
    directory = os.path.relpath(experiment.directory, rootdir).replace("\\", "/")
    return encodable(f"{directory}::{experiment.item_name}")


def _shards(nodeids: Sequence[str], shard: Shard) -> Mapping[str, int]:
    """The shard of each experiment, by node id."""
    directories = experiment_directories(nodeids)

    def unit_of(nodeid: str) -> str:
        family = family_of(nodeid, directories)
        return nodeid if family is None else _whole(family)

    return assign(nodeids, shard.count, shard.weights, unit_of=unit_of)


def _whole(directory: str) -> str:
    return f"{directory}::{WHOLE_DIRECTORY}"
